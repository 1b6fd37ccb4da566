"""Of two classes, IoU, Dice, precision and recall of the second by the threshold of its probability, and the best threshold.

The threshold is the one with the highest Dice, and so with the highest IoU, on the very images that are scored: its figures say what a threshold can
reach, not what it will reach on others. Of equals the nearest to 0.5 is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segline.drawing.tables import write_csv
from segline.drawing.thresholds import threshold_picture
from segline.metrics import class_scores
from segline.metrics.base import Metric, Values
from segline.metrics.pixel_counts import PixelCounts, Sums
from segline.metrics.threshold_counts import POSITIVE, THRESHOLD, THRESHOLDS
from segline_runtime.specification import ClassInfo

_ORDER = np.argsort(np.abs(THRESHOLDS - 0.5), kind="stable")
"""The thresholds, the nearest to 0.5 first."""

_WORDS = ("iou", "dice", "precision", "recall")


class Thresholds:
    """`best_threshold` and, at it, `best_threshold_iou`, `best_threshold_dice`, `best_threshold_precision`, `best_threshold_recall`."""

    counts = "pixels"
    headline = "best_threshold_iou"
    details = (THRESHOLD,)

    def misfit(self, classes: Sequence[ClassInfo]) -> str | None:
        return None if len(classes) == 2 else f"is for data of two classes, and this has {len(classes)}"

    def figures(self, counts: PixelCounts, classes: Sequence[ClassInfo]) -> dict[str, float]:  # noqa: ARG002
        if not _counted(counts):
            return {}
        return {key: float(values[0]) for key, values in _best(np.ones((1, len(counts))), counts).items() if not np.isnan(values[0])}

    def resampled(self, counts: PixelCounts, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:  # noqa: ARG002
        """Each resample chooses its own threshold."""
        return _best(weights.astype(np.float64), counts).get(key) if _counted(counts) else None

    def write_plots(self, counts: PixelCounts, classes: Sequence[ClassInfo], folder: Path) -> None:
        """thresholds.png and thresholds.csv: the four figures by threshold. Nothing where there are not two classes."""
        found = self.figures(counts, classes)
        if "best_threshold" not in found:
            return
        curves = _curves(np.ones((1, len(counts))), counts)
        shown = {word: curves[word][0] for word in _WORDS}
        threshold_picture(THRESHOLDS, shown, found["best_threshold"], classes[POSITIVE].name, folder / "thresholds.png")
        rows = [(f"{t:.2f}", *("" if np.isnan(shown[word][i]) else f"{shown[word][i]:.6f}" for word in _COLUMNS)) for i, t in enumerate(THRESHOLDS)]
        write_csv(folder / "thresholds.csv", ["threshold", *_COLUMNS], rows)


_COLUMNS = ("iou", "precision", "recall", "dice")  # DVC draws the last


def _counted(counts: PixelCounts) -> bool:
    return THRESHOLD.table in counts.tables and len(counts.classes) == 2


def _curves(times: Values, counts: PixelCounts) -> dict[str, Values]:
    """Each figure of R resamples by threshold `(R, T)`, NaN where undefined; times `(R, N)`."""
    table = counts.tables[THRESHOLD.table]
    reached = []
    for column in ("positive", "negative"):
        sums = np.zeros((len(counts), len(THRESHOLDS)))
        np.add.at(sums, (table.image, table.columns["bin"]), table.columns[column])
        reached.append(np.cumsum((times @ sums)[:, ::-1], axis=1)[:, ::-1])  # pixels at or above each threshold
    right, wrong = reached
    sums_of = Sums(tp=right, truth=np.broadcast_to(right[:, :1], right.shape), predicted=right + wrong)
    return {
        "iou": class_scores.ratio(sums_of.tp, sums_of.truth + sums_of.predicted - sums_of.tp),
        "dice": class_scores.ratio(2 * sums_of.tp, sums_of.truth + sums_of.predicted),
        "precision": class_scores.ratio(sums_of.tp, sums_of.predicted),
        "recall": class_scores.ratio(sums_of.tp, sums_of.truth),
    }


def _best(times: Values, counts: PixelCounts) -> dict[str, Values]:
    """The figures of each resample at its best threshold `(R,)`; NaN where the second class is in neither truth nor prediction."""
    curves = _curves(times, counts)
    dice = np.nan_to_num(curves["dice"], nan=-1.0)[:, _ORDER]
    at = _ORDER[dice.argmax(axis=1)]
    undefined = np.isnan(curves["dice"]).all(axis=1)
    rows = np.arange(len(at))
    found = {"best_threshold": np.where(undefined, np.nan, THRESHOLDS[at])}
    return found | {f"best_threshold_{word}": np.where(undefined, np.nan, curves[word][rows, at]) for word in _WORDS}


METRIC: Metric = Thresholds()
