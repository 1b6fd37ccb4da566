"""Panoptic quality from numbers of segments (Kirillov 2019, arXiv:1801.00868): PQ = Σ IoU of the matched / (matched + ½ wrong + ½ missed).

It is segmentation quality (mean IoU of the matched) times recognition quality (their F1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segline.metrics import class_scores
from segline.metrics.base import Values


@dataclass(frozen=True)
class Segments:
    """Segments of each image and class `(…, K)`: matched, predicted without truth, true without prediction, and the sum of the IoU of the matched."""

    matched: Values
    wrong: Values
    missed: Values
    iou: Values

    def sums(self) -> Segments:
        """Of all images, `(K,)`."""
        return Segments(*(part.sum(axis=0) for part in (self.matched, self.wrong, self.missed, self.iou)))

    def resampled(self, weights: NDArray[np.int64]) -> Segments:
        """Of R resamples, `(R, K)`; weights `(R, N)`."""
        times = weights.astype(np.float64)
        return Segments(*(times @ part for part in (self.matched, self.wrong, self.missed, self.iou)))

    @property
    def quality(self) -> Values:
        """PQ; NaN for a class without segments, which takes no part in a mean."""
        return class_scores.ratio(self.iou, self.matched + (self.wrong + self.missed) / 2)

    @property
    def recognition(self) -> Values:
        """RQ; NaN as `quality`."""
        return class_scores.ratio(self.matched, self.matched + (self.wrong + self.missed) / 2)

    @property
    def segmentation(self) -> Values:
        """SQ; 0 for a class of which nothing is matched, NaN as `quality`."""
        return np.where(np.isnan(self.quality), np.nan, np.nan_to_num(class_scores.ratio(self.iou, self.matched)))
