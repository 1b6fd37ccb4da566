"""Share of all scored pixels that are wrong: the oldest measure of the ISBI 2012 challenge (Arganda-Carreras 2015). The less, the better.

A pixel counts as what the model finds likelier: of two classes, membrane and cell, that is the challenge's membrane map cut at one half. (The challenge's own
program tried every threshold and took the best.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.metrics import class_scores
from segline.metrics.base import Metric, Values
from segline.metrics.pixel_accuracy import pixel_accuracy
from segline.metrics.pixel_counts import PixelCounts
from segline_runtime.specification import ClassInfo


class PixelError:
    """1 − `pixel_accuracy`."""

    counts = "pixels"
    headline = "pixel_error"

    def figures(self, counts: PixelCounts, classes: Sequence[ClassInfo]) -> dict[str, float]:  # noqa: ARG002
        return class_scores.defined({"pixel_error": 1 - float(pixel_accuracy(counts.pooled()))})

    def resampled(self, counts: PixelCounts, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:  # noqa: ARG002
        return 1 - pixel_accuracy(counts.resampled(weights)) if key == "pixel_error" else None


METRIC: Metric = PixelError()
