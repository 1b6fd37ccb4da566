"""Dice coefficient, from the pixels of all images together; absent classes as `segline.metrics.class_scores` says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.metrics import class_scores
from segline.metrics.base import Metric, Values
from segline.metrics.pixel_counts import ClassPixels, Sums
from segline_runtime.specification import ClassInfo


def dice(sums: Sums) -> Values:
    """Dice `(…, K)` = 2 TP / (2 TP + FP + FN)."""
    return class_scores.ratio(2 * sums.tp, sums.truth + sums.predicted)


class Dice:
    """`mdice`: mean over the classes that take part; `dice/<class>`."""

    counts = "pixels"
    headline = "mdice"

    def figures(self, counts: ClassPixels, classes: Sequence[ClassInfo]) -> dict[str, float]:
        scores = dice(counts.pooled())
        return class_scores.defined({"mdice": class_scores.mean(scores), **class_scores.by_class("dice", scores, classes)})

    def resampled(self, counts: ClassPixels, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:
        scores = dice(counts.resampled(weights))
        return class_scores.means(scores) if key == "mdice" else class_scores.column("dice", key, scores, classes)


METRIC: Metric = Dice()
