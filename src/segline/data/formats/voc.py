"""The layout of Pascal VOC (Everingham 2010): `JPEGImages/`, `SegmentationClass/`, `SegmentationObject/`, `Annotations/`, `ImageSets/`.

A class mask is a palette PNG whose index is the class, or RGB in VOC's colours (those of `labelmap.txt`, where an annotation tool wrote one); 255 is ignored.
`SegmentationObject/` numbers the objects; the class of each is what the class mask says there. Without `SegmentationClass/`, the boxes of `Annotations/*.xml`
are the truth: corners count pixels from 1 and belong to the box, and a `difficult` object is neither to be found nor to be counted as wrong.
Splits are the lists `train.txt`, `val.txt` and `test.txt` of `ImageSets/Segmentation/` (of boxes: `ImageSets/Main/`); without these, `data.splits` divides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from segline.data.check import Frame, Refused, brief, check_labels, check_size, decode, fail, name_list, read_bytes, read_labels
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
from segline.data.reading.folders import base_in, base_of
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.data.store import IGNORE, SPLITS, Truth
from segline.errors import DataError

IMAGES, CLASS_MASKS, OBJECT_MASKS, BOXES, LISTS = "JPEGImages", "SegmentationClass", "SegmentationObject", "Annotations", "ImageSets"
LABELMAP = "labelmap.txt"
CLASSES = (
    BACKGROUND, "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse", "motorbike", "person",
    "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
_LICENCE = "Pascal VOC: Flickr's terms of use"
_UNDIVIDED = ("trainval", "default")  # lists of images that nobody divided
_BORDER = (224, 224, 192)  # the colour of 255 in VOC's palette

Colour = tuple[int, int, int]


class Settings(Folder):
    """Masks or boxes in the layout of Pascal VOC."""

    format: Literal["voc"] = "voc"
    # class names by id, the background first; default: those of labelmap.txt, else VOC's 21; of boxes: the names that occur, in VOC's order where VOC has them
    classes: list[str] | None = None

    def for_model(self, names: Sequence[str]) -> Self:
        return self.model_copy(update={"classes": names_of_model(self.classes, CLASSES, names)})


@dataclass(frozen=True)
class _Layout:
    """What is there, relative to the root."""

    base: Path
    masks: bool  # class masks; else boxes alone
    objects: bool  # object masks too
    labelmap: Path | None
    lists: tuple[Path, ...]


@dataclass(frozen=True)
class _Entry:
    """An image and its truth, relative to the root: class mask and object mask, or boxes."""

    split: str | None
    image: Path
    truth: tuple[Path, ...]


class Voc:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:  # noqa: ARG002
        layout = _layout(root)
        entries, _ = _entries(root, layout)
        return _files(layout, entries)

    def read(self, root: Path, settings: Settings) -> SourceData:
        if settings.classes is not None:
            check_class_names(settings.classes)
        layout = _layout(root)
        entries, refused = _entries(root, layout)
        files = tuple(_files(layout, entries))
        licence = _LICENCE if settings.classes is None and layout.labelmap is None else "unknown"
        if not layout.masks:
            boxes = {entry.truth[0]: _boxes(root, entry.truth[0]) for entry in entries}
            names = _box_names(boxes.values(), settings.classes)
            left_out: dict[str, int] = {}
            for found in boxes.values():
                for one in found.objects:
                    if one.name not in names:
                        left_out[one.name] = left_out.get(one.name, 0) + 1
            records = tuple(Record(e.image, e.split, _BoxTruth(boxes[e.truth[0]], e.image.as_posix(), tuple(names))) for e in entries)
            return SourceData(_things(names), ("boxes",), records, licence, files, tuple(refused), left_out)
        names, colours = _names_and_colours(root, layout, settings.classes)
        records = tuple(Record(e.image, e.split, _MaskTruth(root, e.image.as_posix(), e.truth, tuple(names), colours)) for e in entries)
        truths: tuple[Truth, ...] = ("index", "instances") if layout.objects else ("index",)
        return SourceData(_things(names), truths, records, licence, files, tuple(refused))

    def recognise(self, tree: Tree) -> Sighting | None:
        for kind, suffix, sure in ((CLASS_MASKS, ".png", 1.0), (BOXES, ".xml", 0.95)):
            base = base_in(tree, IMAGES, kind)
            if base is None:
                continue
            found = [f for f in tree.files if f.is_relative_to(base / kind) and f.suffix.lower() == suffix]
            if not found:
                continue
            return Sighting(sure, {}, f"{(base / IMAGES).as_posix()}/, and {(base / kind).as_posix()}/ with {len(found)} files")
        return None


FORMAT = Voc()


def _layout(root: Path) -> _Layout:
    """Raises DataError when the layout is not there."""
    for kind in (CLASS_MASKS, BOXES):
        base = base_of(root, IMAGES, kind)
        if not all((root / base / name).is_dir() for name in (IMAGES, kind)):
            continue
        masks = kind == CLASS_MASKS
        folder = root / base / LISTS / ("Segmentation" if masks else "Main")
        lists = _lists(folder) if folder.is_dir() else ()
        labelmap = base / LABELMAP if masks and (root / base / LABELMAP).is_file() else None
        return _Layout(base, masks, masks and (root / base / OBJECT_MASKS).is_dir(), labelmap, tuple(file.relative_to(root) for file in lists))
    raise DataError(f"{root} is not in the voc layout: it needs {IMAGES}/, and {CLASS_MASKS}/ or {BOXES}/. Correct data.source or data.format.")


def _lists(folder: Path) -> tuple[Path, ...]:
    """The lists of the splits, or of all images."""
    splits = [folder / f"{split}.txt" for split in SPLITS if (folder / f"{split}.txt").is_file()]
    return tuple(splits) or tuple(folder / f"{name}.txt" for name in _UNDIVIDED if (folder / f"{name}.txt").is_file())[:1]


def _entries(root: Path, layout: _Layout) -> tuple[list[_Entry], list[Refused]]:
    """Raises DataError for names of the lists that are not there, and for images in two of them."""
    images = {f.relative_to(root / layout.base / IMAGES).with_suffix("").as_posix(): f.relative_to(root) for f in image_files(root / layout.base / IMAGES)}
    listed, problems = _listed(root, layout, images)
    wanted = list(listed.items()) if layout.lists else [(name, None) for name in images]
    entries, refused = [], []
    for name, split in wanted:
        image = images[name]
        kinds = [(CLASS_MASKS, ".png"), *([(OBJECT_MASKS, ".png")] if layout.objects else [])] if layout.masks else [(BOXES, ".xml")]
        truth = [layout.base / kind / f"{name}{suffix}" for kind, suffix in kinds]
        missing = [file for file in truth if not (root / file).is_file()]
        if not missing:
            entries.append(_Entry(split, image, tuple(truth)))
        elif layout.lists or not layout.masks:  # VOC has far more images than masks: those that no list names are not meant
            refused.append(Refused(image.as_posix(), f"there is no {missing[0].as_posix()}"))
    fail(problems)
    return entries, refused


def _listed(root: Path, layout: _Layout, images: dict[str, Path]) -> tuple[dict[str, str | None], list[str]]:
    """The split of each name that a list holds, and a sentence for each mistake."""
    found: dict[str, str | None] = {}
    places: dict[str, str] = {}
    problems = []
    for file in layout.lists:
        split = file.stem if file.stem in SPLITS else None
        try:
            lines = read_bytes(root / file, file.as_posix()).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise DataError(f"{file.as_posix()} is no text in UTF-8; write the name of one image per line, without its ending.") from None
        for number, line in enumerate(lines, start=1):
            name = line.strip()
            if not name:
                continue
            where = f"{file.as_posix()}, line {number},"
            if name not in images:
                problems.append(f"{where} names {brief(name)}, of which there is no image in {IMAGES}/; add it or remove the line.")
            elif name in found:
                problems.append(f"{where} names {brief(name)}, as {places[name]} does; an image belongs to one split, once.")
            else:
                found[name], places[name] = split, where.rstrip(",")
    return found, problems


def _files(layout: _Layout, entries: Sequence[_Entry]) -> list[Path]:
    own = {*layout.lists, *([layout.labelmap] if layout.labelmap else [])}
    return sorted(own | {file for entry in entries for file in (entry.image, *entry.truth)})


def _things(names: Sequence[str]) -> tuple[SourceClass, ...]:
    return tuple(SourceClass(name, i > 0) for i, name in enumerate(names))


# masks --------------------------------------------------------------------------------------------------------------------------------------------------


def palette(count: int) -> list[Colour]:
    """VOC's colours: the bits of the index, dealt to red, green and blue from the highest bit down."""
    colours = []
    for index in range(count):
        red = green = blue = 0
        for bit in range(8):
            red |= (index >> (3 * bit) & 1) << (7 - bit)
            green |= (index >> (3 * bit + 1) & 1) << (7 - bit)
            blue |= (index >> (3 * bit + 2) & 1) << (7 - bit)
        colours.append((red, green, blue))
    return colours


def _names_and_colours(root: Path, layout: _Layout, classes: Sequence[str] | None) -> tuple[list[str], tuple[Colour, ...]]:
    """Class names by id, and their colours in RGB masks. Raises DataError for a labelmap.txt that cannot be read."""
    if layout.labelmap is not None:
        entries = _labelmap(root, layout.labelmap)
        names = [name for name, _ in entries]
        if classes is not None and len(classes) != len(names):
            raise DataError(
                f"data.classes has {len(classes)} names, but {layout.labelmap.as_posix()} has {len(names)} ({name_list(names)}); give one for each."
            )
        return list(classes or names), tuple(colour for _, colour in entries)
    names = list(classes or CLASSES)
    return names, tuple(palette(len(names)))


def _labelmap(root: Path, file: Path) -> list[tuple[str, Colour]]:
    """Names and colours of `name:r,g,b:parts:actions`, a line each."""
    shown = file.as_posix()
    entries: list[tuple[str, Colour]] = []
    problems = []
    text = read_bytes(root / file, shown).decode("utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"\s*([^:]+):\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*(:.*)?", line)
        if match is None or max(int(match[i]) for i in (2, 3, 4)) > 255:
            problems.append(f"{shown}, line {number}: '{brief(line)}' is not name:red,green,blue; correct the line.")
            continue
        entries.append((match[1].strip(), (int(match[2]), int(match[3]), int(match[4]))))
    fail(problems)
    check_class_names([name for name, _ in entries])
    if len({colour for _, colour in entries}) < len(entries):
        raise DataError(f"{shown} gives two classes one colour; colours must differ.")
    return entries


@dataclass(frozen=True)
class _MaskTruth:
    """Loads the class mask of one image, and its objects."""

    root: Path
    image: str
    files: tuple[Path, ...]
    names: tuple[str, ...]
    colours: tuple[Colour, ...]

    def __call__(self, frame: Frame) -> SourceTruth:
        file = self.files[0]
        labels = self._class_mask(file)
        check_size((labels.shape[0], labels.shape[1]), frame, f"The mask {file.as_posix()}", self.image)
        check_labels(labels, self.names, {IGNORE}, file.as_posix())
        mask = labels.astype(np.uint8)
        return SourceTruth(mask, self._objects(mask, frame) if len(self.files) > 1 else ())

    def _class_mask(self, file: Path) -> NDArray[np.integer]:
        content = read_bytes(self.root / file, file.as_posix())
        picture = decode(content, file.as_posix())
        if picture.mode not in ("RGB", "RGBA"):
            return read_labels(self.root / file, file.as_posix())
        pixels = np.asarray(picture.convert("RGB")).astype(np.int32)
        codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
        table = {_code(colour): i for i, colour in enumerate(self.colours)}
        table.setdefault(_code(_BORDER), IGNORE)
        labels = np.full(codes.shape, -1, dtype=np.int32)
        for code in np.unique(codes).tolist():
            if code not in table:
                row, column = (int(v) for v in np.argwhere(codes == code)[0])
                raise DataError(
                    f"{file.as_posix()} holds the colour #{code:06x} (x {column}, y {row}), which no class has; "
                    f"give each class its colour in {LABELMAP}, or save class ids as the indices of a palette PNG.",
                    kind="colours",
                    place=f"x {column}, y {row}",
                )
            labels[codes == code] = table[code]
        return labels

    def _objects(self, mask: NDArray[np.uint8], frame: Frame) -> tuple[SourceObject, ...]:
        file = self.files[1]
        shown = file.as_posix()
        numbers = self._numbers(file)
        check_size((numbers.shape[0], numbers.shape[1]), frame, f"The mask {shown}", self.image)
        objects, problems = [], []
        for number in (int(n) for n in np.unique(numbers) if n not in (0, IGNORE)):
            where = numbers == number
            votes = np.bincount(mask[where], minlength=IGNORE + 1)
            votes[0] = votes[IGNORE] = 0
            if not votes.any():
                problems.append(f"{shown}: the object {number} lies where {self.files[0].as_posix()} shows no class; correct one of the masks.")
                continue
            objects.append(SourceObject(int(votes.argmax()), where))
        fail(problems)
        return tuple(objects)

    def _numbers(self, file: Path) -> NDArray[np.integer]:
        """Object numbers: palette indices, or VOC's colours of them."""
        picture = decode(read_bytes(self.root / file, file.as_posix()), file.as_posix())
        if picture.mode not in ("RGB", "RGBA"):
            return read_labels(self.root / file, file.as_posix())
        pixels = np.asarray(picture.convert("RGB")).astype(np.int32)
        codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
        _, numbers = np.unique(codes, return_inverse=True)
        numbers = numbers.reshape(codes.shape) + 1 + IGNORE
        numbers[codes == 0] = 0
        numbers[codes == _code(_BORDER)] = IGNORE
        return np.asarray(numbers)


def _code(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


# boxes --------------------------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Boxed:
    """One object of an XML file."""

    name: str
    corners: tuple[float, float, float, float]  # xmin, ymin, xmax, ymax, as the file has them
    difficult: bool


@dataclass(frozen=True)
class _File:
    """What an XML file says; `size` is (height, width), where it says so."""

    shown: str
    size: tuple[int, int] | None
    objects: tuple[_Boxed, ...]


def _boxes(root: Path, file: Path) -> _File:
    """Raises DataError."""
    shown = file.as_posix()
    content = read_bytes(root / file, shown)
    if b"<!ENTITY" in content or b"<!DOCTYPE" in content:
        raise DataError(f"{shown} declares entities, which no annotation needs; export it again.")
    try:
        tree = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{shown} is no XML ({brief(error)}); export it again.") from None
    objects, problems = [], []
    for number, one in enumerate(tree.findall("object"), start=1):
        name = (one.findtext("name") or "").strip()
        corners = [_number(one.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
        known = [corner for corner in corners if corner is not None]
        if not name or len(known) < 4 or known[2] < known[0] or known[3] < known[1]:
            problems.append(f"{shown}, object {number}: it needs a name, and a bndbox with xmin <= xmax and ymin <= ymax; correct or remove it.")
            continue
        objects.append(_Boxed(name, (known[0], known[1], known[2], known[3]), (one.findtext("difficult") or "0").strip() == "1"))
    fail(problems)
    sides = [_number(tree.findtext(f"size/{key}")) for key in ("height", "width")]
    size = (int(sides[0]), int(sides[1])) if sides[0] and sides[1] else None
    return _File(shown, size, tuple(objects))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < 1e9 else None


def _box_names(files: Iterable[_File], classes: Sequence[str] | None) -> list[str]:
    """Class names by id, the background first."""
    occurring = {one.name for file in files for one in file.objects}
    if classes is not None:
        return [BACKGROUND, *(name for name in classes if name != BACKGROUND)]
    if occurring <= set(CLASSES):
        return list(CLASSES)
    return [BACKGROUND, *sorted(occurring - {BACKGROUND})]


@dataclass(frozen=True)
class _BoxTruth:
    """The boxes of one image."""

    file: _File
    image: str
    names: tuple[str, ...]

    def __call__(self, frame: Frame) -> SourceTruth:
        if self.file.size is not None:
            check_size(self.file.size, frame, f"The file {self.file.shown}", self.image)
        objects, refused = [], []
        for number, one in enumerate(self.file.objects, start=1):
            if one.name not in self.names:
                continue
            xmin, ymin, xmax, ymax = one.corners
            left, top = max(0.0, xmin - 1), max(0.0, ymin - 1)
            right, bottom = min(float(frame.width), xmax), min(float(frame.height), ymax)
            if right <= left or bottom <= top:
                refused.append(Refused(self.image, f"the box of object {number} of {self.file.shown} covers no pixel"))
                continue
            objects.append(SourceObject(self.names.index(one.name), None, one.difficult, (left, top, right - left, bottom - top)))
        return SourceTruth(None, tuple(objects), tuple(refused))
