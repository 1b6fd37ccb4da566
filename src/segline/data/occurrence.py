"""What occurs in all truth of a source together: the mistakes that no single image shows, such as masks in which everything is ignored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from segline.data.check import name_list
from segline.data.statistics import class_pixels
from segline.data.store import IGNORE

_MANY = 4
"""Classes of a published data set of which others than the first two occur, however few images there are."""


class Occurrence:
    """Counts over images that come one by one.

    names_are_the_formats: the class names are those of a published data set, which nobody said that this one is.
    """

    def __init__(self, classes: Sequence[str], *, names_are_the_formats: bool) -> None:
        self._classes = tuple(classes)
        self._names_are_the_formats = names_are_the_formats
        self._pixels: dict[str, NDArray[np.int64]] = {}  # by split: of each class id, and of 255
        self._objects = 0
        self._masks = 0

    def add(self, split: str, mask: NDArray[np.uint8] | None, labels: Iterable[int]) -> None:
        """`mask` `(H, W)` are class ids with 255 = ignore, `labels` those of the image's objects."""
        counted = class_pixels(mask)
        self.enter(split, {label: int(counted[label]) for label in np.flatnonzero(counted).tolist()}, sum(1 for _ in labels))

    def enter(self, split: str, pixels: Mapping[int, int], objects: int) -> None:
        """As `add`, counted before: pixels of each class id and of 255, none where there is no mask."""
        self._objects += objects
        if pixels:
            self._masks += 1
            here = self._pixels.setdefault(split, np.zeros(IGNORE + 1, dtype=np.int64))
            for label, number in pixels.items():
                here[label] += number

    def problems(self) -> list[str]:
        """A sentence for each mistake."""
        return list(self._problems()) if self._masks else []

    def _problems(self) -> Iterator[str]:
        total = sum(self._pixels.values(), np.zeros(IGNORE + 1, dtype=np.int64))
        occurring = [int(i) for i in np.flatnonzero(total[:IGNORE])]
        ignored = f" {100 * total[IGNORE] / total.sum():.0f} % of the pixels are ignored: is data.ignore meant so?" if total[IGNORE] else ""
        if not occurring:
            yield "All pixels of all masks are ignored, so there is nothing to learn. Name the values that are classes in data.classes or data.values."
            return
        if len(occurring) == 1:
            only = self._classes[occurring[0]]
            yield (
                f"All {self._masks} masks show nothing but '{only}', so there is nothing to learn.{ignored} "
                "Look at the masks' values, and correct data.classes, data.ignore or the masks."
            )
            return
        if self._names_are_the_formats and len(self._classes) >= _MANY and occurring == [0, 1]:
            yield (
                f"The masks hold the values 0 and 1 alone, which would be '{self._classes[0]}' and '{self._classes[1]}' of {len(self._classes)} classes: "
                "these names are a published data set's and can hardly be meant. Name your own in data.classes, as in [background, person]."
            )
        train = self._pixels.get("train")
        if train is not None and np.count_nonzero(train[:IGNORE]) < 2:
            seen = name_list(self._classes[i] for i in np.flatnonzero(train[:IGNORE])) or "no class at all"
            yield f"The training images show nothing but {seen}, and others show more; add training images, or set data.splits.stratify to true."
