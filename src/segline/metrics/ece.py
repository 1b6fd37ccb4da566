"""Expected calibration error (Guo 2017): how far the share of right pixels is from the model's own confidence, mean over 15 bins by their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segline.drawing.reliability import reliability_picture
from segline.drawing.tables import write_csv
from segline.metrics import class_scores
from segline.metrics.base import Metric, Values
from segline.metrics.confidence_counts import CONFIDENCE, NUMBER
from segline.metrics.pixel_counts import PixelCounts
from segline_runtime.specification import ClassInfo


class ExpectedCalibrationError:
    """`ece`: 0 is best."""

    counts = "pixels"
    headline = "ece"
    details = (CONFIDENCE,)

    def figures(self, counts: PixelCounts, classes: Sequence[ClassInfo]) -> dict[str, float]:  # noqa: ARG002
        if CONFIDENCE.table not in counts.tables:
            return {}
        pixels, right, confidence = (part.sum(axis=0) for part in _bins(counts))
        return class_scores.defined({"ece": float(_error(pixels, right, confidence))})

    def resampled(self, counts: PixelCounts, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:  # noqa: ARG002
        if key != "ece" or CONFIDENCE.table not in counts.tables:
            return None
        times = weights.astype(np.float64)
        return _error(*(times @ part for part in _bins(counts)))

    def write_plots(self, counts: PixelCounts, classes: Sequence[ClassInfo], folder: Path) -> None:  # noqa: ARG002
        """reliability.png, and reliability.csv: of each bin with pixels its mean confidence, its pixels and the share of them that is right."""
        pixels, right, confidence = (part.sum(axis=0) for part in _bins(counts))
        shares, sure = class_scores.ratio(right, pixels), class_scores.ratio(confidence, pixels)
        reliability_picture(sure, shares, pixels, float(_error(pixels, right, confidence)), folder / "reliability.png")
        rows = [(f"{sure[b]:.6f}", int(pixels[b]), f"{shares[b]:.6f}") for b in np.flatnonzero(pixels)]
        write_csv(folder / "reliability.csv", ["confidence", "pixels", "accuracy"], rows)


def _bins(counts: PixelCounts) -> list[NDArray[np.float64]]:
    """Of each image and bin `(N, B)`: pixels, right ones, sum of confidences."""
    table = counts.tables[CONFIDENCE.table]
    found = []
    for column in ("pixels", "right", "sum"):
        sums = np.zeros((len(counts), NUMBER))
        np.add.at(sums, (table.image, table.columns["bin"]), table.columns[column])
        found.append(sums)
    return found


def _error(pixels: Values, right: Values, confidence: Values) -> Values:
    """Of sums by bin `(…, B)`: `(…)`, NaN without pixels. A bin's share of the pixels and its mean have the same denominator."""
    return class_scores.ratio(np.abs(right - confidence).sum(axis=-1), pixels.sum(axis=-1))


METRIC: Metric = ExpectedCalibrationError()
