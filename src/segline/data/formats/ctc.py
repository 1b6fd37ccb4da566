"""Films of the Cell Tracking Challenge (Maška 2023), in two dimensions: frames `<film>/t000.tif` and masks `<film>_GT/SEG/man_seg000.tif`, an object per value.

The gold truth (`_GT`) was drawn by people, for some frames of a film; the silver one (`_ST`) was voted by algorithms, for all. Frames without a mask are passed
by. The markers of `TRA/` say which cell is which over time and not where it ends; they are not read. Neighbouring frames are near-duplicates: keep a film in
one split by `data.splits: {group: '^(\\d+)/'}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segline.data.check import Frame, check_size, is_file, read_labels
from segline.data.formats.base import BACKGROUND, Record, Sighting, SourceClass, SourceData, SourceObject, SourceTruth
from segline.data.reading.renaming import renamed
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.errors import DataError

CLASSES = (BACKGROUND, "cell")
_FILM = re.compile(r"\d{2}")
_FRAME = re.compile(r"t(\d{3,4})")
_FOLDERS = {"gold": "_GT", "silver": "_ST"}
_LICENCE = "Cell Tracking Challenge: research use"


class Settings(Folder):
    """Films of cells with masks of single frames, in the layout of the Cell Tracking Challenge."""

    format: Literal["ctc"] = "ctc"
    truth: Literal["gold", "silver"] = "gold"  # gold: drawn by people, for some frames; silver: voted by algorithms, for all
    classes: list[str] | None = None  # two names: the background's and the objects'; default: background, cell


class Ctc:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        return sorted(file for pair in _pairs(root, settings) for file in pair)

    def read(self, root: Path, settings: Settings) -> SourceData:
        names = renamed(settings.classes, CLASSES)
        pairs = _pairs(root, settings)
        records = tuple(Record(image, None, _Truth(root, mask, image.as_posix())) for image, mask in pairs)
        classes = tuple(SourceClass(name, thing=i > 0) for i, name in enumerate(names))
        files = tuple(sorted(file for pair in pairs for file in pair))
        return SourceData(classes, ("index", "instances"), records, _LICENCE, files)

    def recognise(self, tree: Tree) -> Sighting | None:
        folders = {folder.as_posix() for folder in tree.folders}
        for truth, end in _FOLDERS.items():
            films = [name for name in sorted(folders) if _FILM.fullmatch(name) and f"{name}{end}/SEG" in folders]
            if films:
                return Sighting(1.0, {} if truth == "gold" else {"truth": truth}, f"the films {', '.join(films)} with {films[0]}{end}/SEG/")
        return None


FORMAT = Ctc()


def _pairs(root: Path, settings: Settings) -> list[tuple[Path, Path]]:
    """Frames with their masks, relative to the root. Raises DataError where there are none."""
    pairs = []
    films = sorted(folder.name for folder in root.iterdir() if folder.is_dir() and _FILM.fullmatch(folder.name))
    for film in films:
        for file in sorted((root / film).glob("t*.tif")):
            number = _FRAME.fullmatch(file.stem)
            mask = Path(f"{film}{_FOLDERS[settings.truth]}", "SEG", f"man_seg{number[1]}.tif") if number else None
            if mask is not None and is_file(file) and is_file(root / mask):
                pairs.append((Path(film, file.name), mask))
    if not pairs:
        raise DataError(
            f"{root} is not in the ctc layout: it needs films, such as 01/t000.tif, with masks, such as 01{_FOLDERS[settings.truth]}/SEG/man_seg000.tif. "
            "Correct data.source or data.format, or set data.truth to the one that is there."
        )
    return pairs


@dataclass(frozen=True)
class _Truth:
    """Loads the objects of one frame."""

    root: Path
    mask: Path
    image: str

    def __call__(self, frame: Frame) -> SourceTruth:
        shown = self.mask.as_posix()
        numbers = read_labels(self.root / self.mask, shown)
        check_size((numbers.shape[0], numbers.shape[1]), frame, f"The mask {shown}", self.image)
        objects = tuple(SourceObject(1, numbers == number) for number in np.unique(numbers).tolist() if number > 0)
        return SourceTruth((numbers > 0).astype(np.uint8), objects)
