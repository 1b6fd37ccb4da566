"""By how much a figure is too good where some of the scored images were seen before: of all images against those that were not.

The interval is a bootstrap's in which the seen and the unseen images are drawn each from their own, so that their shares stay.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segline.metrics.base import Counts, Interval, Metric, Values
from segline.metrics.intervals import USUAL, Resampling, resampled


@dataclass(frozen=True)
class Inflation:
    """A metric's headline."""

    key: str
    images: int
    seen_images: int
    whole: float
    seen: float | None  # None where the figure is undefined for these images
    unseen: float | None
    interval: Interval | None  # of whole − unseen; None where there are fewer than two of either kind

    @property
    def difference(self) -> float | None:
        return None if self.unseen is None else self.whole - self.unseen

    def figures(self) -> dict[str, float]:
        """As metrics.json holds them."""
        found: dict[str, float | None] = {"leaked_images": self.seen_images, f"{self.key}_leaked": self.seen, f"{self.key}_clean": self.unseen}
        found[f"{self.key}_inflation"] = self.difference
        if self.interval is not None:
            found |= {f"{self.key}_inflation_low": self.interval.low, f"{self.key}_inflation_high": self.interval.high}
        return {key: value for key, value in found.items() if value is not None}

    def sentence(self, split: str) -> str:
        told = f"{self.seen_images} of the {self.images} {split} images show what the model was trained or steered by: {self.key} is "
        told += f"{_told(self.seen)} on these and {_told(self.unseen)} on the {self.images - self.seen_images} others"
        if self.difference is None:
            return f"{told}, so there is no figure of new images."
        between = "" if self.interval is None else f" (95 %: {self.interval.low:+.4f} to {self.interval.high:+.4f})"
        return f"{told}; the {self.whole:.4f} of all is {self.difference:+.4f} from that of new images{between}."


def inflation(counts: Counts, metric: Metric, seen: Collection[str], resampling: Resampling = USUAL) -> Inflation | None:
    """`seen`: names of images. None where no scored image is among them, or the figure is undefined for all."""
    where = np.array([name in seen for name in counts.images], dtype=bool)
    if not where.any():
        return None
    assert metric.headline is not None, "only a metric with a headline is told so"
    all_of_them = np.ones(len(where), dtype=np.int64)
    whole, on_seen, on_unseen = (_figure(counts, metric, times) for times in (all_of_them, all_of_them * where, all_of_them * ~where))
    if whole is None:
        return None
    interval = None
    if min(where.sum(), (~where).sum()) > 1:
        interval = resampling.spread(_differences(counts, metric, where, resampling))
    return Inflation(metric.headline, len(where), int(where.sum()), whole, on_seen, on_unseen, interval)


def _figure(counts: Counts, metric: Metric, times: NDArray[np.int64]) -> float | None:
    if not times.any():
        return None
    value = float(resampled(counts, metric, times[None])[0])
    return None if np.isnan(value) else value


def _differences(counts: Counts, metric: Metric, where: NDArray[np.bool_], resampling: Resampling) -> Values:
    times = np.zeros((resampling.resamples, len(where)), dtype=np.int64)
    for kind in (where, ~where):
        numbers = np.flatnonzero(kind)
        times[:, numbers] = resampling.weights(len(numbers))
    differences: Values = resampled(counts, metric, times) - resampled(counts, metric, times * ~where)
    return differences


def _told(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
