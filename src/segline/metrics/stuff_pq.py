"""Panoptic quality of stuff (Kirillov 2019, arXiv:1801.00868): all pixels of a class in an image are one segment, found when its IoU is above ½."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.metrics import class_scores
from segline.metrics.base import Metric, Values
from segline.metrics.iou import iou
from segline.metrics.panoptic import Segments
from segline.metrics.pixel_counts import PixelCounts, Sums
from segline_runtime.specification import ClassInfo


class StuffPQ:
    """`stuff_pq`: mean over the classes of truth and prediction, each taken for stuff; `stuff_pq/<class>`."""

    counts = "pixels"
    headline = "stuff_pq"

    def figures(self, counts: PixelCounts, classes: Sequence[ClassInfo]) -> dict[str, float]:
        scores = segments(counts).sums().quality
        return class_scores.defined({"stuff_pq": class_scores.mean(scores), **class_scores.by_class("stuff_pq", scores, classes)})

    def resampled(self, counts: PixelCounts, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:
        scores = segments(counts).resampled(weights).quality
        return class_scores.means(scores) if key == "stuff_pq" else class_scores.column("stuff_pq", key, scores, classes)


def segments(counts: PixelCounts) -> Segments:
    """Of each image and class."""
    scores = iou(Sums(*(part.astype(np.float64) for part in (counts.tp, counts.truth, counts.predicted))))
    matched = np.nan_to_num(scores) > 0.5
    wrong, missed = (counts.predicted > 0) & ~matched, (counts.truth > 0) & ~matched
    return Segments(*(part.astype(np.float64) for part in (matched, wrong, missed, np.where(matched, scores, 0))))


METRIC: Metric = StuffPQ()
