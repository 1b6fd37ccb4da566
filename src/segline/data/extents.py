"""`data/prepared/extents.json`: how large the training images are, their objects, and the parts of their classes. By it the plan decides what params.yaml
leaves to the data.

Sizes are counted in bins of 1/16 octave (4 %), so that images can be added one by one, in any order, and one more changes little.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline import written
from segline.data.statistics import class_pixels
from segline.data.store import IGNORE
from segline.errors import DataError
from segline.files import write_json

EXTENTS = "extents.json"
VERSION = 1

_PER_OCTAVE = 16

_FARTHEST = 32 * _PER_OCTAVE
"""The bin of the largest size that an image could have."""


@dataclass
class Sizes:
    """How many there are of each size, or of each ratio."""

    bins: Counter[int] = field(default_factory=Counter)

    def add(self, value: float) -> None:
        """`value` is above 0."""
        self.bins[math.floor(_PER_OCTAVE * math.log2(value))] += 1

    @property
    def count(self) -> int:
        return sum(self.bins.values())

    def quantile(self, share: float) -> float:
        """The middle of the bin below which `share` of them lie. There is at least one."""
        passed = 0
        for one, number in sorted(self.bins.items()):
            passed += number
            if passed > share * (self.count - 1):
                return self._middle(one)
        raise AssertionError("of no sizes there is no quantile")

    def share(self, least: float, most: float) -> float:
        """How many lie between two values, by the middle of their bins; of all."""
        inside = sum(number for one, number in self.bins.items() if least < self._middle(one) < most)
        return inside / max(1, self.count)

    @staticmethod
    def _middle(one: int) -> float:
        middle: float = 2 ** ((one + 0.5) / _PER_OCTAVE)
        return middle


@dataclass
class Extents:
    """Of the train split. Crowds and ignored pixels are left out."""

    shapes: Sizes = field(default_factory=Sizes)  # of images: height / width
    longer: Sizes = field(default_factory=Sizes)  # of images: the longer side, pixels
    object_sides: Sizes = field(default_factory=Sizes)  # √(height · width) of an object's box over √(height · width) of its image
    object_shapes: Sizes = field(default_factory=Sizes)  # height / width of an object's box, in pixels of the image
    class_pixels: Counter[int] = field(default_factory=Counter)  # by class id
    class_edges: Counter[int] = field(default_factory=Counter)  # pairs of neighbouring pixels of which one is of the class and the other is not

    @classmethod
    def of(cls, size: tuple[int, int], mask: NDArray[np.uint8] | None, boxes: Iterable[tuple[float, float]]) -> Extents:
        """One image. size: height, width; mask: `(H, W)` class ids with 255 = ignore; boxes: height, width of each object's."""
        found = cls()
        height, width = size
        found.shapes.add(height / width)
        found.longer.add(max(height, width))
        for tall, wide in boxes:
            if tall > 0 and wide > 0:
                found.object_sides.add(math.sqrt(tall * wide / (height * width)))
                found.object_shapes.add(tall / wide)
        if mask is not None:
            found._add_mask(mask)
        return found

    def merge(self, other: Extents) -> None:
        for mine, theirs in zip(self._counters(), other._counters(), strict=True):
            mine.update(theirs)

    def width_of(self, label: int) -> float | None:
        """How wide the parts of a class are, in pixels of the images: what a stripe would be that has as many pixels and as long edges. None without edges."""
        edges = self.class_edges[label]
        return 2 * self.class_pixels[label] / edges if edges else None

    def write(self, folder: Path) -> None:
        values = {name: {str(key): number for key, number in sorted(counter.items())} for name, counter in self._named().items()}
        write_json(folder / EXTENTS, {"version": VERSION, **values})

    def _add_mask(self, mask: NDArray[np.uint8]) -> None:
        pixels = class_pixels(mask)
        edges = np.zeros(IGNORE + 1, dtype=np.int64)
        for one, other in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
            differ = one != other
            edges += np.bincount(one[differ], minlength=IGNORE + 1) + np.bincount(other[differ], minlength=IGNORE + 1)
        for counter, counted in ((self.class_pixels, pixels), (self.class_edges, edges)):
            counter.update({int(label): int(counted[label]) for label in np.flatnonzero(counted[:IGNORE])})

    def _named(self) -> dict[str, Counter[int]]:
        return {name: value.bins if isinstance(value, Sizes) else value for name, value in vars(self).items()}

    def _counters(self) -> list[Counter[int]]:
        return list(self._named().values())


def read(prepared: Path) -> Extents | None:
    """Of the prepared data; None where it was prepared before they were counted. Raises DataError."""
    file = prepared / EXTENTS
    try:
        with written.reading(file, DataError, "run `dvc repro -f prepare` to write it anew"):
            values: dict[str, Any] = written.mapping(file)
            written.refuse_later(file, written.version_of(values), VERSION, DataError)
            found = Extents()
            for name, counter in found._named().items():
                counter.update({_bin(key): _number(number) for key, number in values[name].items()})
            if found.shapes.count != found.longer.count or found.object_shapes.count != found.object_sides.count:
                raise ValueError("its counts do not fit each other")
            return found
    except FileNotFoundError:
        return None


def _bin(key: str) -> int:
    """A bin, or the id of a class."""
    if not -_FARTHEST <= int(key) <= _FARTHEST:
        raise ValueError(f"{key[:40]} is no size")
    return int(key)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{str(value)[:40]} is no count")
    return value
