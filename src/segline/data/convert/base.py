"""What a writer of an open layout is given, and what it tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Protocol

from segline.data.store import Sample, Split, Truth
from segline_runtime.specification import ClassInfo

ALL = "train"
"""The split of data that nobody divided."""


@dataclass(frozen=True)
class Picture:
    """An image's file."""

    name: str
    content: bytes

    @property
    def stem(self) -> str:
        return PurePath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePath(self.name).suffix


@dataclass(frozen=True)
class Part:
    """The images that are written as one split."""

    name: str
    splits: tuple[Split, ...]

    def __len__(self) -> int:
        return sum(len(split) for split in self.splits)

    def __iter__(self) -> Iterator[tuple[Picture, Sample]]:
        """Each image's file and what is known about it."""
        for split in self.splits:
            for i, name in enumerate(split.names()):
                yield Picture(name, split.content(i)), split[i]


class Writer(Protocol):
    """Writes a data set in a layout that other tools read."""

    needs: tuple[Truth, ...]  # kinds of truth, of which one must be there

    def write(self, folder: Path, parts: Sequence[Part], classes: Sequence[ClassInfo], truths: Sequence[Truth]) -> Counter[str]:
        """Into an empty `folder`. What the layout cannot say is counted by its kind."""


def copy(image: Picture, folder: Path, name: str | None = None) -> str:
    """Write an image as it is, under its own name or another, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / (name or image.name)).write_bytes(image.content)
    return name or image.name
