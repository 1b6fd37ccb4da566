"""Labelbox: exports of version 2, one JSON object per line (`.ndjson`), or a list of them (`.json`).

Read are polygons and bounding boxes, and masks whose image lies in the folder; points and lines have no area and are left out, counted.
Labelbox gives masks by address: what `mask.url` names must have been saved in the folder under the last part of that address, or as
`<feature_id>.png`. An image is found by its `external_id`, `global_key` or the name at the end of `row_data`. What is listed later lies above.
Polygons and boxes cover the pixels that Labelbox' own SDK gives them: whole coordinates, those of the outline with them.
Data rows that nobody labelled are left out and listed. Folders called train, val, test are the splits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from segline.data.check import Refused, brief, decode, fail, read_bytes
from segline.data.formats.base import Sighting, SourceData
from segline.data.masks import Mask, Shape
from segline.data.reading.drawn import Drawing, DrawnObject, Named, source_of
from segline.data.reading.lookup import Folders, split_of
from segline.data.reading.tree import Tree
from segline.data.reading.typed import Number, Part, Side, parsed, text_of
from segline.data.tool_shapes import Filled, FilledBox
from segline.errors import DataError


class Settings(Named):
    """Labelbox exports (version 2), with their images."""

    format: Literal["labelbox"] = "labelbox"


class _Point(Part):
    x: Number
    y: Number


class _Box(Part):
    top: Number
    left: Number
    height: Number
    width: Number


class _Mask(Part):
    url: str
    color_rgba: tuple[int, int, int, int] | None = None  # of composite masks: the object's colour in an image of several


class _Object(Part):
    name: str
    feature_id: str = ""
    polygon: list[_Point] | None = None
    bounding_box: _Box | None = None
    mask: _Mask | None = None
    composite_mask: _Mask | None = None
    point: _Point | None = None
    line: list[_Point] | None = None


class _Annotations(Part):
    objects: list[_Object] = []


class _Label(Part):
    annotations: _Annotations


class _ProjectOf(Part):
    labels: list[_Label] = []


class _DataRow(Part):
    external_id: str | None = None
    global_key: str | None = None
    row_data: str | None = None


class _Media(Part):
    height: Side | None = None
    width: Side | None = None


class _Row(Part):
    data_row: _DataRow
    media_attributes: _Media = _Media()
    projects: dict[str, _ProjectOf] = {}


_ROW = TypeAdapter(_Row)
_ROWS: TypeAdapter[list[_Row]] = TypeAdapter(list[_Row])


class Labelbox:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        return list(self.read(root, settings).files)

    def read(self, root: Path, settings: Settings) -> SourceData:
        folders = Folders(root)
        contents = _contents(root, folders)
        drawings: list[Drawing] = []
        refused: list[Refused] = []
        problems: list[str] = []
        skipped: Counter[str] = Counter()
        masks: list[PurePosixPath] = []
        for file, rows in contents.items():
            for number, row in rows:
                where = f"{file}, line {number}"
                image = _image_of(folders, file, row.data_row)
                if image is None:
                    problems.append(f"{where}: {_missing(row.data_row)}")
                    continue
                labels = [label for project in row.projects.values() for label in project.labels]
                if not labels:
                    refused.append(Refused(image.as_posix(), f"{where}: nobody labelled it"))
                    continue
                if len(labels) > 1:
                    problems.append(f"{where}: {image} was labelled {len(labels)} times; export one label for each data row.")
                    continue
                objects = []
                for i, drawn in enumerate(labels[0].annotations.objects, start=1):
                    try:
                        shape = _shape(root, folders, drawn, masks)
                    except ValueError as error:
                        problems.append(f"{where}, object {i} ('{brief(drawn.name)}'): {error}.")
                        continue
                    if shape is None:
                        skipped["point" if drawn.point is not None else "line"] += 1
                    else:
                        objects.append(DrawnObject(drawn.name, (shape,), f"line {number}, object {i}"))
                media = row.media_attributes
                size = None if media.height is None or media.width is None else (media.height, media.width)
                drawings.append(Drawing(image, split_of(image), file.as_posix(), tuple(objects), size))
        listed = [*contents, *masks]
        return source_of(root, drawings, settings.classes, files=listed, ordered=True, refused=refused, skipped=skipped, problems=problems)

    def recognise(self, tree: Tree) -> Sighting | None:
        for file in tree.of_type(".ndjson", ".jsonl", ".json")[:50]:
            text = tree.text(file) or ""
            if '"data_row"' in text and '"projects"' in text:
                return Sighting(0.95, {}, f"{file}, with Labelbox's data rows")
        return None


FORMAT = Labelbox()


@dataclass(frozen=True)
class _MaskFile:
    """A mask that was saved from Labelbox: white, or one colour of several, is the object."""

    root: Path
    file: PurePosixPath
    colour: tuple[int, int, int, int] | None

    def draw(self, size: tuple[int, int]) -> Mask:
        try:
            image = decode(read_bytes(self.root / self.file, self.file.as_posix()), self.file.as_posix())
        except DataError as error:
            raise ValueError(str(error).rstrip(".")) from None
        if image.size != size[::-1]:
            raise ValueError(f"its mask {self.file} is {image.width}x{image.height} pixels; save the mask as Labelbox gives it")
        if self.colour is not None:
            pixels: NDArray[np.uint8] = np.asarray(image.convert("RGB"))
            return np.asarray((pixels == self.colour[:3]).all(axis=2), dtype=np.bool_)
        return np.asarray(np.asarray(image.convert("L")) > 0, dtype=np.bool_)


def _contents(root: Path, folders: Folders) -> dict[PurePosixPath, list[tuple[int, _Row]]]:
    """The data rows of each export with the numbers of their lines."""
    found: dict[PurePosixPath, list[tuple[int, _Row]]] = {}
    problems: list[str] = []
    for file in folders.of_type(".ndjson", ".jsonl", ".json"):
        try:
            text = text_of(root, file)
            if '"data_row"' not in text:
                continue
            if text.lstrip().startswith("["):
                rows = parsed(_ROWS, text, file.as_posix())
                found[file] = list(enumerate(rows, start=1))
            else:
                lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
                found[file] = [(number, row) for number, line in lines if (row := _row(line, f"{file}, line {number}", problems)) is not None]
        except DataError as error:
            problems += error.problems
    fail(problems)
    if not found:
        raise DataError(f"{root} is not in the labelbox layout: there is no .ndjson file whose lines have `data_row`. Correct data.source or data.format.")
    return found


def _row(line: str, where: str, problems: list[str]) -> _Row | None:
    try:
        return parsed(_ROW, line, where)
    except DataError as error:
        problems += error.problems
        return None


def _image_of(folders: Folders, file: PurePosixPath, row: _DataRow) -> PurePosixPath | None:
    for name in _names(row):
        try:
            return folders.image(name, file.parent)
        except ValueError:
            continue
    return None


def _names(row: _DataRow) -> list[str]:
    """What an image may be called."""
    return [name for name in (row.external_id, row.global_key, _last(row.row_data or "")) if name]


def _last(url: str) -> str:
    """The name at the end of an address."""
    try:
        return PurePosixPath(unquote(urlsplit(url).path)).name
    except ValueError:
        return ""


def _missing(row: _DataRow) -> str:
    names = _names(row)
    if not names:
        return "the data row has neither external_id nor global_key nor row_data, so its image cannot be told; export it again."
    return f"there is no image '{brief(names[0])}' in the folder, or several; add the image under this name, or remove the line."


def _shape(root: Path, folders: Folders, drawn: _Object, masks: list[PurePosixPath]) -> Shape | None:
    """None for what has no area. Raises ValueError, with a phrase."""
    if drawn.polygon is not None:
        if len(drawn.polygon) < 3:
            raise ValueError(f"a polygon has at least 3 points, and this one {len(drawn.polygon)}; draw it again or remove it")
        return Filled(np.array([(point.x, point.y) for point in drawn.polygon], dtype=np.float64), whole="trunc")
    if drawn.bounding_box is not None:
        box = drawn.bounding_box
        return FilledBox.between(box.left, box.top, box.left + box.width, box.top + box.height)
    mask = drawn.mask or drawn.composite_mask
    if mask is not None:
        file = _saved(folders, [f"{drawn.feature_id}.png" if drawn.mask else "", _last(mask.url), f"{_last(mask.url)}.png"])
        if file is None:
            raise ValueError(
                f"its mask is at an address ({brief(mask.url)}), and addresses are not read; save it in the folder as {drawn.feature_id or 'mask'}.png, "
                "or export polygons"
            )
        masks.append(file)
        return _MaskFile(root, file, mask.color_rgba)
    if drawn.point is not None or drawn.line is not None:
        return None
    raise ValueError("it has neither polygon nor bounding_box nor mask; remove it, or export it again")


def _saved(folders: Folders, names: Sequence[str]) -> PurePosixPath | None:
    for name in names:
        try:
            if name:
                return folders.image(name)
        except ValueError:
            continue
    return None
