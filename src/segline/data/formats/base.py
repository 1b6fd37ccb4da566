"""What a data format is: one file per format beside this one, and `catalog` lists them.

A format only finds and decodes: it does not split, convert or write.
Reading the structure (lists, annotation files) is quick and reports all its problems at once; the truth of an image is loaded when `prepare` asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segline.data.check import IMAGE_SUFFIXES, Refused
from segline.data.store import Truth
from segline.errors import DataError

BACKGROUND = "background"
MOST_CLASSES = 255
"""Class ids fit below the ignore value of an 8-bit mask."""


@dataclass(frozen=True)
class SourceClass:
    """A class by the order of its id. Things are countable objects."""

    name: str
    thing: bool


@dataclass(frozen=True)
class SourceObject:
    """One annotated object. `mask` is `(H, W)` bool in the image's own pixels; a crowd is a group that nobody took apart."""

    label: int  # class id
    mask: NDArray[np.bool_]
    crowd: bool = False


@dataclass(frozen=True)
class SourceTruth:
    """What is known about one image, at its own size."""

    mask: NDArray[np.uint8]  # (H, W) class ids, 255 = ignore
    objects: tuple[SourceObject, ...] = ()
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True)
class Record:
    """One image of the source. `truth` loads what is known about it, given the decoded image, and raises DataError with a sentence per problem."""

    image: Path  # relative to the root
    split: str | None  # train, val or test where the source says so
    truth: Callable[[Image.Image], SourceTruth]


@dataclass(frozen=True)
class SourceData:
    """A source as a format sees it."""

    classes: tuple[SourceClass, ...]
    truths: tuple[Truth, ...]
    records: tuple[Record, ...]
    licence: str
    refused: tuple[Refused, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)  # objects of categories that data.classes does not name


class Format(Protocol):
    """A layout in which people have annotated images on disk."""

    @property
    def name(self) -> str:
        """The value of data.format."""

    @property
    def default_classes(self) -> tuple[str, ...] | None:
        """Class names by id where params.yaml gives none; None: the data itself names them."""

    def files(self, root: Path) -> list[Path]:
        """Every file that is read, relative to `root`, without repetition. Raises DataError when the layout is not there."""

    def read(self, root: Path, classes: Sequence[str] | None, ignore: Sequence[int] | None) -> SourceData:
        """Classes and records. `classes` and `ignore` are data.classes and data.ignore. Raises DataError with all problems of the structure."""


def image_files(folder: Path) -> list[Path]:
    """Images directly or deeper in a folder, sorted; hidden files are none of the user's."""
    found = (f for f in folder.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith("."))
    return sorted(f for f in found if f.is_file())


def check_class_names(names: Sequence[str]) -> None:
    """Raises DataError when data.classes is empty, repeats a name or has too many."""
    problems = []
    if not names:
        problems.append("data.classes is empty; list the class names by id, or remove it.")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        problems.append(f"data.classes names {', '.join(repeated)} more than once; class names must differ.")
    if any(not name.strip() for name in names):
        problems.append("data.classes holds an empty name; give each class a name.")
    if len(names) > MOST_CLASSES:
        problems.append(f"data.classes has {len(names)} names; at most {MOST_CLASSES} classes fit in an 8-bit mask.")
    if problems:
        raise DataError(*problems)
