"""Exports of Roboflow: folders train/, valid/, test/.

Semantic masks are read here: `<name>_mask.png` beside `<name>.jpg`, and `_classes.csv` with the pixel value of each class. Of the other exports, COCO
(`_annotations.coco.json` in each folder) and YOLO (data.yaml) are read as the formats `coco` and `yolo` do, which recognise them by themselves.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from segline.data.check import Frame, Refused, brief, check_size, fail, name_list, read_labels
from segline.data.formats import coco, yolo
from segline.data.formats.base import BACKGROUND, MOST_CLASSES, Record, Sighting, SourceClass, SourceData, SourceTruth
from segline.data.reading.drawn import BACKGROUNDS, Named, about_name, chosen_names
from segline.data.reading.lookup import Folders, paths, settled, split_of
from segline.data.reading.tree import Tree
from segline.data.reading.typed import text_of
from segline.errors import DataError

_CLASSES = "_classes.csv"
_COCO = "_annotations.coco.json"
_SUFFIX = "_mask"


class Settings(Named):
    """What Roboflow exports, with train/, valid/ and test/."""

    format: Literal["roboflow"] = "roboflow"


class Roboflow:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        return list(self.read(root, settings).files)

    def read(self, root: Path, settings: Settings) -> SourceData:
        folders = Folders(root)
        names = {file.name for file in folders.files}
        if _CLASSES in names:
            return _masks(root, folders, settings)
        if _COCO in names:
            return coco.FORMAT.read(root, coco.Settings(**settings.model_dump(exclude={"format"})))
        if "data.yaml" in names:
            return yolo.FORMAT.read(root, yolo.Settings(**settings.model_dump(exclude={"format"})))
        raise DataError(
            f"{root} is not in the roboflow layout: there is neither {_CLASSES} nor {_COCO} nor data.yaml. Export semantic masks, COCO or YOLO from Roboflow, "
            "or correct data.source or data.format."
        )

    def recognise(self, tree: Tree) -> Sighting | None:
        tables = [file for file in tree.files if file.name == _CLASSES]
        return Sighting(0.95, {}, f"{tables[0]} and masks beside the images, as Roboflow exports them") if tables else None


FORMAT = Roboflow()


@dataclass(frozen=True)
class _Truth:
    """Loads one mask."""

    root: Path
    mask: PurePosixPath
    image: PurePosixPath
    ids: dict[int, int]  # pixel value → class id

    def __call__(self, frame: Frame) -> SourceTruth:
        labels = read_labels(self.root / self.mask, self.mask.as_posix())
        check_size((labels.shape[0], labels.shape[1]), frame, f"The mask {self.mask}", self.image.as_posix())
        unknown = sorted({int(value) for value in np.unique(labels)} - self.ids.keys())
        if unknown:
            raise DataError(f"{self.mask} holds the values {name_list(unknown)}, which {_CLASSES} does not name; it names {name_list(self.ids)}.")
        mask = np.zeros(labels.shape, dtype=np.uint8)
        for value, label in self.ids.items():
            mask[labels == value] = label
        return SourceTruth(mask)


def _masks(root: Path, folders: Folders, settings: Settings) -> SourceData:
    tables = [file for file in folders.files if file.name == _CLASSES]
    problems: list[str] = []
    by_folder: dict[PurePosixPath, dict[int, str]] = {}
    for table in tables:
        try:
            by_folder[table.parent] = _table(root, table)
        except DataError as error:
            problems += error.problems
    fail(problems)
    values = next(iter(by_folder.values()))
    for folder, other in by_folder.items():
        if other != values:
            problems.append(f"{folder / _CLASSES} names other classes than {tables[0]}; export the splits together.")
    fail(problems)
    known = [name for _, name in sorted(values.items()) if name not in BACKGROUNDS]
    names = chosen_names(known, settings.classes)
    has_background = any(name in BACKGROUNDS for name in values.values())
    if not has_background and settings.classes is None:
        names = names[1:]
    ids = {value: names.index(name) if name in names else 0 for value, name in values.items()}
    pairs: list[tuple[PurePosixPath, PurePosixPath]] = []
    refused: list[Refused] = []
    there = {image.with_suffix("").as_posix(): image for image in folders.images}
    for image in folders.images:
        if image.stem.endswith(_SUFFIX) or image.parent not in by_folder:
            continue
        mask = there.get(f"{image.with_suffix('').as_posix()}{_SUFFIX}")
        if mask is None:
            refused.append(Refused(image.as_posix(), f"there is no mask {image.parent / image.stem}{_SUFFIX}.png"))
        else:
            pairs.append((image, mask))
    splits = settled([split_of(image) for image, _ in pairs])
    records = tuple(Record(Path(image), split, _Truth(root, mask, image, ids)) for (image, mask), split in zip(pairs, splits, strict=True))
    classes = tuple(SourceClass(name, thing=False) for name in names)
    files = paths([*tables, *(file for pair in pairs for file in pair)])
    return SourceData(classes, ("index",), records, "unknown", files, tuple(refused))


def _table(root: Path, file: PurePosixPath) -> dict[int, str]:
    """Class names by pixel value. Raises DataError."""
    found: dict[int, str] = {}
    problems: list[str] = []
    for number, row in enumerate(csv.reader(text_of(root, file).splitlines()), start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (number == 1 and not cells[0].isdecimal()):
            continue
        if len(cells) < 2 or not cells[0].isdecimal() or len(cells[0]) > 3 or int(cells[0]) > MOST_CLASSES or not cells[1]:
            problems.append(f"{file}, line {number}: '{brief(','.join(row))}' is not a pixel value (0 to {MOST_CLASSES}) and the name of its class.")
        elif (sentence := about_name(cells[1])) is not None:
            problems.append(f"{file}, line {number}: {sentence}")
        elif int(cells[0]) in found or cells[1] in found.values():
            problems.append(f"{file}, line {number}: the value {cells[0]} or the class '{brief(cells[1])}' is there twice.")
        else:
            found[int(cells[0])] = BACKGROUND if cells[1].lower() == BACKGROUND else cells[1]
    if not found and not problems:
        problems.append(f"{file} names no class; export the data again.")
    fail(problems)
    return found
