"""Frequency-weighted IoU: each class counts by its share of the true pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.metrics import class_scores
from segline.metrics.base import Metric, Values
from segline.metrics.iou import iou
from segline.metrics.pixel_counts import PixelCounts, Sums
from segline_runtime.specification import ClassInfo


def frequency_weighted_iou(sums: Sums) -> Values:
    """`(…)`; NaN when no pixel is scored."""
    return class_scores.ratio(np.nansum(iou(sums) * sums.truth, axis=-1), sums.truth.sum(axis=-1))


class FrequencyWeightedIoU:
    """`fw_iou`."""

    counts = "pixels"
    headline = "fw_iou"

    def figures(self, counts: PixelCounts, classes: Sequence[ClassInfo]) -> dict[str, float]:  # noqa: ARG002
        return class_scores.defined({"fw_iou": float(frequency_weighted_iou(counts.pooled()))})

    def resampled(self, counts: PixelCounts, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:  # noqa: ARG002
        return frequency_weighted_iou(counts.resampled(weights)) if key == "fw_iou" else None


METRIC: Metric = FrequencyWeightedIoU()
