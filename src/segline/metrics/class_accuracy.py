"""Mean class accuracy: of each class's true pixels the share that was found; a class without true pixels takes no part, predicted or not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.metrics import class_scores
from segline.metrics.base import Metric, Values
from segline.metrics.pixel_counts import PixelCounts, Sums
from segline_runtime.specification import ClassInfo


def class_accuracy(sums: Sums) -> Values:
    """Share of each class's true pixels that were found `(…, K)`."""
    return class_scores.ratio(sums.tp, sums.truth)


class ClassAccuracy:
    """`mean_class_accuracy`."""

    counts = "pixels"
    headline = "mean_class_accuracy"

    def figures(self, counts: PixelCounts, classes: Sequence[ClassInfo]) -> dict[str, float]:  # noqa: ARG002
        return class_scores.defined({"mean_class_accuracy": class_scores.mean(class_accuracy(counts.pooled()))})

    def resampled(self, counts: PixelCounts, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:  # noqa: ARG002
        return class_scores.means(class_accuracy(counts.resampled(weights))) if key == "mean_class_accuracy" else None


METRIC: Metric = ClassAccuracy()
