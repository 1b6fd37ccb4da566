"""VGG Image Annotator (VIA) 1.x and 2.x: one or several JSON files, exported annotations or saved projects (`_via_img_metadata`).

Read are polygons, rectangles, circles and ellipses, and polylines that end where they began; points and open polylines have no area and are left out, counted.
The class is what `region_attributes` say by the attribute `data.attribute`; without it, by the one attribute there is, or one called class, label, name, type,
category or object. Regions without any attribute are objects of the class `object`. Where objects overlap, the smaller one is seen.
Folders called train, val, test are the splits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter

from segline.choices import nearest
from segline.data.check import brief, fail, name_list
from segline.data.formats.base import Sighting, SourceData
from segline.data.masks import Box, Ellipse, Outline, Shape
from segline.data.reading.drawn import Drawing, DrawnObject, Named, source_of
from segline.data.reading.lookup import Folders, paths, split_of
from segline.data.reading.tree import Tree
from segline.data.reading.typed import Number, Part, parsed, text_of
from segline.errors import DataError

_USUAL = ("class", "label", "name", "type", "category", "object", "class_name", "label_name")
"""Attributes that people call a class by, the likeliest first."""

_UNNAMED = "object"


class Settings(Named):
    """JSON files of the VGG Image Annotator."""

    format: Literal["via"] = "via"
    attribute: str | None = None  # the region attribute that names the class; default: the only one, or one called class, label, name, type …


class _ShapeOf(Part):
    name: str
    x: Number | None = None
    y: Number | None = None
    width: Number | None = None
    height: Number | None = None
    cx: Number | None = None
    cy: Number | None = None
    r: Number | None = None
    rx: Number | None = None
    ry: Number | None = None
    theta: Number = 0.0  # radians
    all_points_x: list[Number] = []
    all_points_y: list[Number] = []


class _Region(Part):
    shape: _ShapeOf = Field(alias="shape_attributes")
    attributes: dict[str, Any] = Field(default={}, alias="region_attributes")


class _Image(Part):
    filename: str
    regions: list[_Region] | dict[str, _Region] = []

    def drawn(self) -> list[_Region]:
        return list(self.regions.values()) if isinstance(self.regions, dict) else list(self.regions)


class _Project(Part):
    images: dict[str, _Image] = Field(alias="_via_img_metadata")


_IMAGES = TypeAdapter(dict[str, _Image])
_PROJECT = TypeAdapter(_Project)


class Via:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:  # noqa: ARG002
        folders = Folders(root)
        contents = _contents(root, folders)
        found = [_image_of(folders, file, image) for file, images in contents.items() for image in images]
        return list(paths([*contents, *(image for image in found if isinstance(image, PurePosixPath))]))

    def read(self, root: Path, settings: Settings) -> SourceData:
        folders = Folders(root)
        contents = _contents(root, folders)
        attribute = _attribute([region for images in contents.values() for image in images for region in image.drawn()], settings.attribute)
        drawings: list[Drawing] = []
        problems: list[str] = []
        skipped: Counter[str] = Counter()
        for file, images in contents.items():
            for image in images:
                found = _image_of(folders, file, image)
                if isinstance(found, str):
                    problems.append(found)
                    continue
                objects = []
                for i, region in enumerate(image.drawn(), start=1):
                    try:
                        shape = _shape(region.shape)
                        name = _class(region, attribute)
                    except ValueError as error:
                        problems.append(f"{file}, region {i} of {found}: {error}.")
                        continue
                    if shape is None:
                        skipped[region.shape.name] += 1
                    else:
                        objects.append(DrawnObject(name, (shape,), f"region {i}"))
                drawings.append(Drawing(found, split_of(found), file.as_posix(), tuple(objects), None))
        return source_of(root, drawings, settings.classes, files=list(contents), skipped=skipped, problems=problems)

    def recognise(self, tree: Tree) -> Sighting | None:
        found = [file for file in tree.of_type(".json")[:50] if '"filename"' in (tree.text(file) or "") and _is_ours(tree.json(file))]
        return Sighting(0.95, {}, f"{found[0]}, with VIA's regions") if found else None


FORMAT = Via()


def _is_ours(content: Any) -> bool:
    if not isinstance(content, dict):
        return False
    images = content.get("_via_img_metadata", content)
    return isinstance(images, dict) and bool(images) and all(isinstance(image, dict) and {"filename", "regions"} <= image.keys() for image in images.values())


def _contents(root: Path, folders: Folders) -> dict[PurePosixPath, list[_Image]]:
    """The images of each annotation file."""
    found: dict[PurePosixPath, list[_Image]] = {}
    problems: list[str] = []
    for file in folders.of_type(".json"):
        try:
            text = text_of(root, file)
            if '"filename"' not in text and '"_via_img_metadata"' not in text:
                continue
            if '"_via_img_metadata"' in text:
                found[file] = list(parsed(_PROJECT, text, file.as_posix()).images.values())
            else:
                found[file] = list(parsed(_IMAGES, text, file.as_posix()).values())
        except DataError as error:
            problems += error.problems
    fail(problems)
    if not found:
        raise DataError(
            f"{root} is not in the via layout: there is no JSON file whose images have `filename` and `regions`. Correct data.source or data.format."
        )
    return found


def _image_of(folders: Folders, file: PurePosixPath, image: _Image) -> PurePosixPath | str:
    """Where an image is, or a sentence."""
    try:
        return folders.image(image.filename, file.parent)
    except ValueError as error:
        return f"{file} {error}."


def _attribute(regions: Sequence[_Region], chosen: str | None) -> str | None:
    """The attribute that names the class; None where regions have none. Raises DataError where it cannot be told."""
    there = Counter(name for region in regions for name, value in region.attributes.items() if value not in ("", None, {}))
    if chosen is not None:
        if chosen not in there:
            near = nearest(chosen, there)
            hint = f"did you mean '{near}'?" if near else f"there are {name_list(there)}." if there else "they have none at all; remove the line."
            raise DataError(f"data.attribute: no region has the attribute '{chosen}'; {hint}")
        return chosen
    if len(there) <= 1:
        return next(iter(there), None)
    usual = [name for word in _USUAL for name in there if name.lower() == word]
    if not usual:
        raise DataError(f"The regions have the attributes {name_list(there)}; set data.attribute to the one that names the class.")
    return usual[0]


def _class(region: _Region, attribute: str | None) -> str:
    """Raises ValueError, with a phrase."""
    if attribute is None:
        return _UNNAMED
    value = region.attributes.get(attribute)
    if isinstance(value, dict):  # check boxes
        marked = [name for name, on in value.items() if on]
        if len(marked) == 1:
            return str(marked[0])
        raise ValueError(f"its attribute '{attribute}' names {len(marked)} classes; mark one")
    if not isinstance(value, str) or not value.strip():
        raise ValueError(
            f"its attribute '{attribute}' is {'missing' if value in (None, '') else brief(value)}; give it the name of a class, or remove the region"
        )
    return value.strip()


def _shape(shape: _ShapeOf) -> Shape | None:
    """None for what has no area. Raises ValueError, with a phrase."""
    match shape.name:
        case "polygon" | "polyline":
            xs, ys = shape.all_points_x, shape.all_points_y
            if len(xs) != len(ys):
                raise ValueError(f"it has {len(xs)} x and {len(ys)} y; correct it, or draw it again")
            closed = len(xs) > 3 and (xs[0], ys[0]) == (xs[-1], ys[-1])
            if shape.name == "polyline" and not closed:
                return None
            if len(xs) < 3:
                raise ValueError(f"a polygon has at least 3 points, and this one {len(xs)}; draw it again or remove it")
            return Outline(np.array([xs, ys], dtype=np.float64).T)
        case "rect":
            x, y, width, height = _needed(shape, "x", "y", "width", "height")
            return Box.between(x, y, x + width, y + height)
        case "circle":
            cx, cy, r = _needed(shape, "cx", "cy", "r")
            return Ellipse(cx, cy, r, r)
        case "ellipse":
            cx, cy, rx, ry = _needed(shape, "cx", "cy", "rx", "ry")
            return Ellipse(cx, cy, rx, ry, math.degrees(math.remainder(shape.theta, math.tau)))
        case "point":
            return None
    raise ValueError(f"its shape is called '{brief(shape.name)}'; known are polygon, polyline, rect, circle, ellipse and point")


def _needed(shape: _ShapeOf, *keys: str) -> list[float]:
    values: list[float] = []
    for key in keys:
        value = getattr(shape, key)
        if value is None:
            raise ValueError(f"its {shape.name} lacks {key}; draw it again or remove it")
        values.append(value)
    return values
