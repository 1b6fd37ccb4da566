"""Share of all answers, one for each scored pixel and class, that are right: 1 minus the Hamming loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.metrics import class_scores
from segline.metrics.base import Metric, Values
from segline.metrics.label_counts import LabelCounts
from segline_runtime.specification import ClassInfo


def label_accuracy(right: Values, scored: Values) -> Values:
    """`(…)` of pixels per class `(…, K)`; NaN when no pixel is scored."""
    return class_scores.ratio(right.sum(axis=-1), scored.sum(axis=-1))


class LabelAccuracy:
    """`label_accuracy`."""

    counts = "labels"
    headline = "label_accuracy"

    def figures(self, counts: LabelCounts, classes: Sequence[ClassInfo]) -> dict[str, float]:  # noqa: ARG002
        right, scored = (part.sum(axis=0).astype(np.float64) for part in (counts.right, counts.scored))
        return class_scores.defined({"label_accuracy": float(label_accuracy(right, scored))})

    def resampled(self, counts: LabelCounts, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:  # noqa: ARG002
        if key != "label_accuracy":
            return None
        times = weights.astype(np.float64)
        right, scored = (times @ part.astype(np.float64) for part in (counts.right, counts.scored))
        return label_accuracy(right, scored)


METRIC: Metric = LabelAccuracy()
