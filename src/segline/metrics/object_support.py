"""True objects of each class of things, without crowds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.metrics.base import Metric, Values
from segline.metrics.detection_counts import AREAS, DetectionCounts
from segline.metrics.names import class_keys
from segline_runtime.specification import ClassInfo


class ObjectSupport:
    """`support/<class>`; 0 for a class that the split lacks."""

    counts = "detections"
    headline = None

    def figures(self, counts: DetectionCounts, classes: Sequence[ClassInfo]) -> dict[str, float]:
        objects = counts.to_find[:, :, AREAS.index("all")].sum(axis=0)
        return {f"support/{key}": int(objects[info.id]) for key, info in zip(class_keys(classes), classes, strict=True) if info.thing}

    def resampled(self, counts: DetectionCounts, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:  # noqa: ARG002
        return None


METRIC: Metric = ObjectSupport()
