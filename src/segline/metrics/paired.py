"""Two models on the same images: how much better is the first, and do the images suffice to tell?

Both are resampled alike, so what makes an image hard for both drops out of the difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segline.metrics.base import Counts, Interval, Metric
from segline.metrics.intervals import USUAL, Resampling, resampled
from segline_runtime.specification import ClassInfo


@dataclass(frozen=True)
class Comparison:
    """First minus second."""

    difference: float
    low: float
    high: float
    images: int
    needed_images: int | None  # that would decide; None where the interval decides already, or where no number of images would


def paired(
    first: Counts,
    second: Counts,
    metric: Metric,
    resampling: Resampling = USUAL,
    *,
    key: str | None = None,
    classes: Sequence[ClassInfo] = (),
    margin: float = 0.0,
) -> Comparison | None:
    """Compare two models by a figure (`key`, default the metric's headline); None where it is undefined, or for fewer than two images.

    The question is whether the difference is at least −margin: `needed_images` is how many images would put −margin outside the interval, if the
    difference stayed and the interval shrank as 1/√N.
    """
    assert first.images == second.images, "a paired comparison needs counts of the same images, in the same order"
    if len(first) < 2:
        return None
    times = np.concatenate([np.ones((1, len(first)), dtype=np.int64), resampling.weights(len(first))])
    one, other = (resampled(counts, metric, times, key=key, classes=classes) for counts in (first, second))
    differences = one - other
    interval = resampling.spread(differences[1:])
    if interval is None or np.isnan(differences[0]):
        return None
    difference = float(differences[0])
    return Comparison(difference, interval.low, interval.high, len(first), _needed(difference, interval, len(first), margin))


def _needed(difference: float, interval: Interval, images: int, margin: float) -> int | None:
    if not interval.low < -margin <= interval.high:
        return None
    distance = difference + margin
    reach = difference - interval.low if distance > 0 else interval.high - difference
    if distance == 0 or reach <= 0:
        return None
    return math.ceil(images * (reach / distance) ** 2)
