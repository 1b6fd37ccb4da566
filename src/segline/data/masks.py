"""Object masks in COCO's words, polygons and run-length codes (RLE), and the other shapes that annotation tools draw.

All are rasterised by one rule, COCO's, by which masks are scored as well: x and y are in pixels from the image's upper left corner, the pixel (0, 0) is the
square from 0 to 1, and a shape covers the pixels whose centre it holds, as pycocotools draws it. Tools whose own exports count other pixels differ from this
by pixels of the outline alone; `segline.data.tool_shapes` draws as they do.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from segline.data import run_lengths
from segline.data.check import brief
from segline_runtime.errors import InputError
from segline_runtime.images import MOST_PIXELS, UNNAMED, decoding, open_picture

LONGEST_OUTLINE = 5e6
"""Pixels, of one annotation's polygons together: pycocotools takes some 60 bytes for each."""

_MERGED = 64
"""Polygons that are united at a time: each union costs as much as what is united already."""

_PNG = b"\x89PNG"

_DIGITS = 8
"""Characters of a compressed count: enough for images of 2³⁹ pixels."""

Points = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Shape(Protocol):
    """Something that a tool draws."""

    def draw(self, size: tuple[int, int]) -> Mask:
        """Its mask in an image of `size` (height, width). Raises ValueError, with a phrase."""


@dataclass(frozen=True, eq=False)
class Outline:
    """A polygon `(N, 2)` of x, y, without the pixels of its holes, each a polygon, too."""

    points: Points
    holes: tuple[Points, ...] = ()
    relative: bool = False  # whether x and y are shares of the image's width and height

    def corners(self, size: tuple[int, int]) -> Points:
        """`points` in pixels of an image of `size` (height, width)."""
        return self.points * np.array(size[::-1], dtype=np.float64) if self.relative else self.points

    def draw(self, size: tuple[int, int]) -> Mask:
        scale = np.array(size[::-1], dtype=np.float64) if self.relative else 1.0
        mask = decode_mask([self.corners(size).ravel().tolist()], size)
        for hole in self.holes:
            mask &= ~decode_mask([(hole * scale).ravel().tolist()], size)
        return mask


@dataclass(frozen=True)
class Box:
    """A rectangle, by its upper left corner and its sides."""

    x: float
    y: float
    width: float
    height: float
    relative: bool = False  # whether these are shares of the image's sides

    @classmethod
    def between(cls, x1: float, y1: float, x2: float, y2: float) -> Box:
        """By two opposite corners, in any order."""
        return cls(min(x1, x2), min(y1, y2), abs(x2 - x1), abs(y2 - y1))

    def at(self, size: tuple[int, int]) -> Box:
        """In pixels of an image of `size` (height, width)."""
        height, width = size
        return Box(self.x * width, self.y * height, self.width * width, self.height * height) if self.relative else self

    def within(self, size: tuple[int, int]) -> tuple[float, float, float, float] | None:
        """xywh of the part that lies in an image of `size` (height, width); None where nothing does."""
        here = self.at(size)
        x, y, width, height = here.x, here.y, here.width, here.height
        left, top, right, bottom = max(0.0, x), max(0.0, y), min(float(size[1]), x + width), min(float(size[0]), y + height)
        if right <= left or bottom <= top:
            return None
        whole = (left, top, right, bottom) == (x, y, x + width, y + height)
        return (x, y, width, height) if whole else (left, top, right - left, bottom - top)

    def draw(self, size: tuple[int, int]) -> Mask:
        return self.at(size).turned(0.0).draw(size)

    def turned(self, degrees: float) -> Outline:
        """Turned clockwise about its middle, as the image shows it."""
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64) * (self.width, self.height)
        if degrees:
            middle = np.array([self.width / 2, self.height / 2])
            cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            corners = (corners - middle) @ np.array([[cosine, sine], [-sine, cosine]]) + middle
        return Outline(corners + np.array([self.x, self.y]))


@dataclass(frozen=True)
class Ellipse:
    """An ellipse by its middle and half its axes, turned clockwise."""

    x: float
    y: float
    rx: float
    ry: float
    degrees: float = 0.0

    def draw(self, size: tuple[int, int]) -> Mask:
        mask = np.zeros(size, dtype=np.bool_)
        if self.rx <= 0 or self.ry <= 0:
            return mask
        reach = max(self.rx, self.ry)
        top, bottom = _pixels(self.y - reach, self.y + reach, size[0])
        left, right = _pixels(self.x - reach, self.x + reach, size[1])
        if top < bottom and left < right:
            dy = np.arange(top, bottom)[:, None] + 0.5 - self.y
            dx = np.arange(left, right)[None] + 0.5 - self.x
            cosine, sine = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
            with np.errstate(over="ignore"):  # beyond the largest number is outside
                along, across = (dx * cosine + dy * sine) / self.rx, (dy * cosine - dx * sine) / self.ry
                mask[top:bottom, left:right] = along**2 + across**2 <= 1
        return mask


@dataclass(frozen=True)
class Bitmap:
    """A mask image in base64 text, zlib-compressed or not, whose upper left pixel lies at x, y. Opaque, or other than 0, is the object."""

    text: str
    x: int
    y: int
    packed: bool

    def draw(self, size: tuple[int, int]) -> Mask:
        return placed(_decoded(self.text, self.packed), self.x, self.y, size)


@dataclass(frozen=True)
class Runs:
    """Run lengths of a box's pixels row by row, beginning with those that are not the object's (CVAT)."""

    counts: NDArray[np.int64]
    x: int
    y: int
    width: int
    height: int

    def draw(self, size: tuple[int, int]) -> Mask:
        if self.width < 0 or self.height < 0 or int(self.counts.min(initial=0)) < 0 or sum(self.counts.tolist()) != self.width * self.height:
            raise ValueError(f"its run lengths do not add up to the {brief(self.width)}x{brief(self.height)} pixels of its box; export the annotations again")
        if self.width * self.height > MOST_PIXELS:
            raise ValueError(f"its box has {self.width}x{self.height} pixels, more than an image may have; export the annotations again")
        values = np.arange(len(self.counts)) % 2 == 1
        return placed(np.repeat(values, self.counts).reshape(self.height, self.width), self.x, self.y, size)


def placed(part: Mask, x: int, y: int, size: tuple[int, int]) -> Mask:
    """A mask whose upper left pixel lies at x, y, in an image of `size` (height, width); what lies beyond the image is cut off."""
    mask = np.zeros(size, dtype=np.bool_)
    top, left = max(0, y), max(0, x)
    bottom, right = min(size[0], y + part.shape[0]), min(size[1], x + part.shape[1])
    if top < bottom and left < right:
        mask[top:bottom, left:right] = part[top - y : bottom - y, left - x : right - x]
    return mask


def _pixels(start: float, end: float, most: int) -> tuple[int, int]:
    """Pixels that a range of coordinates may touch, cut off at the image's border."""
    return int(min(max(start, 0), most)), int(min(max(math.ceil(min(end, most)), 0), most))


def _decoded(text: str, packed: bool) -> Mask:
    """Raises ValueError, with a phrase."""
    broken = ValueError("its bitmap is no PNG image in base64 text; export the annotations again")
    try:
        content = base64.b64decode(text, validate=True)
        if packed and not content.startswith(_PNG):  # some tools leave out what they need not pack
            unpacker = zlib.decompressobj()
            content = unpacker.decompress(content, MOST_PIXELS)
            if unpacker.unconsumed_tail:
                raise broken
        with decoding(UNNAMED), open_picture(content) as image:
            # Tools write what is no object as transparent, or as 0.
            shown = image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image
            channels = shown.getchannel("A") if "A" in shown.getbands() else shown
            pixels = np.asarray(channels)
    except (binascii.Error, zlib.error, InputError, ValueError, OSError):
        raise broken from None
    return np.asarray(pixels.any(axis=-1) if pixels.ndim == 3 else pixels != 0, dtype=np.bool_)


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """`segmentation` (compressed RLE), `area` (of the mask) and `bbox` (xywh, of the mask) of a COCO annotation."""
    encoded = run_lengths.encode(mask)
    box = [float(v) for v in rle.toBbox(encoded)]
    return {"segmentation": {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}, "area": int(rle.area(encoded)), "bbox": box}


def decode_mask(segmentation: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Polygons, RLE counts or a compressed RLE as a mask `(H, W)`. Raises ValueError, with a phrase, for what is none of these or of another size."""
    if isinstance(segmentation, dict):
        return _decode_runs(segmentation.get("counts"), segmentation.get("size"), size)
    if not isinstance(segmentation, list) or not all(isinstance(polygon, list) for polygon in segmentation):
        raise ValueError("it has no `segmentation` of polygons or RLE; annotate a mask, or remove the annotation")
    drawn = [_points(polygon) for polygon in segmentation]
    # pycocotools takes a list of four numbers for a box; a polygon of two points has no area.
    polygons = [clipped(points, size) for points in drawn if len(points) >= 3]
    polygons = [polygon for polygon in polygons if len(polygon) >= 3]
    if not polygons:
        return np.zeros(size, dtype=np.bool_)
    # No edge is longer than three times the image, so that few corners need not be looked at.
    if 3 * max(size) * sum(len(polygon) for polygon in polygons) > LONGEST_OUTLINE:
        length = sum(float(np.abs(np.roll(polygon, 1, axis=0) - polygon).max(axis=1).sum()) for polygon in polygons)
        if length > LONGEST_OUTLINE:
            raise ValueError(f"its outline within the image is {length:.0f} pixels long (at most {LONGEST_OUTLINE:.0f} are drawn); save the mask as RLE")
    parts = rle.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *size)
    while len(parts) > 1:
        parts = [rle.merge(parts[i : i + _MERGED]) for i in range(0, len(parts), _MERGED)]
    mask: Mask = rle.decode(parts[0]).view(np.bool_)
    return mask


def _points(polygon: list[Any]) -> Points:
    """A polygon's list of x and y as `(N, 2)`. Raises ValueError, with a phrase."""
    broken = ValueError("its polygons are not lists of x, y pairs; correct the annotation")
    # What JSON reads as numbers is converted at once: there are many corners.
    if len(polygon) % 2 or not (set(map(type, polygon)) <= {float, int} or all(is_finite(value) for value in polygon)):
        raise broken
    try:
        points = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    except OverflowError:
        raise broken from None
    if not np.isfinite(points).all():
        raise broken
    return points


def is_finite(value: Any) -> bool:
    """Whether a value of JSON is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def clipped(polygon: Points, size: tuple[int, int]) -> Points:
    """A polygon `(N, 2)` of x, y cut off at its image's size (height, width) beyond each border of the image, where it reaches farther.

    Within these lines it covers what it covered before (Sutherland and Hodgman 1974), and its outline is short enough to be drawn.
    """
    height, width = float(size[0]), float(size[1])
    x, y = polygon[:, 0], polygon[:, 1]
    if len(polygon) and x.min() >= -width and x.max() <= 2 * width and y.min() >= -height and y.max() <= 2 * height:
        return polygon
    for axis, side in ((0, float(size[1])), (1, float(size[0]))):
        polygon = _cut(polygon, axis, -side, 1.0)
        polygon = _cut(polygon, axis, 2 * side, -1.0)
    return polygon


def _cut(polygon: Points, axis: int, bound: float, sign: float) -> Points:
    """What of a polygon lies on one side of a line: where the coordinate `axis` times `sign` is at least `bound` times `sign`."""
    inside = polygon[:, axis] * sign >= bound * sign
    if inside.all():
        return polygon
    kept: list[Points] = []
    for i in range(len(polygon)):
        if inside[i] != inside[i - 1]:
            kept.append(_crossing(polygon[i - 1], polygon[i], axis, bound))
        if inside[i]:
            kept.append(polygon[i])
    return np.array(kept, dtype=np.float64).reshape(-1, 2)


def _crossing(start: Points, end: Points, axis: int, bound: float) -> Points:
    """Where the line from one point to another crosses the coordinate `bound` of an axis."""
    # Of halves, as the difference of the largest numbers is more than a float can hold.
    share = (bound / 2 - start[axis] / 2) / (end[axis] / 2 - start[axis] / 2)
    point = start * (1 - share) + end * share
    point[axis] = bound
    return np.asarray(point, dtype=np.float64)


def _decode_runs(counts: Any, said: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    if not isinstance(said, Sequence) or list(said) != list(size):
        raise ValueError(f"its RLE mask is of size {brief(said)}, but the image is {list(size)} (height, width); correct the annotation")
    if isinstance(counts, str):
        counts = _uncompress(counts)
    if not isinstance(counts, list) or any(not isinstance(c, int) or c < 0 for c in counts) or sum(counts) != size[0] * size[1]:
        raise ValueError("its RLE counts do not add up to the pixels of the image; correct the annotation")
    runs = np.arange(len(counts)) % 2 == 1
    return np.repeat(runs, counts).reshape(size[1], size[0]).T  # columns first


def _uncompress(text: str) -> list[int]:
    """COCO's compressed counts: 5 bits a character, differences to the count before last.

    Decoded here, as pycocotools does not check their sum before it writes to memory.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift >= 5 * _DIGITS:
            raise ValueError("its compressed RLE holds characters that do not belong there; correct the annotation")
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            if code & 0x10:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts
