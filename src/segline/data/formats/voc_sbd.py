"""Pascal VOC 2012 with the masks of the Semantic Boundaries Dataset (Hariharan 2011), the `trainaug` of papers.

Beside VOC's folders (see `segline.data.formats.voc`) stands SBD's, with `img/<name>.jpg`, `cls/<name>.mat`, `inst/<name>.mat` and lists of names. What VOC's
own lists name is VOC's, masks and split; all other images of SBD are to train on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segline.data.check import Frame, Refused, check_labels, check_size, is_file, read_bytes
from segline.data.formats import voc
from segline.data.formats.base import Record, Sighting, SourceData, SourceObject, SourceTruth
from segline.data.reading.folders import base_in, base_of
from segline.data.reading.matlab import labels_of, read_mat
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.data.store import IGNORE
from segline.errors import DataError

IMAGES, CLASS_MASKS, OBJECT_MASKS = "img", "cls", "inst"
_LISTS = ("train.txt", "val.txt")


class Settings(Folder):
    """Pascal VOC 2012 with the masks of SBD to train on."""

    format: Literal["voc_sbd"] = "voc_sbd"
    classes: list[str] | None = None  # class names by id, the background first; default: VOC's 21


class VocSbd:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        return list(self.read(root, settings).files)

    def read(self, root: Path, settings: Settings) -> SourceData:
        base = base_of(root, IMAGES, CLASS_MASKS, OBJECT_MASKS)
        lists = [base / name for name in _LISTS if is_file(root / base / name)]
        if not lists or not (root / base / CLASS_MASKS).is_dir():
            raise DataError(
                f"{root} is not in the voc_sbd layout: beside VOC's folders it needs SBD's, with {IMAGES}/, {CLASS_MASKS}/, {OBJECT_MASKS}/ and "
                f"{' or '.join(_LISTS)}. Correct data.source or data.format."
            )
        own = voc.FORMAT.read(root, voc.Settings(source=settings.source, classes=settings.classes))
        names = tuple(one.name for one in own.classes)
        known = {record.image.stem for record in own.records}
        records, files, refused = list(own.records), [*own.files, *lists], list(own.refused)
        for name in _listed(root, lists):
            if name in known:
                continue
            image, mask, objects = (base / IMAGES / f"{name}.jpg", base / CLASS_MASKS / f"{name}.mat", base / OBJECT_MASKS / f"{name}.mat")
            missing = [file for file in (image, mask, objects) if not is_file(root / file)]
            if missing:
                refused.append(Refused(image.as_posix(), f"there is no {missing[0].as_posix()}"))
                continue
            records.append(Record(image, "train", _Truth(root, mask, objects, image.as_posix(), names)))
            files += [image, mask, objects]
        return SourceData(own.classes, ("index", "instances"), tuple(records), own.licence, tuple(sorted(files)), tuple(refused))

    def recognise(self, tree: Tree) -> Sighting | None:
        beside = base_in(tree, IMAGES, CLASS_MASKS, OBJECT_MASKS)
        base = base_in(tree, voc.IMAGES, voc.CLASS_MASKS)
        if beside is None or base is None or not any(file.suffix == ".mat" for file in tree.files):
            return None
        return Sighting(1.0, {}, f"{base / voc.CLASS_MASKS}/ of VOC, and {beside / CLASS_MASKS}/ of SBD")


FORMAT = VocSbd()


def _listed(root: Path, lists: list[Path]) -> list[str]:
    """The names of SBD's lists, each once."""
    names: dict[str, None] = {}
    for file in lists:
        for line in read_bytes(root / file, file.as_posix()).decode("utf-8-sig", errors="replace").splitlines():
            if line.strip() and Path(line.strip()).name == line.strip():
                names[line.strip()] = None
    return list(names)


@dataclass(frozen=True)
class _Truth:
    """Loads SBD's masks of one image."""

    root: Path
    mask: Path
    objects: Path
    image: str
    names: tuple[str, ...]

    def __call__(self, frame: Frame) -> SourceTruth:
        shown = self.mask.as_posix()
        labels = labels_of(self._struct(self.mask, "GTcls").get("Segmentation"), "GTcls.Segmentation", shown)
        check_size((labels.shape[0], labels.shape[1]), frame, f"The mask {shown}", self.image)
        check_labels(labels, self.names, {IGNORE}, shown)
        return SourceTruth(labels.astype(np.uint8), self._objects(frame))

    def _struct(self, file: Path, name: str) -> Mapping[str, Any]:
        found = read_mat(self.root / file, file.as_posix()).get(name)
        return found if isinstance(found, dict) else {}

    def _objects(self, frame: Frame) -> tuple[SourceObject, ...]:
        """The objects; their class is the one at their number in `Categories`."""
        shown = self.objects.as_posix()
        variable = self._struct(self.objects, "GTinst")
        numbers = labels_of(variable.get("Segmentation"), "GTinst.Segmentation", shown)
        check_size((numbers.shape[0], numbers.shape[1]), frame, f"The mask {shown}", self.image)
        said = variable.get("Categories")
        categories = said.ravel() if isinstance(said, np.ndarray) else np.zeros(0)
        objects = []
        for number in np.unique(numbers).tolist():
            if number in (0, IGNORE):
                continue
            label = int(categories[number - 1]) if 0 < number <= categories.size and np.isfinite(categories[number - 1]) else 0
            if not 0 < label < len(self.names):
                raise DataError(f"{shown}: the object {number} has no class among GTinst.Categories; fetch the file again.")
            objects.append(SourceObject(label, numbers == number))
        return tuple(objects)
