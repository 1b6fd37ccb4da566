"""The Penn-Fudan layout: `PNGImages/<name>.png` and `PedMasks/<name>_mask.png`, in whose masks 0 is background and each object has a number of its own.

`data.classes` may rename the two classes ([background, person]); label values of `data.ignore` are no objects and take no part in training or scoring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Self

import numpy as np

from segline.data.check import Frame, Refused, check_size, name_list, read_labels
from segline.data.formats.base import (
    BACKGROUND,
    Record,
    Sighting,
    SourceClass,
    SourceData,
    SourceObject,
    SourceTruth,
    check_class_names,
    image_files,
    names_of_model,
)
from segline.data.reading.legend import values_of
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.data.store import IGNORE
from segline.errors import DataError

IMAGES, MASKS, SUFFIX = "PNGImages", "PedMasks", "_mask"
CLASSES = (BACKGROUND, "person")
_LICENCE = "Penn-Fudan: research use, images not to be passed on"


class Settings(Folder):
    """Masks in which each object has a number of its own, in the layout of Penn-Fudan."""

    format: Literal["pennfudan"] = "pennfudan"
    classes: list[str] | None = None  # two names: the background's and the objects'; default: background, person
    ignore: list[int] | None = None  # label values that are neither object nor background

    def for_model(self, names: Sequence[str]) -> Self:
        return self.model_copy(update={"classes": names_of_model(self.classes, CLASSES, names)})


class PennFudan:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:  # noqa: ARG002
        pairs, _ = _pairs(root)
        return _files(pairs)

    def read(self, root: Path, settings: Settings) -> SourceData:
        names = tuple(settings.classes) if settings.classes is not None else CLASSES
        check_class_names(names)
        if len(names) != 2:
            raise DataError(
                f"data.classes: the pennfudan format has two classes, the background and one kind of object; {len(names)} are given ({name_list(names)})."
            )
        ignored = frozenset(settings.ignore or ())
        if 0 in ignored:
            raise DataError("data.ignore: 0 is the background of the pennfudan format and cannot be ignored.")
        pairs, refused = _pairs(root)
        records = tuple(Record(image, None, _Truth(root, mask, image.as_posix(), ignored)) for image, mask in pairs)
        classes = tuple(SourceClass(name, i > 0) for i, name in enumerate(names))
        return SourceData(classes, ("index", "instances"), records, _LICENCE, tuple(_files(pairs)), refused)

    def recognise(self, tree: Tree) -> Sighting | None:
        try:
            pairs, _ = _pairs(tree.root)
        except DataError:
            return None
        masks = [PurePosixPath(mask) for _, mask in pairs]
        if not masks or values_of(tree, masks) <= {0, 255}:
            return None
        return Sighting(0.95, {}, f"{IMAGES}/ and {MASKS}/ with {len(masks)} images whose objects have numbers")


FORMAT = PennFudan()


@dataclass(frozen=True)
class _Truth:
    """Loads one numbered mask."""

    root: Path
    mask: Path
    image: str
    ignore: frozenset[int]

    def __call__(self, frame: Frame) -> SourceTruth:
        shown = self.mask.as_posix()
        labels = read_labels(self.root / self.mask, shown)
        check_size((labels.shape[0], labels.shape[1]), frame, f"The mask {shown}", self.image)
        numbers = [int(n) for n in np.unique(labels) if n != 0 and int(n) not in self.ignore]
        if any(n < 0 for n in numbers):
            raise DataError(f"{shown} holds the unknown label values {name_list(n for n in numbers if n < 0)}; objects are numbered 1, 2, 3, …")
        if numbers == [255]:
            raise DataError(f"{shown} holds the values 0/255: a black-and-white mask does not tell objects apart. Number the objects 1, 2, 3, … in the mask.")
        mask = (labels != 0).astype(np.uint8)
        mask[np.isin(labels, list(self.ignore))] = IGNORE
        return SourceTruth(mask, tuple(SourceObject(1, labels == n) for n in numbers))


def _files(pairs: Sequence[tuple[Path, Path]]) -> list[Path]:
    return sorted(file for pair in pairs for file in pair)


def _pairs(root: Path) -> tuple[list[tuple[Path, Path]], tuple[Refused, ...]]:
    """Images with their masks, relative to the root, and what has no partner."""
    if not (root / IMAGES).is_dir() or not (root / MASKS).is_dir():
        raise DataError(f"{root} is not in the pennfudan layout: it needs the folders {IMAGES}/ and {MASKS}/. Correct data.source or data.format.")
    masks = {f.relative_to(root / MASKS).with_suffix("").as_posix(): f.relative_to(root) for f in image_files(root / MASKS)}
    pairs, refused = [], []
    for file in image_files(root / IMAGES):
        image = file.relative_to(root)
        key = file.relative_to(root / IMAGES).with_suffix("").as_posix() + SUFFIX
        mask = masks.pop(key, None)
        if mask is None:
            refused.append(Refused(image.as_posix(), f"there is no mask {MASKS}/{key}.png"))
        else:
            pairs.append((image, mask))
    refused += [Refused(mask.as_posix(), "there is no image for this mask") for mask in masks.values()]
    return pairs, tuple(refused)
