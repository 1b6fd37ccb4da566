"""`anchors: auto`: the sizes and shapes of a detector's first guesses, from the objects of the training images as the network sees them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from segline.data.extents import Extents
from segline_runtime.specification import Fit

_SHARES = (0.05, 0.275, 0.5, 0.725, 0.95)
"""Quantiles of the objects' sizes, one for each level of the pyramid."""

_APART = 1.25
"""Times the next finer level's size, at least, so that each level has objects of its own."""

_STEP, _LEAST = 4, 8
"""Pixels: the stride of the finest level, to which sizes are rounded, and the smallest size."""

_SHAPES = (0.15, 0.5, 0.85)
_RATIOS = (0.25, 0.33, 0.5, 0.67, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Height / width: to the nearest of these, so that a few more objects decide the same."""


def anchors(extents: Extents, median: tuple[int, int], *, fit: Fit, size: tuple[int, int] | None, levels: int) -> tuple[list[int], list[float], str] | None:
    """Sizes, ratios and the reason; None where the training images show no object. median: height, width; size: that the network sees, None if their own."""
    if not extents.object_sides.count:
        return None
    side, taller = _as_seen(median, fit, size)
    assert levels == len(_SHARES), "the feature pyramid has five levels"
    sizes: list[int] = []
    for share in _SHARES:
        wanted = round(side * extents.object_sides.quantile(share) / _STEP) * _STEP
        least = _STEP * math.ceil(_APART * sizes[-1] / _STEP) if sizes else _LEAST
        sizes.append(max(least, wanted))
    ratios = sorted({_nearest(taller * extents.object_shapes.quantile(share), _RATIOS) for share in _SHAPES})
    return sizes, ratios, f"quantiles of {extents.object_sides.count} objects, as the network sees them: side in pixels, height / width"


def _as_seen(median: tuple[int, int], fit: Fit, size: tuple[int, int] | None) -> tuple[float, float]:
    """√(height · width) of the median image as the network sees it, and how many times as tall it is then for its width."""
    height, width = median
    if size is None or fit == "native":
        return math.sqrt(height * width), 1.0
    if fit == "stretch":
        return math.sqrt(size[0] * size[1]), (size[0] / height) / (size[1] / width)
    content = size if fit == "letterbox" else _turned(size, median)
    return min(content[0] / height, content[1] / width) * math.sqrt(height * width), 1.0


def _turned(size: tuple[int, int], median: tuple[int, int]) -> tuple[int, int]:
    """`shorter_side` takes a size for upright images and for lying ones."""
    return (max(size), min(size)) if median[0] > median[1] else (min(size), max(size))


def _nearest(value: float, among: Sequence[float]) -> float:
    return min(among, key=lambda one: abs(math.log(value / one)))
