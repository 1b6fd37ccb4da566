"""Intersection over union, from the pixels of all images together; absent classes as `segline.metrics.class_scores` says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.metrics import class_scores
from segline.metrics.base import Metric, Values
from segline.metrics.pixel_counts import ClassPixels, Sums
from segline_runtime.specification import ClassInfo


def iou(sums: Sums) -> Values:
    """IoU `(…, K)` = TP / (TP + FP + FN)."""
    return class_scores.ratio(sums.tp, sums.truth + sums.predicted - sums.tp)


class IoU:
    """`miou`: mean over the classes that take part; `iou/<class>`."""

    counts = "pixels"
    headline = "miou"

    def figures(self, counts: ClassPixels, classes: Sequence[ClassInfo]) -> dict[str, float]:
        scores = iou(counts.pooled())
        return class_scores.defined({"miou": class_scores.mean(scores), **class_scores.by_class("iou", scores, classes)})

    def resampled(self, counts: ClassPixels, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:
        scores = iou(counts.resampled(weights))
        return class_scores.means(scores) if key == "miou" else class_scores.column("iou", key, scores, classes)


METRIC: Metric = IoU()
