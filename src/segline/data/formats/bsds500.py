"""The layout of BSDS500 (Arbeláez 2011): `images/<split>/<name>.jpg` and `groundTruth/<split>/<name>.mat`, in which several people drew the boundaries.

A pixel is boundary where at least the share `data.agree` of the people drew it, and ignored where fewer did: whether they are right nobody knows (as papers on
edge detection train, Liu 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from segline.data.check import Frame, Refused, check_size, is_file
from segline.data.formats.base import BACKGROUND, Record, Sighting, SourceClass, SourceData, SourceTruth, image_files
from segline.data.reading.matlab import labels_of, read_mat
from segline.data.reading.renaming import renamed
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.data.store import IGNORE, SPLITS
from segline.errors import DataError

IMAGES, TRUTH = "images", "groundTruth"
CLASSES = (BACKGROUND, "boundary")
_DEEPEST = 3
_LICENCE = "BSDS500: research use, not commercial"


class Settings(Folder):
    """Boundaries drawn by several people, in the layout of BSDS500."""

    format: Literal["bsds500"] = "bsds500"
    agree: Annotated[float, Field(gt=0, le=1)] = 0.5  # share of the people from which on a pixel is boundary; drawn by fewer, it is ignored
    classes: list[str] | None = None  # two names; default: background, boundary


class Bsds500:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        return list(self.read(root, settings).files)

    def read(self, root: Path, settings: Settings) -> SourceData:
        names = renamed(settings.classes, CLASSES)
        base = _base(root)
        records, files, refused = [], [], []
        for split in SPLITS:
            for file in image_files(root / base / IMAGES / split):
                image = file.relative_to(root)
                truth = base / TRUTH / split / f"{file.stem}.mat"
                if not is_file(root / truth):
                    refused.append(Refused(image.as_posix(), f"there is no {truth.as_posix()}"))
                    continue
                records.append(Record(image, split, _Truth(root, truth, image.as_posix(), settings.agree)))
                files += [image, truth]
        classes = tuple(SourceClass(name, thing=False) for name in names)
        return SourceData(classes, ("index",), tuple(records), _LICENCE, tuple(sorted(files)), tuple(refused))

    def recognise(self, tree: Tree) -> Sighting | None:
        mats = [file for file in tree.of_type(".mat") if TRUTH in file.parts]
        if not mats:
            return None
        images = {file.stem for file in tree.images if IMAGES in file.parts}
        found = sum(file.stem in images for file in mats)
        return Sighting(1.0, {}, f"{found} files {TRUTH}/<split>/<name>.mat with images of these names") if found else None


FORMAT = Bsds500()


def _base(root: Path) -> Path:
    """The folder, relative to `root`, that holds images and truth: the archive has it three levels down. Raises DataError where there is none."""
    level = [root]
    for _ in range(_DEEPEST + 1):
        found = next((folder for folder in level if (folder / IMAGES).is_dir() and (folder / TRUTH).is_dir()), None)
        if found is not None:
            return found.relative_to(root)
        level = sorted(inner for folder in level for inner in folder.iterdir() if inner.is_dir() and not inner.name.startswith("."))
    raise DataError(f"{root} is not in the bsds500 layout: it needs {IMAGES}/<split>/ and {TRUTH}/<split>/. Correct data.source or data.format.")


@dataclass(frozen=True)
class _Truth:
    """Loads what all people drew on one image."""

    root: Path
    file: Path
    image: str
    agree: float

    def __call__(self, frame: Frame) -> SourceTruth:
        shown = self.file.as_posix()
        drawn = read_mat(self.root / self.file, shown).get("groundTruth")
        if not isinstance(drawn, list) or not drawn:
            raise DataError(f"{shown} holds no groundTruth, or an empty one; fetch it again.", kind="unreadable")
        votes = np.zeros((frame.height, frame.width), np.int64)
        for person in drawn:
            boundaries = labels_of(person.get("Boundaries") if isinstance(person, dict) else None, "groundTruth.Boundaries", shown)
            check_size((boundaries.shape[0], boundaries.shape[1]), frame, f"The truth {shown}", self.image)
            votes += boundaries > 0
        mask = np.where(votes > 0, IGNORE, 0).astype(np.uint8)
        mask[votes >= self.agree * len(drawn)] = 1
        return SourceTruth(mask)
