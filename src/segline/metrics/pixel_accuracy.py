"""Share of all scored pixels that are right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.metrics import class_scores
from segline.metrics.base import Metric, Values
from segline.metrics.pixel_counts import PixelCounts, Sums
from segline_runtime.specification import ClassInfo


def pixel_accuracy(sums: Sums) -> Values:
    """`(…)`; NaN when no pixel is scored."""
    return class_scores.ratio(sums.tp.sum(axis=-1), sums.truth.sum(axis=-1))


class PixelAccuracy:
    """`pixel_accuracy`."""

    counts = "pixels"
    headline = "pixel_accuracy"

    def figures(self, counts: PixelCounts, classes: Sequence[ClassInfo]) -> dict[str, float]:  # noqa: ARG002
        return class_scores.defined({"pixel_accuracy": float(pixel_accuracy(counts.pooled()))})

    def resampled(self, counts: PixelCounts, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:  # noqa: ARG002
        return pixel_accuracy(counts.resampled(weights)) if key == "pixel_accuracy" else None


METRIC: Metric = PixelAccuracy()
