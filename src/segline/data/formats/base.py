"""What a data format is: one file per format beside this one, with `Settings` (its keys in params.yaml) and `FORMAT`; one line of `catalog` names it.

A format only finds and decodes: it does not split, convert or write.
Reading the structure (lists, annotation files) is quick and reports all its problems at once; the truth of an image is loaded when `prepare` asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from segline.data.check import IMAGE_SUFFIXES, Frame, Refused, brief, fail, is_file
from segline.data.findings import Finding
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
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
    """One annotated object, in the image's own pixels; a crowd is a group that nobody took apart."""

    label: int  # class id
    mask: NDArray[np.bool_] | None  # (H, W); None where only boxes were drawn
    crowd: bool = False
    box: tuple[float, float, float, float] | None = None  # xywh, as the source says; default: the mask's
    area: float | None = None  # square pixels, as the source says; default: the mask's, or the box's


@dataclass(frozen=True)
class SourceTruth:
    """What is known about one image, at its own size."""

    mask: NDArray[np.uint8] | None  # (H, W) class ids, 255 = ignore; None where the source has no truth `index`
    objects: tuple[SourceObject, ...] = ()
    refused: tuple[Refused, ...] = ()
    redrawn: Mapping[str, int] = field(default_factory=dict)  # objects whose box was drawn anew from the mask, by the file that boxes them
    findings: tuple[Finding, ...] = ()  # what is odd in it, and taken as it is


@dataclass(frozen=True)
class Record:
    """One image of the source. `truth` loads what is known about it, given the decoded image's frame, and raises DataError with a sentence per problem."""

    image: Path  # relative to the root
    split: str | None  # train, val or test where the source says so
    truth: Callable[[Frame], SourceTruth]
    content: Callable[[], bytes] | None = None  # of an image that is no file of its own, but part of one


@dataclass(frozen=True)
class SourceData:
    """A source as a format sees it."""

    classes: tuple[SourceClass, ...]
    truths: tuple[Truth, ...]
    records: tuple[Record, ...]
    licence: str
    files: tuple[Path, ...]  # everything that was or will be read, relative to the root, sorted
    refused: tuple[Refused, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)  # objects of categories that data.classes does not name
    names_are_the_formats: bool = False  # the class names are a data set's own, said neither by the data nor by the user: other data may be meant


@dataclass(frozen=True)
class Sighting:
    """A folder that a format takes for its own."""

    sure: float  # 0…1; the surest format is taken. 1: nothing else looks so; 0.5: its files are there, as others' could be; below 0.3: hardly
    keys: dict[str, Any]  # of the section `data`, beside source and format: those that must differ from their defaults for this folder
    seen: str  # what tells, as a phrase: "annotations/instances_train2017.json with 80 categories, and train2017/ with its images"
    reasons: dict[str, str] = field(default_factory=dict)  # why a key of `keys` has its value, as a comment of params.yaml


S = TypeVar("S", bound=Folder, contravariant=True)


class Format(Protocol[S]):
    """A layout in which people have annotated images on disk."""

    def files(self, root: Path, settings: S) -> list[Path]:
        """Every file that is read, relative to `root`, sorted, without repetition. Raises DataError when the layout is not there."""

    def read(self, root: Path, settings: S) -> SourceData:
        """Classes and records. Raises DataError with all problems of the structure."""

    def recognise(self, tree: Tree) -> Sighting | None:
        """Whether a folder is in this layout, and with which keys it is read; None where it is not. Raises nothing for what the folder holds."""


def names_of_model(classes: Sequence[str] | None, default: Sequence[str], names: Sequence[str]) -> list[str] | None:
    """`data.classes` of a format with class names of its own, where a model with the classes `names` is scored: the format's own are meant if the model knows
    one of them besides the background, else the model's, by id."""
    if classes is not None:
        return list(classes)
    return None if set(default) & set(names) - {BACKGROUND} else list(names)


def image_files(folder: Path) -> list[Path]:
    """Images directly or deeper in a folder, sorted; hidden files are none of the user's. Raises DataError for names that are not UTF-8."""
    named = (f for f in folder.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith("."))
    found = sorted(f for f in named if is_file(f))
    odd = [f for f in found if not is_text(f.relative_to(folder).as_posix())]
    fail([f"{folder.name}/{brief(f.relative_to(folder).as_posix())}: this name is not UTF-8; rename the file." for f in odd])
    return found


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8; those of files need not be."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


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
