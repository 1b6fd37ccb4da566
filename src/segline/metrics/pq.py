"""Panoptic quality of things (Kirillov 2019, arXiv:1801.00868), mean over the classes that have true or predicted objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.metrics import class_scores
from segline.metrics.base import Metric, Values
from segline.metrics.detection_counts import DetectionCounts
from segline.metrics.panoptic import Segments
from segline.metrics.segment_counts import SEGMENTS
from segline_runtime.specification import ClassInfo


class PanopticQuality:
    """`pq`, its parts `sq` (how well what is found is outlined) and `rq` (how much is found), and `pq/<class>`."""

    counts = "detections"
    headline = "pq"
    details = (SEGMENTS,)

    def figures(self, counts: DetectionCounts, classes: Sequence[ClassInfo]) -> dict[str, float]:
        if SEGMENTS.table not in counts.tables:
            return {}
        sums = segments(counts).sums()
        means = {word: class_scores.mean(scores) for word, scores in _scores(sums).items()}
        return class_scores.defined({**means, **class_scores.by_class("pq", sums.quality, classes)})

    def resampled(self, counts: DetectionCounts, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:
        if SEGMENTS.table not in counts.tables:
            return None
        sums = segments(counts).resampled(weights)
        scores = _scores(sums)
        return class_scores.means(scores[key]) if key in scores else class_scores.column("pq", key, sums.quality, classes)


def segments(counts: DetectionCounts) -> Segments:
    """Of each image and class."""
    return Segments(*(counts.per_class(SEGMENTS.table, column) for column in ("matched", "wrong", "missed", "iou")))


def _scores(sums: Segments) -> dict[str, Values]:
    return {"pq": sums.quality, "sq": sums.segmentation, "rq": sums.recognition}


METRIC: Metric = PanopticQuality()
