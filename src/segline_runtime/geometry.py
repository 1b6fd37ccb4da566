"""How large the network sees an image, and the windows of a large one. Numbers alone: training, the evaluation graph and prediction all follow them.

All sizes are (height, width), in whole pixels. Where an image shrinks it is resized with antialiasing (a triangle filter as wide as the factor), as
torch's `interpolate(antialias=True)` and Pillow's BILINEAR do.
"""

from __future__ import annotations

from segline_runtime.specification import Geometry, Tile

Window = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels of the image; bottom and right are the first ones outside."""


def network_size(size: tuple[int, int], geometry: Geometry) -> tuple[int, int]:
    """The size that an image of `size` has within the network's input, before padding.

    In integers and rounded down, at least 1: floats round differently in a traced graph.
    """
    if geometry.fit == "native":
        return size
    assert geometry.size is not None, f"{geometry.fit} needs a size"
    if geometry.fit == "stretch":
        return geometry.size
    if geometry.fit == "shorter_side":
        return _scaled(size, within=(min(geometry.size), max(geometry.size)), sides=(min(size), max(size)))
    return _scaled(size, within=geometry.size, sides=size)


def windows(size: tuple[int, int], tile: Tile) -> list[Window]:
    """Windows of the tile's size that cover an image of `size`, row by row; neighbours share `tile.overlap` pixels or more.

    The last ones are moved back inside; where the image is smaller than the tile, so is its window.
    """
    rows = _spans(size[0], tile.size[0], tile.overlap)
    columns = _spans(size[1], tile.size[1], tile.overlap)
    return [(top, left, bottom, right) for top, bottom in rows for left, right in columns]


def _scaled(size: tuple[int, int], *, within: tuple[int, int], sides: tuple[int, int]) -> tuple[int, int]:
    """`size` enlarged or reduced until the first of `sides` is as long as the first of `within`, or the second as the second, whichever comes first."""
    over, under = (within[0], sides[0]) if within[0] * sides[1] <= within[1] * sides[0] else (within[1], sides[1])
    return max(1, size[0] * over // under), max(1, size[1] * over // under)


def _spans(length: int, window: int, overlap: int) -> list[tuple[int, int]]:
    """Start and stop of the windows along one axis."""
    assert 0 <= overlap < window, f"an overlap of {overlap} pixels leaves nothing of a window of {window}"
    if length <= window:
        return [(0, length)]
    starts = [*range(0, length - window, window - overlap), length - window]
    return [(start, start + window) for start in starts]
