"""Outlines that an annotator did not mean: too few points, no area, beyond the image, crossing themselves. What can be drawn of them is drawn nonetheless."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.findings import Finding

MARGIN = 1.0
"""Pixels that a corner may lie outside of its image: tools round, and COCO's coordinates may reach the far edge."""

MOST_CORNERS = 1500
"""Outlines of more are not asked whether they cross themselves: the time goes with the square."""

_NO_AREA = 1e-6

Points = NDArray[np.float64]


def faults(points: Points, size: tuple[int, int]) -> list[str]:
    """What is wrong with an outline `(N, 2)` of x, y in an image of `size` (height, width), as phrases: "it has 2 points"."""
    with np.errstate(all="ignore"):  # of the largest numbers
        return _faults(_distinct(points), size)


def _faults(distinct: Points, size: tuple[int, int]) -> list[str]:
    if len(distinct) < 3:
        return [f"it has {len(distinct)} different point{'' if len(distinct) == 1 else 's'}, and an outline needs 3"]
    crossing = crossing_of(distinct)
    found = []
    if crossing is None and abs(area(distinct)) < _NO_AREA:  # of a bow tie, one half counts against the other
        found.append("it encloses no area")
    low, high = distinct.min(axis=0), distinct.max(axis=0)
    height, width = size
    if high[0] < 0 or high[1] < 0 or low[0] > width or low[1] > height:
        found.append(f"it lies outside of the image ({width}x{height})")
    elif low.min() < -MARGIN or high[0] > width + MARGIN or high[1] > height + MARGIN:
        found.append(f"it reaches beyond the image ({width}x{height}), to x {_reach(low[0], high[0], width)}, y {_reach(low[1], high[1], height)}")
    if crossing is not None:
        found.append(f"it crosses itself near x {crossing[0]:.6g}, y {crossing[1]:.6g}")
    return found


def findings(polygons: Iterable[Points], size: tuple[int, int], file: str, place: str) -> list[Finding]:
    """A finding for each fault of an object's outlines; `place` names the object within the annotation file."""
    return [Finding("polygon", file, f"{file}, {place}: {fault}.", place) for polygon in polygons for fault in faults(polygon, size)]


def outlines(segmentation: Any) -> list[Points]:
    """The polygons of a COCO `segmentation` that could be decoded; none of one that is RLE."""
    if not isinstance(segmentation, list):
        return []
    return [np.array(polygon, dtype=np.float64).reshape(-1, 2) for polygon in segmentation]


def area(points: Points) -> float:
    """Signed, by the shoelace formula."""
    x, y = points[:, 0], points[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def crossing_of(points: Points) -> tuple[float, float] | None:
    """A point where two edges of an outline cross, neither at its end; None where there is none, and for outlines of too many corners."""
    count = len(points)
    if count < 4 or count > MOST_CORNERS:
        return None
    start, end = points, np.roll(points, -1, axis=0)
    edge = end - start
    # Where corner k lies of edge i: left (+), right (-), on its line (0).
    first = _cross(edge[:, None], start[None] - start[:, None])  # (i, k), of starts
    second = np.roll(first, -1, axis=1)  # of ends
    apart = first * second < 0
    both = apart & apart.T
    index = np.argwhere(np.triu(both, 2))
    for i, k in index.tolist():
        if (k + 1) % count != i:
            share = first[k, i] / (first[k, i] - second[k, i])
            x, y = start[i] + share * edge[i]
            return float(x), float(y)
    return None


def _cross(one: Points, other: Points) -> Points:
    return np.asarray(one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0])


def _distinct(points: Points) -> Points:
    """Without corners that repeat the one before."""
    differs = np.any(points != np.roll(points, 1, axis=0), axis=1)
    return points[differs] if differs.any() else points[:1]


def _reach(low: float, high: float, side: int) -> str:
    return f"{low:.6g} … {high:.6g} of {side}"
