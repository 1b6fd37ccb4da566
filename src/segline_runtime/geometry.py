"""How large the network sees an image, and the windows of a large one. Numbers alone: training, the evaluation graph and prediction all follow them.

All sizes are (height, width), in whole pixels. Where an image shrinks it is resized with antialiasing (a triangle filter as wide as the factor), as
torch's `interpolate(antialias=True)` and Pillow's BILINEAR do.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from segline_runtime.specification import Geometry, Tile

Span = tuple[int, int]
"""Start and stop along one axis; stop is the first pixel outside."""

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

    The last ones are moved back inside; where the image is smaller than the tile, so is its window. With a `context`, windows begin at multiples of
    `tile.step`, and the last ones are up to a step smaller.
    """
    rows, columns = _lines(size, tile)
    return [(top, left, bottom, right) for top, bottom in rows for left, right in columns]


def cores(size: tuple[int, int], tile: Tile) -> list[Window]:
    """The part of each of `windows` that it is believed in, in their order: together each pixel of the image once (overlap-tile, Ronneberger 2015).

    Each is `tile.context` pixels or more away from where its window cuts the image; at the image's own border it goes as far as the image.
    """
    rows, columns = (_believed(spans, tile.context) for spans in _lines(size, tile))
    return [(top, left, bottom, right) for top, bottom in rows for left, right in columns]


def _lines(size: tuple[int, int], tile: Tile) -> tuple[list[Span], list[Span]]:
    """Of the windows of an image: start and stop along its height, and along its width."""
    rows, columns = (_spans(length, window, tile) for length, window in zip(size, tile.size, strict=True))
    return rows, columns


def _scaled(size: tuple[int, int], *, within: tuple[int, int], sides: tuple[int, int]) -> tuple[int, int]:
    """`size` enlarged or reduced until the first of `sides` is as long as the first of `within`, or the second as the second, whichever comes first."""
    over, under = (within[0], sides[0]) if within[0] * sides[1] <= within[1] * sides[0] else (within[1], sides[1])
    return max(1, size[0] * over // under), max(1, size[1] * over // under)


def _spans(length: int, window: int, tile: Tile) -> list[Span]:
    """Start and stop of the windows along one axis."""
    overlap, step = (2 * tile.context, tile.step) if tile.context else (tile.overlap, 1)
    assert 0 <= overlap < window, f"an overlap of {overlap} pixels leaves nothing of a window of {window}"
    if length <= window:
        return [(0, length)]
    advance = (window - overlap) // step * step
    last = -(-(length - window) // step) * step  # the first multiple from which on a window reaches the end
    starts = [*range(0, length - window, advance), last]
    return [(start, min(start + window, length)) for start in starts]


def _believed(spans: Sequence[Span], context: int) -> list[Span]:
    """Of windows along an axis, the part of each: from `context` behind its start to `context` behind the next one's."""
    borders = [0, *(start + context for start, _ in spans[1:]), spans[-1][1]]
    return list(pairwise(borders))
