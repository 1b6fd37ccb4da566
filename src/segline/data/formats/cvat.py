"""CVAT for images 1.1: an XML file (`annotations.xml`, any name) and the images that it names.

Read are polygons, boxes (turned ones, too), ellipses and masks; polylines, points, cuboids, skeletons and tags have no area and are left out, counted.
Ellipses cover the pixels that CVAT's own exports give them, by whole middles and axes.
What has a greater `z_order`, or the same one and stands later, lies above. Shapes of one label and one `group_id` are the parts of one object.
Objects without a label are left out, counted; labels of what has no area (points, skeletons) are no classes.
`subset` of an image, or folders called train, val, test, are the splits. Tracks (CVAT for video) are refused.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Literal
from xml.etree import ElementTree

import numpy as np

from segline.data.check import brief, fail
from segline.data.formats.base import Sighting, SourceData
from segline.data.masks import Box, Outline, Points, Runs, Shape
from segline.data.reading.drawn import Drawing, DrawnObject, Named, source_of
from segline.data.reading.lookup import Folders, paths, split_of, split_word
from segline.data.reading.tree import Tree
from segline.data.reading.typed import text_of
from segline.data.tool_shapes import FilledEllipse
from segline.errors import DataError

_AREAS = ("polygon", "box", "ellipse", "mask")
_NO_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")
_MOST_DIGITS = 12
"""Of a whole number; nothing in an image is as large."""


class Settings(Named):
    """XML files of CVAT (CVAT for images 1.1), with their images."""

    format: Literal["cvat"] = "cvat"


class Cvat:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:  # noqa: ARG002
        found = _Found(root)
        return list(paths([*found.files, *(drawing.image for drawing in found.drawings)]))

    def read(self, root: Path, settings: Settings) -> SourceData:
        found = _Found(root)
        return source_of(
            root,
            found.drawings,
            settings.classes,
            files=found.files,
            listed=list(found.labels),
            ordered=True,
            skipped=found.skipped,
            unnamed=found.unnamed,
            problems=found.problems,
        )

    def recognise(self, tree: Tree) -> Sighting | None:
        for file in tree.of_type(".xml")[:50]:
            text = tree.text(file) or ""
            if "<annotations" in text and "<image " in text:
                return Sighting(0.95, {}, f"{file}, CVAT's annotations")
        return None


FORMAT = Cvat()


class _Found:
    """What the XML files of a folder say."""

    def __init__(self, root: Path) -> None:
        self.drawings: list[Drawing] = []
        self.files: list[PurePosixPath] = []
        self.labels: dict[str, None] = {}
        self.skipped: Counter[str] = Counter()
        self.unnamed = 0
        self.problems: list[str] = []
        self._folders = Folders(root)
        for file in self._folders.of_type(".xml"):
            try:
                text = text_of(root, file)
                if "<annotations" in text:
                    self.files.append(file)
                    self._read(file, _parsed(text, file))
            except DataError as error:
                self.problems += error.problems
        if not self.files:
            fail(self.problems)
            raise DataError(f"{root} is not in the cvat layout: there is no XML file with <annotations>. Correct data.source or data.format.")

    def _read(self, file: PurePosixPath, top: ElementTree.Element) -> None:
        if top.find("track") is not None:
            raise DataError(f"{file} holds tracks (CVAT for video); export the task as 'CVAT for images 1.1'.")
        for label in top.iterfind("meta//labels/label"):
            if label.findtext("type", "any").strip() not in _NO_AREA:  # nothing with an area is ever called so
                self.labels.setdefault(label.findtext("name", "").strip())
        for image in top.iterfind("image"):
            try:
                self._add(file, image)
            except DataError as error:
                self.problems += error.problems

    def _add(self, file: PurePosixPath, image: ElementTree.Element) -> None:
        name = image.get("name", "")
        where = f"{file}, image '{brief(name)}'"
        try:
            subset = image.get("subset") or "."
            found = self._folders.image(name, file.parent / "images" / subset, file.parent / "images", file.parent, file.parent.parent / "images")
        except ValueError as error:
            raise DataError(f"{file} {error}.") from None
        problems: list[str] = []
        objects: list[DrawnObject] = []
        groups: dict[tuple[str, str], list[tuple[Shape, tuple[float, int]]]] = {}  # parts, and how far above they lie
        for i, drawn in enumerate(image, start=1):
            if drawn.tag in _NO_AREA:
                self.skipped[drawn.tag] += 1
                continue
            if drawn.tag not in _AREAS:
                continue
            try:
                shape, depth = _shape(drawn), (_number(drawn, "z_order", 0.0), i)
            except ValueError as error:
                problems.append(f"{where}, {drawn.tag} (shape {i}): {error}.")
                continue
            label, group = drawn.get("label", ""), drawn.get("group_id", "0")
            if not label:
                self.unnamed += 1
                continue
            if group in ("", "0"):
                objects.append(DrawnObject(label, (shape,), f"{drawn.tag} (shape {i})", (depth,)))
            else:
                groups.setdefault((label, group), []).append((shape, depth))
        fail(problems)
        for (label, group), parts in groups.items():
            above = max(depth for _, depth in parts)
            objects.append(DrawnObject(label, tuple(shape for shape, _ in parts), f"group {brief(group)}", (above,) * len(parts)))
        try:
            size = None if image.get("width") is None or image.get("height") is None else (_side(image, "height"), _side(image, "width"))
        except ValueError as error:
            raise DataError(f"{where}: {error}.") from None
        split = split_word(image.get("subset") or "") or split_of(found)
        self.drawings.append(Drawing(found, split, file.as_posix(), tuple(objects), size))


def _parsed(text: str, file: PurePosixPath) -> ElementTree.Element:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{file} declares a document type, which CVAT's files have not, and which can make a short text mean gigabytes; export it again.")
    try:
        top = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{file} is not valid XML ({brief(error)}); export the annotations again.") from None
    if top.tag != "annotations":
        raise DataError(f"{file} is not what CVAT exports: its first element is not <annotations>; export the task as 'CVAT for images 1.1'.")
    return top


def _shape(drawn: ElementTree.Element) -> Shape:
    """Raises ValueError, with a phrase."""
    match drawn.tag:
        case "polygon":
            return Outline(_points(drawn.get("points", "")))
        case "box":
            box = Box.between(*(_number(drawn, key) for key in ("xtl", "ytl", "xbr", "ybr")))
            turn = _number(drawn, "rotation", 0.0)
            return box.turned(math.remainder(turn, 360)) if turn else box
        case "ellipse":
            cx, cy, rx, ry = (_number(drawn, key) for key in ("cx", "cy", "rx", "ry"))
            return FilledEllipse(cx, cy, rx, ry, math.remainder(_number(drawn, "rotation", 0.0), 360))
        case _:
            counts = [_whole(word) for word in drawn.get("rle", "").replace(",", " ").split()]
            left, top, width, height = (_whole(drawn.get(key, "")) for key in ("left", "top", "width", "height"))
            return Runs(np.array(counts, dtype=np.int64), left, top, width, height)


def _points(text: str) -> Points:
    """`x,y;x,y;…`. Raises ValueError, with a phrase."""
    pairs = [pair.split(",") for pair in text.split(";") if pair.strip()]
    try:
        points = np.array([(float(x), float(y)) for x, y in pairs], dtype=np.float64)
    except ValueError:
        raise ValueError("its points are not x,y;x,y;…; export the annotations again") from None
    if len(points) < 3:
        raise ValueError(f"a polygon has at least 3 points, and this one {len(points)}; draw it again or remove it")
    if not np.isfinite(points).all():
        raise ValueError("its points are not all numbers; draw it again or remove it")
    return points


def _number(drawn: ElementTree.Element, key: str, default: float | None = None) -> float:
    """Raises ValueError, with a phrase."""
    text = drawn.get(key)
    if text is None and default is not None:
        return default
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"its {key} is {'missing' if text is None else brief(repr(text))}, and must be a number; export the annotations again")
    return value


def _whole(text: str) -> int:
    """Raises ValueError, with a phrase."""
    digits = text.strip().removesuffix(".0")
    if not digits.lstrip("-").isdecimal() or len(digits) > _MOST_DIGITS:
        raise ValueError(f"its mask holds {brief(repr(text))} in place of a whole number of pixels; export the annotations again")
    return int(digits)


def _side(image: ElementTree.Element, key: str) -> int:
    """Raises ValueError, with a phrase."""
    value = _number(image, key)
    if value != int(value) or value < 1:
        raise ValueError(f"its {key} is {brief(image.get(key))}; it must be a number of pixels")
    return int(value)
