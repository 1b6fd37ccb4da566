"""What counts, metrics and intervals are. Counts are of single images; everything else (figures, intervals, comparisons, gates) is computed from them.

Legend: N images, K classes, R resamples of the images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from segline_runtime.specification import ClassInfo

Values = NDArray[np.float64]


class Counts(Protocol):
    """What was counted in each image of a split, in the order of the images' ids. Immutable."""

    kind: ClassVar[str]  # the word by which a file of counts says what it holds

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the images."""

    @property
    def hashes(self) -> tuple[str, ...]:
        """Content hash of each image; empty where nobody gave them (see `hashed`)."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by id."""

    @property
    def tables(self) -> Mapping[str, Any]:
        """By name what was counted, the rows of each image (see `segline.metrics.per_image`); some on request alone (see `segline.metrics.details`)."""

    def __len__(self) -> int: ...

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Self:
        """The counts of some of the images, in the given order; an image given twice is there twice."""

    @classmethod
    def merge(cls, parts: Sequence[Self]) -> Self:
        """The counts of several processes as one, sorted by image id; an image that several have counted counts once."""

    def hashed(self, by_name: Mapping[str, str]) -> Self:
        """The same counts with the images' content hashes, given by image name."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything, as arrays for an .npz file (see `segline.metrics.counts_file`)."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The counts that `arrays` gave. Raises KeyError when one is missing."""


class Metric(Protocol):
    """From counts to figures. One module for each, which holds it as `METRIC`; `segline.metrics.catalog` lists them."""

    @property
    def counts(self) -> str:
        """The kind of counts that it reads (`Counts.kind`)."""

    @property
    def headline(self) -> str | None:
        """The key that stands for the metric and gets an interval in metrics.json; None for one that is told without."""

    def figures(self, counts: Any, classes: Sequence[ClassInfo]) -> dict[str, float]:
        """Flat keys of metrics.json; undefined figures are left out."""

    def resampled(self, counts: Any, weights: NDArray[np.int64], key: str, classes: Sequence[ClassInfo]) -> Values | None:
        """The figure `key` (the headline, or another one of `figures`) of R resamples of the images, `(R,)`, NaN where undefined.

        `weights` `(R, N)`: how often each resample holds each image. None where the metric has no short way for this key: it is then computed
        from `figures` for one resample after another.
        """


@dataclass(frozen=True)
class Interval:
    """Within which a figure would lie, had other images of the same kind been scored."""

    low: float
    high: float
