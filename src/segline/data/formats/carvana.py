"""The layout of the Carvana contest: `train/<car>_<side>.jpg` and `train_masks/<car>_<side>_mask.gif`, black where there is no car.

Each car was taken from 16 sides. `data.splits: {group: '^train/([0-9a-f]+)_'}` keeps them in one split.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segline.data.check import Frame, Refused, check_size, is_file, read_labels
from segline.data.formats.base import BACKGROUND, Record, Sighting, SourceClass, SourceData, SourceTruth, image_files
from segline.data.reading.renaming import renamed
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.errors import DataError

IMAGES, MASKS = "train", "train_masks"
CLASSES = (BACKGROUND, "car")
_END = "_mask.gif"
_LICENCE = "Carvana Image Masking Challenge: the contest's rules"


class Settings(Folder):
    """Cars with a mask each, in the layout of the Carvana contest."""

    format: Literal["carvana"] = "carvana"
    classes: list[str] | None = None  # two names; default: background, car


class Carvana:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        return list(self.read(root, settings).files)

    def read(self, root: Path, settings: Settings) -> SourceData:
        names = renamed(settings.classes, CLASSES)
        if not (root / IMAGES).is_dir() or not (root / MASKS).is_dir():
            raise DataError(f"{root} is not in the carvana layout: it needs {IMAGES}/ and {MASKS}/. Correct data.source or data.format.")
        records, files, refused = [], [], []
        for file in image_files(root / IMAGES):
            image = file.relative_to(root)
            mask = Path(MASKS, f"{file.stem}{_END}")
            if not is_file(root / mask):
                refused.append(Refused(image.as_posix(), f"there is no mask {mask.as_posix()}"))
                continue
            records.append(Record(image, None, _Truth(root, mask, image.as_posix())))
            files += [image, mask]
        classes = tuple(SourceClass(name, thing=False) for name in names)
        return SourceData(classes, ("index",), tuple(records), _LICENCE, tuple(sorted(files)), tuple(refused))

    def recognise(self, tree: Tree) -> Sighting | None:
        masks = [file for file in tree.of_type(".gif") if file.parts[0] == MASKS and file.name.endswith(_END)]
        images = {file.stem for file in tree.images if file.parts[0] == IMAGES}
        found = sum(file.name.removesuffix(_END) in images for file in masks)
        return Sighting(1.0, {}, f"{found} masks {MASKS}/*{_END} of images in {IMAGES}/") if found else None


FORMAT = Carvana()


@dataclass(frozen=True)
class _Truth:
    """Loads one mask."""

    root: Path
    mask: Path
    image: str

    def __call__(self, frame: Frame) -> SourceTruth:
        shown = self.mask.as_posix()
        values = read_labels(self.root / self.mask, shown)
        check_size((values.shape[0], values.shape[1]), frame, f"The mask {shown}", self.image)
        return SourceTruth((values > 0).astype(np.uint8))
