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


@dataclass(frozen=True)
class Precision:
    """Precision by recall for boxes or for masks. NaN where there is no truth of that kind."""

    thresholds: Values  # (T,) IoU 0.50:0.05:0.95
    recalls: Values  # (P,) 0:0.01:1
    precision: Values  # (T, P, K, A), interpolated
    recall: Values  # (T, K, A), largest


def precision(counts: DetectionCounts, kind: str) -> Precision:
    """Precision and recall of `mask` or `box` over all images."""
    classes = len(counts.classes)
    by_recall = np.full((len(THRESHOLDS), len(RECALLS), classes, len(AREAS)), np.nan)
    largest = np.full((len(THRESHOLDS), classes, len(AREAS)), np.nan)
    to_find = counts.to_find.sum(axis=0)
    hit, ignored = counts.hit(kind), counts.ignored(kind)
    for k in range(classes):
        order = counts.ranked(k)
        for a in range(len(AREAS)):
            if to_find[k, a]:
                curve = _curve(hit[order, a].T, ignored[order, a].T, int(to_find[k, a]))
                by_recall[:, :, k, a], largest[:, k, a] = curve
    return Precision(THRESHOLDS, RECALLS, by_recall, largest)


def _curve(hit: NDArray[np.bool_], ignored: NDArray[np.bool_], to_find: int) -> tuple[Values, Values]:
    """Of one class and range, by falling score `(T, D)`: interpolated precision at each recall `(T, P)`, and the largest recall `(T,)`."""
    right = np.cumsum(hit, axis=1, dtype=np.float64)
    wrong = np.cumsum(~hit & ~ignored, axis=1, dtype=np.float64)
    recall = right / to_find
    envelope = np.maximum.accumulate((right / (wrong + right + np.spacing(1)))[:, ::-1], axis=1)[:, ::-1]
    # Beyond the largest recall precision is 0.
    envelope = np.concatenate([envelope, np.zeros((len(hit), 1))], axis=1)
    reached = np.stack([np.searchsorted(row, RECALLS, side="left") for row in recall])
    largest = recall[:, -1] if hit.shape[1] else np.zeros(len(hit))
    return np.take_along_axis(envelope, reached, axis=1), largest


class AveragePrecision:
    """COCO AP, AP50, AP75, AP by size and AR at 100 detections, for masks or for boxes.

    Keys, with `<kind>` mask or box: <kind>_ap, <kind>_ap50, <kind>_ap75, <kind>_ap_small, <kind>_ap_medium, <kind>_ap_large, <kind>_ar, <kind>_ap/<class>,
    <kind>_ap50/<class>. A figure that has no truth (a class or a size that the split lacks) is left out, and takes no part in a mean: that is COCO's
    rule. Sizes are by the area of the true mask, also for boxes. Crowds are neither to be found nor wrong when found.
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
        chosen[f"{kind}_ar"] = Chosen(recall=True)
        for word, thresholds in ((f"{kind}_ap", everything), (f"{kind}_ap50", at50)):
            chosen |= {f"{word}/{name}": Chosen(thresholds, label=k) for k, name in enumerate(class_keys(classes))}
        return chosen

    def _value(self, found: Precision, chosen: Chosen) -> float:
        labels = slice(None) if chosen.label is None else slice(chosen.label, chosen.label + 1)
        if chosen.recall:
            return _mean(found.recall[chosen.thresholds][:, labels, chosen.area])
        return _mean(found.precision[chosen.thresholds][:, :, labels, chosen.area])


def _only(threshold: float) -> range:
    at = int(np.argmin(np.abs(THRESHOLDS - threshold)))
    return range(at, at + 1)


def _mean(values: Values) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
