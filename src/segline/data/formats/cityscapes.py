"""The Cityscapes layout: `leftImg8bit/<split>/<city>/<name>_leftImg8bit.png` and `gtFine/<split>/<city>/<name>_gtFine_*`.

Read are `_labelIds.png` and `_instanceIds.png`; where one of them is missing it is drawn from `_polygons.json` as Cityscapes' own scripts draw it.
The classes are the official 19, other labels are ignored; `data.classes` picks others by name. A group that nobody took apart (`cargroup`) is a crowd.
The truth of the official test split is not public: what lies there says nothing, so the split is left out unless `data.test` asks for it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segline.data.check import Frame, Refused, brief, check_size, fail, read_bytes, read_labels
from segline.data.findings import Finding
from segline.data.formats.base import Record, Sighting, SourceData, SourceTruth, image_files
from segline.data.formats.cityscapes_labels import CLASSES, LABELS
from segline.data.masks import is_finite
from segline.data.polygons import findings
from segline.data.reading.folders import base_in, base_of
from segline.data.reading.labels import Label, chosen, class_ids, numbered, source_classes
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.data.store import Truth
from segline.errors import DataError

IMAGES = "leftImg8bit"
_IMAGE_END = "_leftImg8bit"
_SPLITS = {"train": "train", "train_extra": "train", "val": "val", "test": "test"}
_LICENCE = "Cityscapes: research use, images not to be passed on"
_PER_CLASS = 1000
"""An object's number is its label times this, and its place among the objects of the label."""

_KNOWN = frozenset(label.value for label in LABELS)
_FARTHEST = 1e6
"""Pixels: a corner beyond is a mistake, and Pillow would draw for minutes."""


class Settings(Folder):
    """Street scenes in the layout of Cityscapes."""

    format: Literal["cityscapes"] = "cityscapes"
    classes: list[str] | None = None  # names of labels that are classes, by id; default: the official 19; all others are ignored
    annotations: Literal["gtFine", "gtCoarse"] = "gtFine"  # which of the two truths
    test: bool = False  # whether the folder `test` is read; the truth of the official one is not public, its files there are empty


@dataclass(frozen=True)
class _Entry:
    """An image and the files of its truth that are there, relative to the root."""

    split: str
    image: Path
    labels: Path | None
    instances: Path | None
    polygons: Path | None

    @property
    def outlined(self) -> bool:
        """Whether its objects are told apart."""
        return self.instances is not None or self.polygons is not None

    def files(self) -> list[Path]:
        return [file for file in (self.image, self.labels, self.instances, self.polygons) if file is not None]


class Cityscapes:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        entries, _ = _entries(root, settings)
        return sorted(file for entry in entries for file in entry.files())

    def read(self, root: Path, settings: Settings) -> SourceData:
        classes = chosen(LABELS, settings.classes, CLASSES)
        entries, refused = _entries(root, settings)
        records = tuple(Record(entry.image, entry.split, _Truth(root, entry, classes)) for entry in entries)
        files = tuple(sorted(file for entry in entries for file in entry.files()))
        truths: tuple[Truth, ...] = ("index", "instances") if any(entry.outlined for entry in entries) else ("index",)
        return SourceData(source_classes(classes), truths, records, _LICENCE, files, tuple(refused))

    def recognise(self, tree: Tree) -> Sighting | None:
        for kind in ("gtFine", "gtCoarse"):
            base = base_in(tree, IMAGES, kind)
            if base is None:
                continue
            images = [f for f in tree.images if f.is_relative_to(base / IMAGES)]
            truths = [f for f in tree.files if f.is_relative_to(base / kind) and f.stem.endswith(("_labelIds", "_polygons", "_instanceIds"))]
            if images and truths:
                keys: dict[str, Any] = {} if kind == "gtFine" else {"annotations": kind}
                reasons = {"annotations": "there is gtCoarse/ and no gtFine/"} if keys else {}
                return Sighting(1.0, keys, f"{IMAGES}/ with {len(images)} images, and {kind}/ with {len(truths)} files of truth", reasons)
        return None


FORMAT = Cityscapes()


def _entries(root: Path, settings: Settings) -> tuple[list[_Entry], list[Refused]]:
    """Images with some truth, and what is left out. Raises DataError when the layout is not there."""
    truth = settings.annotations
    base = base_of(root, IMAGES, truth)
    if not all((root / base / name).is_dir() for name in (IMAGES, truth)):
        raise DataError(f"{root} is not in the cityscapes layout: it needs the folders {IMAGES}/ and {truth}/. Correct data.source or data.format.")
    entries, refused = [], []
    for folder in sorted(inner for inner in (root / base / IMAGES).iterdir() if inner.is_dir()):
        split = _SPLITS.get(folder.name)
        shown = (base / IMAGES / folder.name).as_posix()
        if split is None:
            refused.append(Refused(shown, f"it is none of the splits {', '.join(_SPLITS)}"))
            continue
        if split == "test" and not settings.test:
            refused.append(Refused(shown, "the truth of the official test images is not public; `data.test: true` reads what lies there"))
            continue
        for file in image_files(folder):
            image = file.relative_to(root)
            inner = file.relative_to(folder).parent
            stem = f"{file.stem.removesuffix(_IMAGE_END)}_{truth}"
            place = base / truth / folder.name / inner
            found = {kind: place / f"{stem}_{kind}" for kind in ("labelIds.png", "instanceIds.png", "polygons.json")}
            there = {kind: path for kind, path in found.items() if (root / path).is_file()}
            entry = _Entry(split, image, there.get("labelIds.png"), there.get("instanceIds.png"), there.get("polygons.json"))
            if not there:
                refused.append(Refused(image.as_posix(), f"there is neither {found['labelIds.png'].as_posix()} nor {found['polygons.json'].as_posix()}"))
                continue
            entries.append(entry)
    outlined = [entry for entry in entries if entry.outlined]
    if outlined and len(outlined) < len(entries):
        lacking = [entry for entry in entries if not entry.outlined]
        refused += [Refused(entry.image.as_posix(), "there are neither instance ids nor polygons, as the other images have them") for entry in lacking]
        entries = outlined
    return entries, refused


@dataclass(frozen=True)
class _Truth:
    """Loads label and instance ids of one image, or draws them."""

    root: Path
    entry: _Entry
    classes: tuple[Label, ...]

    def __call__(self, frame: Frame) -> SourceTruth:
        polygons = self.entry.polygons
        drawn = None
        odd: tuple[Finding, ...] = ()
        if polygons is not None and (self.entry.labels is None or self.entry.instances is None):
            drawn, odd = _drawn(self.root, polygons, frame, self.entry.image.as_posix())
        numbers = drawn if self.entry.instances is None else self._read(self.entry.instances, frame)
        shown = (self.entry.labels or polygons or self.entry.instances or self.entry.image).as_posix()
        if self.entry.labels is not None:
            labels = self._read(self.entry.labels, frame)
        else:
            source = drawn if drawn is not None else numbers
            assert source is not None, "an entry has some truth"
            labels = _labels_of(source)
        mask = class_ids(labels, self.classes, _KNOWN, shown)
        return SourceTruth(mask, () if numbers is None else numbered(numbers, _objects(numbers, self.classes)), findings=odd)

    def _read(self, file: Path, frame: Frame) -> NDArray[np.int32]:
        values = read_labels(self.root / file, file.as_posix())
        check_size((values.shape[0], values.shape[1]), frame, f"The mask {file.as_posix()}", self.entry.image.as_posix())
        return values.astype(np.int32)


def _labels_of(numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """Label values of instance ids."""
    return np.asarray(np.where(numbers >= _PER_CLASS, numbers // _PER_CLASS, numbers))


def _objects(numbers: NDArray[np.int32], classes: tuple[Label, ...]) -> dict[int, tuple[int, bool]]:
    """Class and crowd by number: a label of things without a place among them is a group."""
    things = {label.value: i for i, label in enumerate(classes) if label.thing}
    found = {}
    for number in (int(n) for n in np.unique(numbers)):
        label = number // _PER_CLASS if number >= _PER_CLASS else number
        if label in things:
            found[number] = (things[label], number < _PER_CLASS)
    return found


def _drawn(root: Path, file: Path, frame: Frame, image: str) -> tuple[NDArray[np.int32], tuple[Finding, ...]]:
    """Instance ids `(H, W)` of the polygons of a file, the later over the earlier ones, as Cityscapes' own scripts draw them, and what is odd in them.

    Raises DataError.
    """
    shown = file.as_posix()
    try:
        content = json.loads(read_bytes(root / file, shown))
        height, width, objects = content["imgHeight"], content["imgWidth"], content["objects"]
        shapes = [(str(one["label"]), one["polygon"], bool(one.get("deleted"))) for one in objects]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise DataError(f"{shown} holds no polygons of Cityscapes (imgHeight, imgWidth, objects with label and polygon); export them again.") from None
    if not all(is_finite(side) and side == int(side) for side in (height, width)):
        raise DataError(f"{shown}: imgHeight and imgWidth must be numbers of pixels; correct the file.")
    check_size((int(height), int(width)), frame, f"The file {shown}", image)
    values = {label.name: label for label in LABELS}
    canvas = Image.new("I", (frame.width, frame.height), 0)
    draw = ImageDraw.Draw(canvas)
    seen: Counter[str] = Counter()
    problems: list[str] = []
    odd: list[Finding] = []
    for i, (name, polygon, deleted) in enumerate(shapes, start=1):
        if deleted:
            continue
        group = name not in values and name.endswith("group")
        label = values.get(name.removesuffix("group") if group else name)
        if label is None:
            if name != "license plate":  # whose value is -1: it is not drawn
                problems.append(f"{shown}, object {i}: there is no label '{brief(name)}' in Cityscapes; correct its name.")
            continue
        number = label.value
        if label.thing and not group:
            number = _PER_CLASS * label.value + seen[label.name]
            seen[label.name] += 1
        points = _points(polygon)
        if points is None:
            problems.append(f"{shown}, object {i} ({brief(name)}): its polygon is no list of at least 3 points [x, y]; correct or remove it.")
            continue
        draw.polygon(points, fill=number)
        odd += findings([np.array(points, dtype=np.float64)], (frame.height, frame.width), shown, f"object {i} ({brief(name)})")
    fail(problems)
    return np.array(canvas, dtype=np.int32), tuple(odd)


def _points(polygon: Any) -> list[tuple[float, float]] | None:
    if not isinstance(polygon, list) or len(polygon) < 3:
        return None
    points = []
    for point in polygon:
        if not isinstance(point, list) or len(point) != 2 or not all(is_finite(v) and abs(v) <= _FARTHEST for v in point):
            return None
        points.append((point[0], point[1]))
    return points
