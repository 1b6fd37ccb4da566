"""Bootstrap: how far a figure would wander if other images of the same kind were scored. Images are drawn with replacement; all else follows from the counts.

Legend: N images, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segline.metrics.base import Counts, Interval, Metric, Values
from segline_runtime.specification import ClassInfo


@dataclass(frozen=True)
class Resampling:
    """How the images are drawn, and which share of the resampled figures an interval holds. The same seed gives the same resamples."""

    resamples: int = 1000
    seed: int = 0
    level: float = 0.95

    def weights(self, images: int) -> NDArray[np.int64]:
        """How often each of R resamples of N images holds each image `(R, N)`: every row adds up to N."""
        random = np.random.default_rng(self.seed)
        times = np.zeros((self.resamples, images), dtype=np.int64)
        for row in times:
            row[:] = np.bincount(random.integers(0, images, images), minlength=images)
        return times

    def spread(self, values: Values) -> Interval | None:
        """The middle `level` of values, those that are NaN left out; None when all are."""
        known = values[~np.isnan(values)]
        if not known.size:
            return None
        low, high = np.quantile(known, [(1 - self.level) / 2, (1 + self.level) / 2])
        return Interval(float(low), float(high))


USUAL = Resampling()


def resampled(counts: Counts, metric: Metric, times: NDArray[np.int64], *, key: str | None = None, classes: Sequence[ClassInfo] = ()) -> Values:
    """The figure `key` of a metric (default: its headline) for resamples given as weights `(R, N)`: `(R,)`, NaN where undefined.

    `classes` are needed for the key of a class alone.
    """
    wanted = key or metric.headline
    assert wanted is not None, "a metric without a headline needs a key"
    values = metric.resampled(counts, times, wanted, classes)
    if values is None:
        numbers = np.arange(len(counts))
        values = np.array([metric.figures(counts.select(np.repeat(numbers, row)), classes).get(wanted, np.nan) for row in times], dtype=np.float64)
    return values


def bootstrap(counts: Counts, metric: Metric, resampling: Resampling = USUAL, *, key: str | None = None, classes: Sequence[ClassInfo] = ()) -> Interval | None:
    """Interval of a figure; None where it cannot be told: fewer than two images, or nothing defined."""
    if len(counts) < 2:
        return None
    return resampling.spread(resampled(counts, metric, resampling.weights(len(counts)), key=key, classes=classes))


def intervals(counts: Counts, metrics: Sequence[Metric], resampling: Resampling = USUAL) -> dict[str, float]:
    """`<headline>_low` and `<headline>_high` of each metric that has a headline, as metrics.json holds them."""
    found: dict[str, float] = {}
    for metric in metrics:
        interval = bootstrap(counts, metric, resampling) if metric.headline else None
        if interval is not None:
            found |= {f"{metric.headline}_low": interval.low, f"{metric.headline}_high": interval.high}
    return found
