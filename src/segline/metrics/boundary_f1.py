"""Boundary F1 (Csurka 2013): how well contours agree, mean over images of the mean over each image's classes that have a contour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.metrics import class_scores
from segline.metrics.base import Metric, Values
from segline.metrics.contour_counts import CONTOUR
from segline.metrics.pixel_counts import PixelCounts
from segline_runtime.specification import ClassInfo


class BoundaryF1:
    """`boundary_f1`; `boundary_f1/<class>`: mean over the images in which the class has a contour, in truth or in prediction."""

    counts = "pixels"
    headline = "boundary_f1"
    details = (CONTOUR,)

    def figures(self, counts: PixelCounts, classes: Sequence[ClassInfo]) -> dict[str, float]:
        if CONTOUR.table not in counts.tables:
            return {}
        by_class = scores(counts)
        means = [class_scores.mean(column) for column in by_class.T]
        whole = class_scores.mean(class_scores.means(by_class))
        return class_scores.defined({"boundary_f1": whole, **class_scores.by_class("boundary_f1", np.array(means), classes)})

    def resampled(self, counts: PixelCounts, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:
        if CONTOUR.table not in counts.tables:
            return None
        by_class = scores(counts)
        of_images = class_scores.means(by_class) if key == "boundary_f1" else class_scores.column("boundary_f1", key, by_class, classes)
        if of_images is None:
            return None
        times = weights.astype(np.float64)
        return class_scores.ratio(times @ np.nan_to_num(of_images), times @ ~np.isnan(of_images))


def scores(counts: PixelCounts) -> Values:
    """F1 of each image and class `(N, K)`; NaN where the class has no contour, 0 where it has one in truth or in prediction alone."""
    truth, found, predicted, right = (counts.per_class(CONTOUR.table, column) for column in ("truth", "found", "predicted", "right"))
    recall, precision = class_scores.ratio(found, truth), class_scores.ratio(right, predicted)
    both = np.nan_to_num(recall) + np.nan_to_num(precision)
    f1 = np.divide(2 * np.nan_to_num(recall) * np.nan_to_num(precision), both, out=np.zeros_like(both), where=both > 0)
    return np.where(truth + predicted > 0, f1, np.nan)


METRIC: Metric = BoundaryF1()
