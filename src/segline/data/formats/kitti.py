"""The layout of KITTI's semantic benchmark (Alhaija 2018): `training/image_2/`, `training/semantic/` and `training/instance/` with files of the same names.

`semantic/` holds the label values of Cityscapes; `instance/`, 16 bits deep, label · 256 + the object's number, of which 0 is a group that nobody took apart.
The classes are Cityscapes' 19, other labels are ignored. `testing/` has no public truth and is not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segline.data.check import Frame, Refused, check_size, read_labels
from segline.data.formats.base import Record, Sighting, SourceData, SourceTruth, image_files
from segline.data.formats.cityscapes_labels import CLASSES, LABELS
from segline.data.reading.folders import base_in, base_of
from segline.data.reading.labels import Label, chosen, class_ids, numbered, source_classes
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.data.store import Truth
from segline.errors import DataError

IMAGES, SEMANTIC, INSTANCE = "image_2", "semantic", "instance"
_LICENCE = "KITTI: CC BY-NC-SA 3.0"
_PER_CLASS = 256
_KNOWN = frozenset(label.value for label in LABELS)


class Settings(Folder):
    """Street scenes in the layout of KITTI's semantic benchmark."""

    format: Literal["kitti"] = "kitti"
    classes: list[str] | None = None  # names of Cityscapes' labels that are classes, by id; default: the official 19; all others are ignored


@dataclass(frozen=True)
class _Entry:
    """An image and its truth, relative to the root."""

    image: Path
    semantic: Path
    instance: Path | None


class Kitti:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:  # noqa: ARG002
        entries, _, _ = _entries(root)
        return _files(entries)

    def read(self, root: Path, settings: Settings) -> SourceData:
        classes = chosen(LABELS, settings.classes, CLASSES)
        entries, refused, truths = _entries(root)
        records = tuple(Record(entry.image, None, _Truth(root, entry, classes)) for entry in entries)
        return SourceData(source_classes(classes), truths, records, _LICENCE, tuple(_files(entries)), tuple(refused))

    def recognise(self, tree: Tree) -> Sighting | None:
        base = base_in(tree, IMAGES, SEMANTIC)
        if base is None:
            return None
        masks = [f for f in tree.images if f.parent == base / SEMANTIC]
        return Sighting(0.95, {}, f"{(base / IMAGES).as_posix()}/ and {(base / SEMANTIC).as_posix()}/ with {len(masks)} masks") if masks else None


FORMAT = Kitti()


@dataclass(frozen=True)
class _Truth:
    """Loads the masks of one image."""

    root: Path
    entry: _Entry
    classes: tuple[Label, ...]

    def __call__(self, frame: Frame) -> SourceTruth:
        read = {}
        for file in (self.entry.semantic, self.entry.instance):
            if file is None:
                continue
            values = read_labels(self.root / file, file.as_posix())
            check_size((values.shape[0], values.shape[1]), frame, f"The mask {file.as_posix()}", self.entry.image.as_posix())
            read[file] = values.astype(np.int32)
        mask = class_ids(read[self.entry.semantic], self.classes, _KNOWN, self.entry.semantic.as_posix())
        if self.entry.instance is None:
            return SourceTruth(mask)
        numbers = read[self.entry.instance]
        things = {label.value: i for i, label in enumerate(self.classes) if label.thing}
        objects = {n: (things[n // _PER_CLASS], n % _PER_CLASS == 0) for n in np.unique(numbers).tolist() if n // _PER_CLASS in things}
        return SourceTruth(mask, numbered(numbers, objects))


def _entries(root: Path) -> tuple[list[_Entry], list[Refused], tuple[Truth, ...]]:
    """Raises DataError when the layout is not there."""
    base = base_of(root, IMAGES, SEMANTIC)
    if not all((root / base / name).is_dir() for name in (IMAGES, SEMANTIC)):
        raise DataError(
            f"{root} is not in the kitti layout: it needs the folders training/{IMAGES}/ and training/{SEMANTIC}/. Correct data.source or data.format."
        )
    objects = (root / base / INSTANCE).is_dir()
    entries, refused = [], []
    for file in image_files(root / base / IMAGES):
        image = file.relative_to(root)
        wanted = [base / folder / f"{file.stem}.png" for folder in ((SEMANTIC, INSTANCE) if objects else (SEMANTIC,))]
        missing = [mask for mask in wanted if not (root / mask).is_file()]
        if missing:
            refused.append(Refused(image.as_posix(), f"there is no mask {missing[0].as_posix()}"))
            continue
        entries.append(_Entry(image, wanted[0], wanted[1] if objects else None))
    return entries, refused, ("index", "instances") if objects else ("index",)


def _files(entries: list[_Entry]) -> list[Path]:
    return sorted(file for entry in entries for file in (entry.image, entry.semantic, entry.instance) if file is not None)
