"""Average precision of many resamples of the images at once.

A resample holds each image some number of times (its weight), and with it the image's detections and true objects. The copies of a detection stand
beside one another in the ranking, so that the whole ranking need not be sorted anew: it is gone through once, from the weakest detection to the best,
with one number for each resample and threshold.

Only the ranks of right detections matter: between them recall stands still and precision falls. Of the copies of a right detection the last has the
highest precision, and interpolation gives it to the others.

Legend: N images, K classes, A ranges of area, T thresholds of IoU, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from segline.metrics.base import Values
from segline.metrics.detection_counts import AREAS, RECALLS, THRESHOLDS, DetectionCounts

_AT_ONCE = 1024
"""Resamples in one pass, which bounds the memory."""


@dataclass(frozen=True)
class Chosen:
    """Of which thresholds, range of area and class a figure is the mean; `recall`: of the largest recall in place of precision.

    of_best: the number of detections of a class in an image that are taken, for recall alone; None: all.
    """

    thresholds: range = range(len(THRESHOLDS))
    area: int = AREAS.index("all")
    label: int | None = None  # None: the mean over all classes with truth
    recall: bool = False
    of_best: int | None = None

    def of(self, flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The flags `(D, A, T)` of the range of area and the thresholds, `(D, T)`."""
        return flags[:, self.area, self.thresholds.start : self.thresholds.stop]


def resampled_precision(counts: DetectionCounts, kind: str, weights: NDArray[np.int64], chosen: Chosen) -> Values:
    """Mean interpolated precision of each resample `(R,)`; NaN for one without truth. weights `(R, N)`."""
    rankings = [_Ranking(counts, kind, label, chosen) for label in _labels(counts, chosen)]
    values = [np.zeros(0)]
    for start in range(0, len(weights), _AT_ONCE):
        times = np.ascontiguousarray(weights[start : start + _AT_ONCE].T)
        values.append(_mean_over_classes(rankings, times))
    return np.concatenate(values)


def resampled_recall(counts: DetectionCounts, kind: str, weights: NDArray[np.int64], chosen: Chosen) -> Values:
    """Mean largest recall of each resample `(R,)`; NaN for one without truth. weights `(R, N)`."""
    times = weights.astype(np.float64)
    total, classes = np.zeros(len(weights)), np.zeros(len(weights))
    for label in _labels(counts, chosen):
        mine = np.flatnonzero(counts.label == label)
        if chosen.of_best is not None:
            mine = mine[counts.place[mine] < chosen.of_best]
        found = np.zeros(len(counts))
        np.add.at(found, counts.image[mine], chosen.of(counts.hit(kind)[mine]).mean(axis=1))
        to_find = times @ counts.to_find[:, label, chosen.area]
        total += np.divide(times @ found, to_find, out=np.zeros(len(weights)), where=to_find > 0)
        classes += to_find > 0
    return np.asarray(np.divide(total, classes, out=np.full(len(weights), np.nan), where=classes > 0))


def _labels(counts: DetectionCounts, chosen: Chosen) -> list[int]:
    labels = range(len(counts.classes)) if chosen.label is None else [chosen.label]
    return [label for label in labels if counts.to_find[:, label, chosen.area].any()]


class _Ranking:
    """One class's detections by falling score, and the images of its true objects."""

    def __init__(self, counts: DetectionCounts, kind: str, label: int, chosen: Chosen) -> None:
        order = counts.ranked(label)
        hit, ignored = chosen.of(counts.hit(kind)[order]), chosen.of(counts.ignored(kind)[order])
        image = counts.image[order]
        self.to_find = np.repeat(np.arange(len(counts)), counts.to_find[:, label, chosen.area])  # image of each true object
        self.found = image  # image of each detection
        self.hits = [image[flags] for flags in hit.T]  # by threshold, images of the right ones
        self.ignored = [image[flags] for flags in ignored.T]  # by threshold, images of those that do not count
        # From the weakest to the best: image, and the runs of thresholds at which the detection is right, and at which it counts.
        self.steps = [(int(image[i]), _runs(hit[i].tobytes()), _runs((~ignored[i]).tobytes())) for i in range(len(order) - 1, -1, -1)]

    def mean_precision(self, times: NDArray[np.int64], as_float: Values) -> tuple[Values, NDArray[np.bool_]]:
        """Mean over thresholds and recalls `(R,)`, and whether the resample has truth of the class. times `(N, R)`, in both types."""
        to_find = times[self.to_find].sum(axis=0)
        table, rows = _recalls_reached(to_find)
        right = np.stack([as_float[images].sum(axis=0) for images in self.hits])  # (T, R)
        ranked = as_float[self.found].sum(axis=0) - np.stack([as_float[images].sum(axis=0) for images in self.ignored])  # (T, R)
        # The cell of each resample's row of the table that says how many recalls the present number of right detections reaches.
        cell = right.astype(np.int64) + rows
        envelope, area = np.zeros_like(right), np.zeros_like(right)
        reached = table[cell]
        before, scratch = np.empty_like(right), np.empty_like(right)
        for image, hits, counted in self.steps:
            for run in hits:
                part = scratch[run]
                np.add(ranked[run], np.spacing(1.0), out=part)
                np.divide(right[run], part, out=part)
                np.maximum(envelope[run], part, out=envelope[run])
                np.subtract(right[run], as_float[image], out=right[run])
                np.subtract(cell[run], times[image], out=cell[run])
                np.take(table, cell[run], out=before[run], mode="clip")
                np.subtract(reached[run], before[run], out=part)
                np.multiply(part, envelope[run], out=part)
                np.add(area[run], part, out=area[run])
                np.copyto(reached[run], before[run])
            for run in counted:
                np.subtract(ranked[run], as_float[image], out=ranked[run])
        # Recall 0 is reached by nothing found; it has the best precision of all ranks.
        area += reached * envelope
        return area.mean(axis=0) / len(RECALLS), to_find > 0


def _mean_over_classes(rankings: list[_Ranking], times: NDArray[np.int64]) -> Values:
    as_float = times.astype(np.float64)
    total, classes = np.zeros(times.shape[1]), np.zeros(times.shape[1])
    for ranking in rankings:
        value, with_truth = ranking.mean_precision(times, as_float)
        total += np.where(with_truth, value, 0)
        classes += with_truth
    return np.asarray(np.divide(total, classes, out=np.full(len(total), np.nan), where=classes > 0))


@cache
def _runs(flags: bytes) -> tuple[slice, ...]:
    """The stretches of flags that are set: b"\\1\\1\\0\\1" → 0:2, 3:4."""
    runs, start = [], None
    for i, flag in enumerate((*flags, 0)):
        if flag and start is None:
            start = i
        elif not flag and start is not None:
            runs.append(slice(start, i))
            start = None
    return tuple(runs)


def _recalls_reached(to_find: NDArray[np.int64]) -> tuple[Values, NDArray[np.int64]]:
    """For each resample with `to_find` `(R,)` objects a row: how many of the recalls 0, 0.01, … 1 are reached by 0, 1, … found objects.

    Returns the rows one behind the other, and where each begins `(R,)`.
    """
    sizes, row_of = np.unique(to_find, return_inverse=True)
    rows = [np.searchsorted(RECALLS, np.arange(size + 1) / max(size, 1), side="right").astype(np.float64) for size in sizes]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])[:-1]]).astype(np.int64)
    return np.concatenate(rows), starts[row_of]
