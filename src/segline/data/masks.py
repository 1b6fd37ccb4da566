"""Object masks in COCO's words: polygons and run-length codes (RLE)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from segline.data import run_lengths
from segline.data.check import brief

LONGEST_OUTLINE = 5e6
"""Pixels, of one annotation's polygons together: pycocotools takes some 60 bytes for each."""

_MERGED = 64
"""Polygons that are united at a time: each union costs as much as what is united already."""

_DIGITS = 8
"""Characters of a compressed count: enough for images of 2³⁹ pixels."""

Points = NDArray[np.float64]


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
    if not all(is_finite(v) for polygon in segmentation for v in polygon) or any(len(polygon) % 2 for polygon in segmentation):
        raise ValueError("its polygons are not lists of x, y pairs; correct the annotation")
    # pycocotools takes a list of four numbers for a box; a polygon of two points has no area.
    polygons = [clipped(np.array(polygon, dtype=np.float64).reshape(-1, 2), size) for polygon in segmentation if len(polygon) >= 6]
    polygons = [polygon for polygon in polygons if len(polygon) >= 3]
    if not polygons:
        return np.zeros(size, dtype=np.bool_)
    length = sum(float(np.abs(np.roll(polygon, 1, axis=0) - polygon).max(axis=1).sum()) for polygon in polygons)
    if length > LONGEST_OUTLINE:
        raise ValueError(f"its outline within the image is {length:.0f} pixels long (at most {LONGEST_OUTLINE:.0f} are drawn); save the mask as RLE")
    parts = rle.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *size)
    while len(parts) > 1:
        parts = [rle.merge(parts[i : i + _MERGED]) for i in range(0, len(parts), _MERGED)]
    return np.asarray(rle.decode(parts[0]), dtype=np.bool_)


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
