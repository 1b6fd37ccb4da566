"""COCO's average precision from counts, to the last digit as pycocotools accumulates it.

Legend: D detections of one class, T thresholds of IoU, P = 101 recalls, K classes, A ranges of area.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segline.metrics.base import Values
from segline.metrics.detection_counts import AREAS, RECALLS, THRESHOLDS, DetectionCounts
from segline.metrics.names import class_keys
from segline.metrics.resampled_precision import Chosen, resampled_precision, resampled_recall
from segline_runtime.specification import ClassInfo

FEWER = (1, 10)
"""Numbers of detections of a class in an image, beside all, at which recall is told."""


@dataclass(frozen=True)
class Precision:
    """Precision by recall for boxes or for masks. NaN where there is no truth of that kind."""

    thresholds: Values  # (T,) IoU 0.50:0.05:0.95
    recalls: Values  # (P,) 0:0.01:1
    precision: Values  # (T, P, K, A), interpolated
    recall: Values  # (T, K, A), largest
    recall_of_best: dict[int, Values]  # number of detections of a class in an image that are taken → (T, K, A)


def precision(counts: DetectionCounts, kind: str) -> Precision:
    """Precision and recall of `mask` or `box` over all images."""
    classes = len(counts.classes)
    of_best = {number: np.full((len(THRESHOLDS), classes, len(AREAS)), np.nan) for number in FEWER}
    by_recall = np.full((len(THRESHOLDS), len(RECALLS), classes, len(AREAS)), np.nan)
    largest = np.full((len(THRESHOLDS), classes, len(AREAS)), np.nan)
    to_find = counts.to_find.sum(axis=0)
    hit, ignored = counts.hit(kind), counts.ignored(kind)
    for k in range(classes):
        there = np.flatnonzero(to_find[k])
        if not len(there):
            continue
        order = counts.ranked(k)
        shape = (len(there), len(THRESHOLDS))
        hits, out = [np.ascontiguousarray(some[order][:, there].reshape(len(order), len(there) * len(THRESHOLDS)).T) for some in (hit, ignored)]
        curves, recalls = _curves(hits, out, np.repeat(to_find[k, there], len(THRESHOLDS)))
        by_recall[:, :, k, there] = curves.reshape(*shape, -1).transpose(1, 2, 0)
        largest[:, k, there] = recalls.reshape(shape).T
        for number, values in of_best.items():
            values[:, k, there] = (hit[order[counts.place[order] < number]][:, there].sum(axis=0) / to_find[k, there, None]).T
    return Precision(THRESHOLDS, RECALLS, by_recall, largest, of_best)


def _curves(hit: NDArray[np.bool_], ignored: NDArray[np.bool_], to_find: NDArray[np.int64]) -> tuple[Values, Values]:
    """Of one class, a line for each range and threshold, by falling score `(L, D)`, with the number of true objects `(L,)`.

    Returns the interpolated precision at each recall `(L, P)`, and the largest recall `(L,)`.
    """
    lines, detections = hit.shape
    right = np.cumsum(hit, axis=1, dtype=np.float64)
    wrong = np.cumsum(~hit & ~ignored, axis=1, dtype=np.float64)
    envelope = np.maximum.accumulate((right / (wrong + right + np.spacing(1)))[:, ::-1], axis=1)[:, ::-1]
    # Beyond the largest recall precision is 0.
    envelope = np.concatenate([envelope, np.zeros((lines, 1))], axis=1)
    largest = right[:, -1] / to_find if detections else np.zeros(lines)
    needed = {number: np.searchsorted(np.arange(number + 1) / number, RECALLS, side="left") for number in np.unique(to_find).tolist()}
    # Each line's numbers of right detections are raised above those of the line before, so that one search finds where all lines reach their recalls.
    raised = np.concatenate([[0], np.cumsum(to_find + 1)[:-1]])[:, None]
    wanted = np.stack([needed[number] for number in to_find.tolist()]) + raised
    reached = np.searchsorted((right + raised).ravel(), wanted, side="left") - detections * np.arange(lines)[:, None]
    return np.take_along_axis(envelope, reached, axis=1), largest


class AveragePrecision:
    """COCO's twelve figures, for masks or for boxes: AP, AP50, AP75, AP by size, AR at 1, 10 and 100 detections of a class in an image, AR by size.

    Keys, with `<kind>` mask or box: <kind>_ap, <kind>_ap50, <kind>_ap75, <kind>_ap_small, <kind>_ap_medium, <kind>_ap_large, <kind>_ar1, <kind>_ar10,
    <kind>_ar (at 100), <kind>_ar_small, <kind>_ar_medium, <kind>_ar_large, <kind>_ap/<class>, <kind>_ap50/<class>. A figure that has no truth (a class or
    a size that the split lacks) is left out, and takes no part in a mean: that is COCO's rule. Sizes are by the area of the true mask, also for boxes.
    Crowds are neither to be found nor wrong when found.
    """

    counts = "detections"

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.headline = f"{kind}_ap"

    def figures(self, counts: DetectionCounts, classes: Sequence[ClassInfo]) -> dict[str, float]:
        found = precision(counts, self.kind)
        values = {key: self._value(found, chosen) for key, chosen in self._keys(classes).items()}
        return {key: value for key, value in values.items() if not math.isnan(value)}

    def resampled(self, counts: DetectionCounts, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:
        chosen = self._keys(classes).get(key)
        if chosen is None:
            return None
        compute = resampled_recall if chosen.recall else resampled_precision
        return compute(counts, self.kind, weights, chosen)

    def _keys(self, classes: Sequence[ClassInfo]) -> dict[str, Chosen]:
        """What each key is the mean of."""
        kind, everything, at50, at75 = self.kind, range(len(THRESHOLDS)), _only(0.5), _only(0.75)
        chosen = {f"{kind}_ap": Chosen(), f"{kind}_ap50": Chosen(at50), f"{kind}_ap75": Chosen(at75)}
        chosen |= {f"{kind}_ap_{area}": Chosen(area=a) for a, area in enumerate(AREAS) if a}
        chosen |= {f"{kind}_ar{number}": Chosen(recall=True, of_best=number) for number in FEWER}
        chosen[f"{kind}_ar"] = Chosen(recall=True)
        chosen |= {f"{kind}_ar_{area}": Chosen(recall=True, area=a) for a, area in enumerate(AREAS) if a}
        for word, thresholds in ((f"{kind}_ap", everything), (f"{kind}_ap50", at50)):
            chosen |= {f"{word}/{name}": Chosen(thresholds, label=k) for k, name in enumerate(class_keys(classes))}
        return chosen

    def _value(self, found: Precision, chosen: Chosen) -> float:
        labels = slice(None) if chosen.label is None else slice(chosen.label, chosen.label + 1)
        thresholds = slice(chosen.thresholds.start, chosen.thresholds.stop)
        if chosen.recall:
            recall = found.recall if chosen.of_best is None else found.recall_of_best[chosen.of_best]
            return _mean(recall[thresholds, labels, chosen.area])
        return _mean(found.precision[thresholds, :, labels, chosen.area])


def _only(threshold: float) -> range:
    at = int(np.argmin(np.abs(THRESHOLDS - threshold)))
    return range(at, at + 1)


def _mean(values: Values) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
