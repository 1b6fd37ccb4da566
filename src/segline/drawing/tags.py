"""Names beside the objects and in the regions of a picture, none of which lies on another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from segline.data.store import BACKDROP
from segline.drawing.fonts import brief, font, letter_size
from segline.drawing.paint import Colour, DrawnObject, Picture
from segline_runtime.masks import extent
from segline_runtime.specification import ClassInfo

_SMALLEST_REGION = 0.004  # share of the picture, from which on a region gets its name written into it
_INSIDE = 0.6  # share of a region's name that must lie in the region
_THUMBNAIL = 400  # pixels of the longer side, at which regions are looked at
_RINGS = 7  # how far a name may move away from its object, in lines of text


@dataclass(frozen=True)
class _Tag:
    """A name with the places that it may take, best first; the colour is that of what it names."""

    text: str
    colour: Colour
    places: Iterable[_Place]


@dataclass(frozen=True)
class _Place:
    """Upper left corner of a tag, in pixels, and the point (x, y) that a line leads to, where it stands apart."""

    x: int
    y: int
    leads_to: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Size:
    """Of a tag, in pixels."""

    width: int
    height: int


def tag_objects(picture: Picture, objects: Sequence[DrawnObject]) -> Picture:
    """The tags of objects, of which the first have the choice: at its box, or nearby with a line to it. Where a crowd leaves no place a tag is left out."""
    letters = font(letter_size(picture.shape))
    tags = []
    for drawn in objects:
        if drawn.tag and drawn.mask.any():
            size = _size(drawn.tag, letters)
            tags.append(_Tag(drawn.tag, drawn.colour, _places_of_object(drawn.mask, size)))
    return _written(picture, tags, letters)


def tag_regions(picture: Picture, ids: Picture, classes: Sequence[ClassInfo]) -> Picture:
    """The name of each painted class in its largest region of the class ids `(H, W)`, where there is room for it; larger regions have the choice."""
    letters = font(letter_size(picture.shape))
    scale = min(1.0, _THUMBNAIL / max(ids.shape))
    small = cv2.resize(ids, (max(1, round(ids.shape[1] * scale)), max(1, round(ids.shape[0] * scale))), interpolation=cv2.INTER_NEAREST_EXACT)
    found = []
    for info in classes:
        region = small == info.id
        if info.color == BACKDROP or not region.any():
            continue
        area, x, y = _widest_place(region)
        name = brief(info.name)
        size = _size(name, letters)
        place = _Place(round(x / scale) - size.width // 2, round(y / scale) - size.height // 2)
        rows, columns = slice(max(place.y, 0), place.y + size.height), slice(max(place.x, 0), place.x + size.width)
        inside = np.count_nonzero(ids[rows, columns] == info.id)
        if area >= _SMALLEST_REGION * small.size and inside >= _INSIDE * size.width * size.height:
            found.append((area, _Tag(name, info.color, [place])))
    found.sort(key=lambda entry: -entry[0])
    return _written(picture, [tag for _, tag in found], letters)


def _widest_place(region: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Of the largest connected part of a region `(h, w)`: its pixels, and the point (x, y) farthest from its border."""
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=4)
    largest = 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
    distances = cv2.distanceTransform(np.pad((parts == largest).astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(np.argmax(distances)), distances.shape)
    return int(statistics[largest, cv2.CC_STAT_AREA]), int(x), int(y)


def _places_of_object(mask: NDArray[np.bool_], size: _Size) -> Iterator[_Place]:
    """At the corners of the object's box, outside and then inside; in its middle; then in rings around it."""
    rows, columns = extent(mask)
    top, bottom, left, right = rows.start, rows.stop, columns.start, columns.stop
    for y in (top - size.height, bottom, top, bottom - size.height):
        for x in (left, right - size.width):
            yield _Place(x, y)
    _, x, y = _widest_place(mask[rows, columns])
    center = (left + x, top + y)
    yield _Place(center[0] - size.width // 2, center[1] - size.height // 2)
    for ring in range(1, _RINGS + 1):
        for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False) - np.pi / 2:
            x = round(center[0] + np.cos(angle) * (size.width / 2 + 1.2 * ring * size.height)) - size.width // 2
            y = round(center[1] + np.sin(angle) * 1.5 * ring * size.height) - size.height // 2
            yield _Place(x, y, center)


def _written(picture: Picture, tags: Sequence[_Tag], letters: ImageFont.FreeTypeFont) -> Picture:
    if not tags:
        return picture
    height, width = picture.shape[:2]
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    taken = np.zeros((height, width), dtype=np.bool_)
    placed = []
    for tag in tags:
        size = _size(tag.text, letters)
        place = next((place for place in tag.places if _free(taken, place, size)), None)
        if place is not None:
            taken[place.y : place.y + size.height, place.x : place.x + size.width] = True
            placed.append((tag, place, size))
    for tag, place, size in placed:
        if place.leads_to is not None:
            draw.line([(place.x + size.width // 2, place.y + size.height // 2), place.leads_to], fill=tag.colour, width=max(1, size.height // 9))
    for tag, place, size in placed:
        box = (place.x, place.y, place.x + size.width - 1, place.y + size.height - 1)
        draw.rounded_rectangle(box, radius=size.height // 5, fill=tag.colour)
        draw.text((place.x + size.width / 2, place.y + size.height / 2), tag.text, font=letters, fill=_ink_on(tag.colour), anchor="mm")
    return np.asarray(canvas)


def _free(taken: NDArray[np.bool_], place: _Place, size: _Size) -> bool:
    """Whether a tag lies inside the picture, and on no other one."""
    height, width = taken.shape
    inside = place.x >= 0 and place.y >= 0 and place.x + size.width <= width and place.y + size.height <= height
    return inside and not taken[place.y : place.y + size.height, place.x : place.x + size.width].any()


def _size(text: str, letters: ImageFont.FreeTypeFont) -> _Size:
    return _Size(round(letters.getlength(text) + 0.7 * letters.size), round(1.35 * letters.size))


def _ink_on(colour: Colour) -> Colour:
    """Black on light colours, white on dark ones (luminance of ITU-R BT.601)."""
    return (0, 0, 0) if 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140 else (255, 255, 255)
