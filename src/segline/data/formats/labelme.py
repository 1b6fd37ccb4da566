"""labelme: a JSON file for each image, which it names by `imagePath`, relative to the JSON file.

Read are polygons, rectangles, oriented rectangles, circles and masks; points, lines and line strips have no area and are left out, counted. Shapes of one label
and one `group_id` are the parts of one object. What is drawn later lies above, a part as a whole. `_background_` is painted as background, `__ignore__` as
ignored. Shapes cover the pixels that labelme's own exports give them.
An image of which nothing but the JSON's embedded copy is there must be written to a file first. Folders called train, val, test are the splits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter

from segline.data.check import brief, fail
from segline.data.formats.base import Sighting, SourceData
from segline.data.masks import Bitmap, Box, Ellipse, Outline, Shape
from segline.data.reading.drawn import Drawing, DrawnObject, Named, source_of
from segline.data.reading.lookup import Folders, paths, split_of
from segline.data.reading.tree import Tree
from segline.data.reading.typed import Part, Point, Side, parsed, text_of
from segline.data.tool_shapes import Touched, TouchedBox, TouchedCircle
from segline.errors import DataError

_NO_AREA = ("point", "points", "line", "linestrip")


class Settings(Named):
    """JSON files of labelme beside the images."""

    format: Literal["labelme"] = "labelme"
    # touched: a shape covers each pixel that its outline touches, as in labelme's own exports; centre: only those whose centre it holds, as in COCO
    fill: Literal["centre", "touched"] = "touched"


class _Shape(Part):
    label: str
    points: list[Point]
    shape_type: str | None = "polygon"
    group_id: int | str | None = None
    mask: str | None = None  # a PNG image in base64, of the box between the two points


class _File(Part):
    shapes: list[_Shape]
    image_path: str = Field(alias="imagePath")
    height: Side | None = Field(default=None, alias="imageHeight")
    width: Side | None = Field(default=None, alias="imageWidth")


_FILE = TypeAdapter(_File)


class Labelme:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        drawings, files, _, _ = _drawings(root, settings)
        return list(paths([*files, *(drawing.image for drawing in drawings)]))

    def read(self, root: Path, settings: Settings) -> SourceData:
        drawings, files, skipped, problems = _drawings(root, settings)
        return source_of(root, drawings, settings.classes, files=files, ordered=True, skipped=skipped, problems=problems)

    def recognise(self, tree: Tree) -> Sighting | None:
        found = [file for file in tree.of_type(".json")[:50] if '"shapes"' in (tree.text(file) or "") and _is_ours(tree.json(file))]
        if not found:
            return None
        return Sighting(0.95, {}, f"{found[0]} and {len(tree.of_type('.json')) - 1} more JSON files, with labelme's shapes")


FORMAT = Labelme()


def _is_ours(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and isinstance(content.get("imagePath"), str)


def _drawings(root: Path, settings: Settings) -> tuple[list[Drawing], list[PurePosixPath], Counter[str], list[str]]:
    """What is drawn, the JSON files, the drawings that are no objects, and the problems of all files."""
    folders = Folders(root)
    files: list[PurePosixPath] = []
    drawings: list[Drawing] = []
    problems: list[str] = []
    skipped: Counter[str] = Counter()
    for file in folders.of_type(".json"):
        try:
            text = text_of(root, file)
            if '"shapes"' in text:
                files.append(file)
                drawings.append(_drawing(folders, file, text, skipped, touched=settings.fill == "touched"))
        except DataError as error:
            problems += error.problems
    if not files:
        fail(problems)
        raise DataError(f"{root} is not in the labelme layout: there is no JSON file with `shapes` and `imagePath`. Correct data.source or data.format.")
    return drawings, files, skipped, problems


def _drawing(folders: Folders, file: PurePosixPath, text: str, skipped: Counter[str], *, touched: bool) -> Drawing:
    """Raises DataError."""
    content = parsed(_FILE, text, file.as_posix())
    try:
        image = folders.image(content.image_path, file.parent)
    except ValueError as error:
        raise DataError(f"{file} {error}; where there is but the copy in `imageData`, write it to a file with labelme_export_json.") from None
    objects: list[DrawnObject] = []
    groups: dict[tuple[str, int | str], list[tuple[Shape, int]]] = {}  # parts, and where they stand
    problems: list[str] = []
    for i, drawn in enumerate(content.shapes, start=1):
        kind = drawn.shape_type or "polygon"
        if kind in _NO_AREA:
            skipped[kind] += 1
            continue
        try:
            shape = _shape(kind, drawn, touched)
        except ValueError as error:
            problems.append(f"{file}, shape {i} ('{brief(drawn.label)}'): {error}.")
            continue
        if drawn.group_id is None:
            objects.append(DrawnObject(drawn.label, (shape,), f"shape {i}", ((0.0, i),)))
        else:
            groups.setdefault((drawn.label, drawn.group_id), []).append((shape, i))
    fail(problems)
    for (label, group), parts in groups.items():
        depths = tuple((0.0, i) for _, i in parts)
        objects.append(DrawnObject(label, tuple(shape for shape, _ in parts), f"group {brief(group)}", depths))
    size = None if content.height is None or content.width is None else (content.height, content.width)
    return Drawing(image, split_of(image) or split_of(file), file.as_posix(), tuple(objects), size)


def _polygon(points: Sequence[Point], touched: bool) -> Shape:
    if len(points) < 3:
        raise ValueError(f"a polygon has at least 3 points, and this one {len(points)}; draw it again or remove it")
    found = np.array(points, dtype=np.float64)
    return Touched(found) if touched else Outline(found)


def _shape(kind: str, drawn: _Shape, touched: bool) -> Shape:
    """Raises ValueError, with a phrase."""
    points = drawn.points
    if kind in ("polygon", "oriented_rectangle"):
        return _polygon(points, touched)
    if kind not in _TWO_POINTS:
        raise ValueError(f"its shape_type is '{brief(kind)}'; known are polygon, oriented_rectangle, {', '.join(_TWO_POINTS)} and {', '.join(_NO_AREA)}")
    if kind == "rectangle" and len(points) == 4:
        return _polygon(points, touched)
    if len(points) != 2:
        raise ValueError(f"a {kind} has 2 points, and this one {len(points)}; draw it again or remove it")
    (x1, y1), (x2, y2) = points
    if kind == "circle" and touched:
        return TouchedCircle(x1, y1, x2, y2)
    if kind == "circle":
        radius = math.hypot(x2 - x1, y2 - y1)
        return Ellipse(x1, y1, radius, radius)
    if kind == "rectangle":
        return (TouchedBox if touched else Box).between(x1, y1, x2, y2)
    if drawn.mask is None:
        raise ValueError("a mask has its image in `mask`, and this one has none; draw it again or remove it")
    if not max(abs(x1), abs(y1)) < 2**31:
        raise ValueError("its points are not those of an image; draw it again or remove it")
    return Bitmap(drawn.mask, int(x1), int(y1), packed=False)


_TWO_POINTS: Mapping[str, str] = {"circle": "middle and rim", "rectangle": "two corners", "mask": "two corners"}
