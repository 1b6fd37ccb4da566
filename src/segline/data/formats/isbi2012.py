"""The layout of the ISBI 2012 challenge (neurons in electron microscopy): black-and-white masks, 0 = membrane, 255 = cell.

Either `images/` and `masks/` with files of the same names, or the challenge's own stacks, `train-volume.tif` and `train-labels.tif`, whose pages are the
sections. `test-volume.tif` has no public truth and is not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from segline.data.check import Frame, Refused, check_size, name_list, read_bytes, read_labels, undecodable
from segline.data.formats.base import Record, Sighting, SourceClass, SourceData, SourceTruth, check_class_names, image_files, names_of_model
from segline.data.images import png
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.errors import DataError
from segline_runtime.errors import InputError
from segline_runtime.images import UNNAMED, decoding, open_picture

IMAGES, MASKS = "images", "masks"
VOLUME, LABELS = "train-volume.tif", "train-labels.tif"
CLASSES = ("membrane", "cell")
_SIDE = 512  # pixels of the challenge's sections
_BLOCK = 16  # pixels of a square that no membrane fills, and that few squares are without: a net of thin lines
_LICENCE = "ISBI 2012 challenge: research use"


class Settings(Folder):
    """Sections of neurons in the layout of the ISBI 2012 challenge."""

    format: Literal["isbi2012"] = "isbi2012"
    classes: list[str] | None = None  # two names: of the pixels that are 0 and of those that are 255; default: membrane, cell

    def for_model(self, names: Any) -> Self:
        return self.model_copy(update={"classes": names_of_model(self.classes, CLASSES, names)})


class Isbi2012:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:  # noqa: ARG002
        if _stacked(root):
            return [Path(LABELS), Path(VOLUME)]
        pairs, _ = _pairs(root)
        return sorted(file for pair in pairs for file in pair)

    def read(self, root: Path, settings: Settings) -> SourceData:
        names = tuple(settings.classes) if settings.classes is not None else CLASSES
        check_class_names(names)
        if len(names) != 2:
            raise DataError(f"data.classes: the isbi2012 format has two classes, of 0 and of 255; {len(names)} are given ({name_list(names)}).")
        classes = tuple(SourceClass(name, thing=False) for name in names)
        if _stacked(root):
            return SourceData(classes, ("index",), _pages(root), _LICENCE, (Path(LABELS), Path(VOLUME)))
        pairs, refused = _pairs(root)
        records = tuple(Record(image, None, _Truth(root, mask, image.as_posix())) for image, mask in pairs)
        return SourceData(classes, ("index",), records, _LICENCE, tuple(sorted(file for pair in pairs for file in pair)), tuple(refused))

    def recognise(self, tree: Tree) -> Sighting | None:
        names = {file.name for file in tree.files if len(file.parts) == 1}
        if {VOLUME, LABELS} <= names:
            return Sighting(1.0, {}, f"the challenge's stacks {VOLUME} and {LABELS}")
        masks = [f for f in tree.images if f.parts[:1] == (MASKS,)]
        images = [f for f in tree.images if f.parts[:1] == (IMAGES,)]
        if not masks or {f.stem for f in masks} != {f.stem for f in images}:
            return None
        looked = [_seen(tree, files) for files in (images, masks)]
        if not all(picture is not None for picture in looked[0]) or not all(mask is not None and _is_net(mask) for mask in looked[1]):
            return None
        seen = f"{IMAGES}/ and {MASKS}/ with {len(masks)} sections of {_SIDE}x{_SIDE}, whose masks are a black net (membranes) around white cells"
        return Sighting(0.9, {}, seen)


FORMAT = Isbi2012()


def _seen(tree: Tree, files: Sequence[PurePosixPath]) -> list[NDArray[np.integer] | None]:
    """Three of the files, as sections in grey; None for what is none."""
    some = [files[i * (len(files) - 1) // 2] for i in range(3)]
    return [values if (values := tree.labels(file)) is not None and values.shape == (_SIDE, _SIDE) else None for file in some]


def _is_net(mask: NDArray[np.integer]) -> bool:
    """Whether a mask is 0 and 255, mostly white, and what is black runs through most of it as thin lines."""
    if set(np.unique(mask).tolist()) != {0, 255} or not 0.6 < float((mask == 255).mean()) < 0.9:
        return False
    count = _SIDE // _BLOCK
    squares = mask.reshape(count, _BLOCK, count, _BLOCK)
    filled, touched = squares.max(axis=(1, 3)) == 0, squares.min(axis=(1, 3)) == 0
    return bool(filled.mean() < 0.03 and touched.mean() > 0.5)


def _stacked(root: Path) -> bool:
    return (root / VOLUME).is_file() and (root / LABELS).is_file()


def _pairs(root: Path) -> tuple[list[tuple[Path, Path]], tuple[Refused, ...]]:
    """Images with their masks, relative to the root, and what has no partner."""
    if not (root / IMAGES).is_dir() or not (root / MASKS).is_dir():
        raise DataError(
            f"{root} is not in the isbi2012 layout: it needs the folders {IMAGES}/ and {MASKS}/, or the stacks {VOLUME} and {LABELS}. "
            "Correct data.source or data.format."
        )
    masks = {f.relative_to(root / MASKS).with_suffix("").as_posix(): f.relative_to(root) for f in image_files(root / MASKS)}
    pairs, refused = [], []
    for file in image_files(root / IMAGES):
        image = file.relative_to(root)
        mask = masks.pop(file.relative_to(root / IMAGES).with_suffix("").as_posix(), None)
        if mask is None:
            refused.append(Refused(image.as_posix(), f"there is no mask of the same name in {MASKS}/"))
        else:
            pairs.append((image, mask))
    refused += [Refused(mask.as_posix(), "there is no image for this mask") for mask in masks.values()]
    return pairs, tuple(refused)


@dataclass(frozen=True)
class _Truth:
    """Loads one mask."""

    root: Path
    mask: Path
    image: str

    def __call__(self, frame: Frame) -> SourceTruth:
        shown = self.mask.as_posix()
        return _truth(read_labels(self.root / self.mask, shown), frame, f"The mask {shown}", shown, self.image)


def _truth(labels: NDArray[np.integer], frame: Frame, mask: str, shown: str, image: str) -> SourceTruth:
    check_size((labels.shape[0], labels.shape[1]), frame, mask, image)
    values = [int(value) for value in np.unique(labels)]
    if not set(values) <= {0, 255}:
        raise DataError(
            f"{shown} holds the label values {name_list(values)}; a mask of the isbi2012 layout is 0 and 255 alone. "
            "Save it so (as PNG or TIFF, which lose nothing), or set data.format to masks."
        )
    return SourceTruth((labels == 255).astype(np.uint8))


# stacks -------------------------------------------------------------------------------------------------------------------------------------------------


def _pages(root: Path) -> tuple[Record, ...]:
    """One record for each page of the stacks. Raises DataError when they are not of one length."""
    counts = {name: _number(root, name) for name in (VOLUME, LABELS)}
    if counts[VOLUME] != counts[LABELS]:
        raise DataError(f"{VOLUME} has {counts[VOLUME]} pages and {LABELS} {counts[LABELS]}; each section needs its labels, so copy both files again.")
    digits = len(str(counts[VOLUME] - 1))
    stem = Path(VOLUME).stem
    places = [Path(VOLUME, f"{stem}-{page:0{digits}}") for page in range(counts[VOLUME])]
    return tuple(Record(place, None, _PageTruth(root, page, place.as_posix()), _Page(root, page)) for page, place in enumerate(places))


def _number(root: Path, name: str) -> int:
    """Pages of a stack. Raises DataError when it is none."""
    try:
        with decoding(UNNAMED), open_picture(read_bytes(root / name, name)) as image:
            return int(getattr(image, "n_frames", 1))
    except InputError as error:
        raise undecodable(name, error) from None


@dataclass(frozen=True)
class _Page:
    """A page of the images as the content of a file."""

    root: Path
    page: int

    def __call__(self) -> bytes:
        return png(_page(self.root, VOLUME, self.page))


@dataclass(frozen=True)
class _PageTruth:
    """Loads one page of the labels."""

    root: Path
    page: int
    image: str

    def __call__(self, frame: Frame) -> SourceTruth:
        shown = f"{LABELS}, page {self.page + 1}"
        return _truth(_page(self.root, LABELS, self.page), frame, f"The mask {shown}", shown, self.image)


def _page(root: Path, name: str, page: int) -> NDArray[Any]:
    """One page `(H, W)` or `(H, W, 3)` of 8 bits. Raises DataError."""
    try:
        with decoding(UNNAMED), open_picture(read_bytes(root / name, name)) as image:
            image.seek(page)
            image.load()
            pixels = np.asarray(image.convert("L") if image.mode in ("1", "P") else image)
    except InputError as error:
        raise undecodable(f"{name}, page {page + 1},", error) from None
    if pixels.dtype != np.uint8:
        raise DataError(f"{name}, page {page + 1}, has values of type {pixels.dtype}; save the stack with 8 bits.")
    return pixels
