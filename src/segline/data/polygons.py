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
    x, y = distinct[:, 0], distinct[:, 1]
    low, high = (x.min(), y.min()), (x.max(), y.max())
    height, width = size
    if high[0] < 0 or high[1] < 0 or low[0] > width or low[1] > height:
        found.append(f"it lies outside of the image ({width}x{height})")
    elif min(low) < -MARGIN or high[0] > width + MARGIN or high[1] > height + MARGIN:
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
    return float(np.dot(x, _next(y)) - np.dot(y, _next(x))) / 2


def crossing_of(points: Points) -> tuple[float, float] | None:
    """A point where two edges of an outline cross, neither at its end; None where there is none, and for outlines of too many corners."""
    count = len(points)
    if count < 4 or count > MOST_CORNERS:
        return None
    x, y = np.ascontiguousarray(points.T)
    along, down = _next(x) - x, _next(y) - y  # of the edges
    # Where corner k lies of edge i: left (+), right (-), on its line (0).
    first = along[:, None] * (y[None] - y[:, None]) - down[:, None] * (x[None] - x[:, None])  # (i, k), of starts
    second = np.concatenate([first[:, 1:], first[:, :1]], axis=1)  # of ends
    apart = first * second < 0
    both = apart & apart.T
    if not both.any():
        return None
    index = np.argwhere(np.triu(both, 2))
    for i, k in index.tolist():
        if (k + 1) % count != i:
            share = first[k, i] / (first[k, i] - second[k, i])
            return float(x[i] + share * along[i]), float(y[i] + share * down[i])
    return None


def _next(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each corner that of the one behind it."""
    return np.concatenate([values[1:], values[:1]])


def _distinct(points: Points) -> Points:
    """Without corners that repeat the one before."""
    x, y = points[:, 0], points[:, 1]
    differs = np.empty(len(points), dtype=np.bool_)
    differs[:1] = len(points) > 0 and bool(x[0] != x[-1] or y[0] != y[-1])
    np.not_equal(x[1:], x[:-1], out=differs[1:])
    differs[1:] |= y[1:] != y[:-1]
    if differs.all():
        return points
    return points[differs] if differs.any() else points[:1]


def _reach(low: float, high: float, side: int) -> str:
    return f"{low:.6g} … {high:.6g} of {side}"
