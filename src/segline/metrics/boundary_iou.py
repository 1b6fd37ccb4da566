"""Boundary IoU (Cheng 2021): IoU of what lies near the contours, from the pixels of all images together; absent classes as in `iou`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.metrics import class_scores
from segline.metrics.base import Metric, Values
from segline.metrics.boundary_counts import BOUNDARY
from segline.metrics.iou import iou
from segline.metrics.pixel_counts import PixelCounts, Sums
from segline_runtime.specification import ClassInfo


class BoundaryIoU:
    """`boundary_iou`: mean over the classes that take part; `boundary_iou/<class>`."""

    counts = "pixels"
    headline = "boundary_iou"
    details = (BOUNDARY,)

    def figures(self, counts: PixelCounts, classes: Sequence[ClassInfo]) -> dict[str, float]:
        if BOUNDARY.table not in counts.tables:
            return {}
        scores = iou(Sums(*(part.sum(axis=0) for part in _parts(counts))))
        return class_scores.defined({"boundary_iou": class_scores.mean(scores), **class_scores.by_class("boundary_iou", scores, classes)})

    def resampled(self, counts: PixelCounts, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:
        if BOUNDARY.table not in counts.tables:
            return None
        times = weights.astype(np.float64)
        scores = iou(Sums(*(times @ part for part in _parts(counts))))
        return class_scores.means(scores) if key == "boundary_iou" else class_scores.column("boundary_iou", key, scores, classes)


def _parts(counts: PixelCounts) -> list[NDArray[np.float64]]:
    """Boundary pixels of each image and class `(N, K)`: of both, of the truth, of the prediction."""
    return [counts.per_class(BOUNDARY.table, column) for column in ("both", "truth", "predicted")]


METRIC: Metric = BoundaryIoU()
