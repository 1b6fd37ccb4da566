"""The `bbox` and `area` that COCO's annotations give an object beside its mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.masks import is_finite
from segline_runtime.masks import extent

_LEAST_IOU = 0.5
"""Of an object's box with that of its mask; below it, the box is none of this object."""

_NEAR = 1.0
"""Pixels; where no edge is farther off, the box is the object's, however small both are."""

Box = tuple[float, float, float, float]


def box_of(box: Any, size: tuple[int, int]) -> Box | None:
    """A `bbox` (xywh) cut off at the borders of an image of `size` (height, width); None where nothing is left. Raises ValueError, with a phrase."""
    if not isinstance(box, list) or len(box) != 4 or not all(is_finite(v) for v in box):
        raise ValueError("its `bbox` is not [x, y, width, height]; correct the annotation, or remove it")
    x, y, width, height = (float(v) for v in box)
    left, top, right, bottom = max(0.0, x), max(0.0, y), min(float(size[1]), x + width), min(float(size[0]), y + height)
    if right <= left or bottom <= top:
        return None
    whole = (left, top, right, bottom) == (x, y, x + width, y + height)
    return (x, y, width, height) if whole else (left, top, right - left, bottom - top)


def area_of(area: Any) -> float | None:
    """An `area`; None where there is none, or a placeholder. Raises ValueError, with a phrase."""
    if area is None:
        return None
    if not is_finite(area) or area < 0:
        raise ValueError("its `area` is no number of pixels; correct the annotation, or remove its area")
    return area or None


def fits(box: Box | None, mask: NDArray[np.bool_]) -> bool:
    """Whether a box (xywh) is that of a mask `(H, W)`: as people draw boxes, and objects of few pixels are masked."""
    if box is None:
        return False
    rows, columns = extent(mask)
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    edges = (left - columns.start, top - rows.start, right - columns.stop, bottom - rows.stop)
    if all(abs(edge) <= _NEAR for edge in edges):
        return True
    width, height = min(right, columns.stop) - max(left, columns.start), min(bottom, rows.stop) - max(top, rows.start)
    common = max(width, 0.0) * max(height, 0.0)
    own = (columns.stop - columns.start) * (rows.stop - rows.start)
    return bool(common >= _LEAST_IOU * (box[2] * box[3] + own - common))
