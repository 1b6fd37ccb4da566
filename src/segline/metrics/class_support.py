"""True pixels of each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.metrics.base import Metric, Values
from segline.metrics.names import class_keys
from segline.metrics.pixel_counts import ClassPixels
from segline_runtime.specification import ClassInfo


class ClassSupport:
    """`support/<class>`; 0 for a class that the split lacks."""

    counts = "pixels"
    headline = None

    def figures(self, counts: ClassPixels, classes: Sequence[ClassInfo]) -> dict[str, float]:
        return {f"support/{key}": int(pixels) for key, pixels in zip(class_keys(classes), counts.truth.sum(axis=0), strict=True)}

    def resampled(self, counts: ClassPixels, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:  # noqa: ARG002
        return None


METRIC: Metric = ClassSupport()
