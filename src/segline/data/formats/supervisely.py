"""Supervisely: `meta.json` with the classes, and for each data set a folder with `img/` and `ann/`, where `ann/<image file>.json` is what is drawn on an image.

Read are polygons with their holes, bitmaps, alpha masks and rectangles; points, lines, graphs and cuboids have no area and are left out, counted. What is
listed later lies above. Coordinates are numbers of pixels: a shape holds those of its outline. Data sets (folders) called train, val, test are the splits.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from pydantic import Field, TypeAdapter

from segline.data.check import IMAGE_SUFFIXES, Refused, brief, fail
from segline.data.formats.base import Sighting, SourceData
from segline.data.masks import Bitmap, Box, Shape
from segline.data.reading.drawn import Drawing, DrawnObject, Named, source_of
from segline.data.reading.lookup import Folders, split_of
from segline.data.reading.tree import Tree
from segline.data.reading.typed import Part, Pixel, Point, Side, parsed, text_of
from segline.data.tool_shapes import Filled
from segline.errors import DataError

_META = "meta.json"
_BITMAPS = ("bitmap", "alpha_mask")
_NO_AREA = ("point", "line", "polyline", "graph", "graph_nodes", "cuboid", "cuboid_2d", "any")


class Settings(Named):
    """A project of Supervisely: meta.json, and data sets with img/ and ann/."""

    format: Literal["supervisely"] = "supervisely"


class _Class(Part):
    title: str
    shape: str = "any"


class _Meta(Part):
    classes: list[_Class]


class _Points(Part):
    exterior: list[Point] = []
    interior: list[list[Point]] = []


class _Bitmap(Part):
    data: str
    origin: tuple[Pixel, Pixel]


class _Object(Part):
    name: str = Field(alias="classTitle")
    geometry: str | None = Field(default=None, alias="geometryType")
    points: _Points = _Points()
    bitmap: _Bitmap | None = None


class _Size(Part):
    height: Side
    width: Side


class _Annotation(Part):
    size: _Size
    objects: list[_Object]


_META_FILE = TypeAdapter(_Meta)
_ANNOTATION = TypeAdapter(_Annotation)


class Supervisely:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        return list(self.read(root, settings).files)

    def read(self, root: Path, settings: Settings) -> SourceData:
        folders = Folders(root)
        metas = [file for file in folders.files if file.name == _META and any(f.parent.name == "ann" for f in folders.of_type(".json"))]
        if not metas:
            raise DataError(f"{root} is not in the supervisely layout: it needs {_META} and folders ann/ and img/. Correct data.source or data.format.")
        drawings: list[Drawing] = []
        refused: list[Refused] = []
        problems: list[str] = []
        skipped: Counter[str] = Counter()
        classes: dict[str, str] = {}
        for meta in metas:
            try:
                classes |= {one.title: one.shape for one in parsed(_META_FILE, text_of(root, meta), meta.as_posix()).classes}
            except DataError as error:
                problems += error.problems
        fail(problems)
        files = [file for file in folders.of_type(".json") if file.parent.name == "ann"]
        used: set[PurePosixPath] = set()
        for file in files:
            image = _image_of(folders, file)
            if image is None:
                problems.append(f"{file}: there is no image {file.parent.parent / 'img' / file.stem}; add the image or remove the file.")
                continue
            used.add(image)
            try:
                content = parsed(_ANNOTATION, text_of(root, file), file.as_posix())
                objects = _objects(content, file, classes, skipped)
            except DataError as error:
                problems += error.problems
                continue
            drawings.append(Drawing(image, split_of(image), file.as_posix(), objects, (content.size.height, content.size.width)))
        refused += [
            Refused(image.as_posix(), f"there is no {image.parent.parent / 'ann' / image.name}.json")
            for image in folders.images
            if image.parent.name == "img" and image not in used
        ]
        return source_of(
            root,
            drawings,
            settings.classes,
            files=[*metas, *files],
            listed=list(classes),
            ordered=True,
            refused=refused,
            skipped=skipped,
            problems=problems,
        )

    def recognise(self, tree: Tree) -> Sighting | None:
        metas = [file for file in tree.files if file.name == _META]
        annotations = [file for file in tree.of_type(".json") if file.parent.name == "ann"]
        if not metas or not annotations:
            return None
        return Sighting(0.95, {}, f"{metas[0]} and {len(annotations)} files in ann/, as Supervisely exports them")


FORMAT = Supervisely()


def _image_of(folders: Folders, file: PurePosixPath) -> PurePosixPath | None:
    """The image of an annotation file: `ann/a.png.json` is of `img/a.png`; older exports call it `ann/a.json`."""
    there = file.parent.parent / "img"
    if folders.has(there / file.stem) and PurePosixPath(file.stem).suffix.lower() in IMAGE_SUFFIXES:
        return there / file.stem
    return next((there / f"{file.stem}{suffix}" for suffix in sorted(IMAGE_SUFFIXES) if folders.has(there / f"{file.stem}{suffix}")), None)


def _objects(content: _Annotation, file: PurePosixPath, classes: dict[str, str], skipped: Counter[str]) -> tuple[DrawnObject, ...]:
    """Raises DataError."""
    objects: list[DrawnObject] = []
    problems: list[str] = []
    for i, drawn in enumerate(content.objects, start=1):
        if drawn.name not in classes:
            problems.append(f"{file}, object {i}: its class '{brief(drawn.name)}' is not in {_META}; add it there, or remove the object.")
            continue
        kind = drawn.geometry or ("bitmap" if drawn.bitmap is not None else classes[drawn.name])
        if kind in _NO_AREA:
            skipped[kind] += 1
            continue
        try:
            objects.append(DrawnObject(drawn.name, (_shape(kind, drawn),), f"object {i}"))
        except ValueError as error:
            problems.append(f"{file}, object {i} ('{brief(drawn.name)}'): {error}.")
    fail(problems)
    return tuple(objects)


def _shape(kind: str, drawn: _Object) -> Shape:
    """Raises ValueError, with a phrase."""
    if kind in _BITMAPS:
        if drawn.bitmap is None:
            raise ValueError("it is a bitmap without `bitmap`; export the annotations again")
        return Bitmap(drawn.bitmap.data, *drawn.bitmap.origin, packed=True)
    outer = drawn.points.exterior
    if kind == "polygon":
        if any(len(points) < 3 for points in (outer, *drawn.points.interior)):
            raise ValueError("a polygon and each of its holes has at least 3 points; draw it again or remove it")
        return Filled(np.array(outer, dtype=np.float64), tuple(np.array(hole, dtype=np.float64) for hole in drawn.points.interior))
    if kind == "rectangle":
        if len(outer) != 2:
            raise ValueError(f"a rectangle has 2 points, and this one {len(outer)}; draw it again or remove it")
        (x1, y1), (x2, y2) = outer
        return Box(min(x1, x2), min(y1, y2), abs(x2 - x1) + 1, abs(y2 - y1) + 1)
    raise ValueError(f"its shape is '{brief(kind)}'; known are polygon, rectangle, {', '.join(_BITMAPS)} and {', '.join(_NO_AREA)}")
