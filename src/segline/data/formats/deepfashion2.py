"""DeepFashion2: `<split>/image/000001.jpg` and `<split>/annos/000001.json`, whose `item1`, `item2`, … are garments with polygons, a box and a category.

The splits are train, validation (val) and test. A garment may have several polygons, its parts. Where garments overlap, the smaller one is seen.
Where an item has no polygon, its box is drawn.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter

from segline.data.check import IMAGE_SUFFIXES, Refused, fail
from segline.data.formats.base import Sighting, SourceData
from segline.data.masks import Box, Outline, Shape
from segline.data.reading.drawn import Drawing, DrawnObject, Named, source_of
from segline.data.reading.lookup import Folders, split_of
from segline.data.reading.tree import Tree
from segline.data.reading.typed import Number, Part, checked, parsed, text_of
from segline.errors import DataError

CLASSES = (
    "short sleeve top", "long sleeve top", "short sleeve outwear", "long sleeve outwear", "vest", "sling", "shorts", "trousers", "skirt", "short sleeve dress",
    "long sleeve dress", "vest dress", "sling dress",
)  # fmt: skip
"""By category id, from 1 on."""

_LICENCE = "DeepFashion2: research use"
_ANNOTATIONS, _IMAGES = "annos", "image"


class Settings(Named):
    """Images and annotations in the layout of DeepFashion2."""

    format: Literal["deepfashion2"] = "deepfashion2"


class _Item(Part):
    category: int = Field(alias="category_id", ge=1, le=len(CLASSES))
    segmentation: list[list[Number]] = []
    box: list[Number] = Field(alias="bounding_box", min_length=4, max_length=4)  # x1, y1, x2, y2


_FILE = TypeAdapter(dict[str, Any])
_ITEM = TypeAdapter(_Item)


class DeepFashion2:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        return list(self.read(root, settings).files)

    def read(self, root: Path, settings: Settings) -> SourceData:
        folders = Folders(root)
        files = [file for file in folders.of_type(".json") if file.parent.name == _ANNOTATIONS]
        if not files:
            raise DataError(
                f"{root} is not in the deepfashion2 layout: it needs folders {_ANNOTATIONS}/ with JSON files and {_IMAGES}/ beside them. "
                "Correct data.source or data.format."
            )
        drawings: list[Drawing] = []
        problems: list[str] = []
        used: set[PurePosixPath] = set()
        for file in files:
            image = _image_of(folders, file)
            if image is None:
                problems.append(f"{file}: there is no image {file.parent.parent / _IMAGES / file.stem}.jpg; add the image or remove the file.")
                continue
            used.add(image)
            try:
                drawings.append(Drawing(image, split_of(image), file.as_posix(), _objects(root, file), None))
            except DataError as error:
                problems += error.problems
        refused = [
            Refused(image.as_posix(), f"there is no {image.parent.parent / _ANNOTATIONS / image.stem}.json")
            for image in folders.images
            if image.parent.name == _IMAGES and image not in used
        ]
        return source_of(root, drawings, settings.classes, files=files, listed=CLASSES, refused=refused, licence=_LICENCE, problems=problems)

    def recognise(self, tree: Tree) -> Sighting | None:
        files = [file for file in tree.of_type(".json") if file.parent.name == _ANNOTATIONS]
        content = tree.json(files[0]) if files else None
        if not isinstance(content, dict) or not isinstance(content.get("item1"), dict):
            return None
        return Sighting(0.95, {}, f"{files[0]} and {len(files) - 1} more files with DeepFashion2's items")


FORMAT = DeepFashion2()


def _image_of(folders: Folders, file: PurePosixPath) -> PurePosixPath | None:
    there = file.parent.parent / _IMAGES
    return next((there / f"{file.stem}{suffix}" for suffix in sorted(IMAGE_SUFFIXES) if folders.has(there / f"{file.stem}{suffix}")), None)


def _objects(root: Path, file: PurePosixPath) -> tuple[DrawnObject, ...]:
    """Raises DataError."""
    content = parsed(_FILE, text_of(root, file), file.as_posix())
    objects: list[DrawnObject] = []
    problems: list[str] = []
    for key, value in content.items():
        if not key.startswith("item"):
            continue
        try:
            item = checked(_ITEM, value, f"{file}, {key}")
        except DataError as error:
            problems += error.problems
            continue
        if any(len(polygon) % 2 or len(polygon) < 6 for polygon in item.segmentation):
            problems.append(f"{file}, {key}: its polygons are not lists of at least three x, y pairs; correct the file or remove the item.")
            continue
        shapes: tuple[Shape, ...] = tuple(Outline(np.array(polygon, dtype=np.float64).reshape(-1, 2)) for polygon in item.segmentation)
        objects.append(DrawnObject(CLASSES[item.category - 1], shapes or (Box.between(*item.box),), key))
    fail(problems)
    return tuple(objects)
