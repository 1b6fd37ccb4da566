"""The outline of a mask as one polygon, for layouts that know nothing else: its pixels' borders, so that it covers these and no others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.int64]


def outline(mask: NDArray[np.bool_]) -> Points:
    """One polygon `(N, 2)` of x, y at the corners of pixels.

    Parts and holes are joined to the longest line by lines that are drawn forth and back and so enclose nothing.
    """
    found = sorted(loops(mask), key=len, reverse=True)
    if not found:
        return np.zeros((0, 2), dtype=np.int64)
    longest = found[0]
    joined: dict[int, list[Points]] = {}
    for loop in found[1:]:
        nearest = int(((longest - loop[0]) ** 2).sum(axis=1).argmin())
        joined.setdefault(nearest, []).append(loop)
    points: list[Points] = []
    for i, point in enumerate(longest):
        points.append(point[None])
        for loop in joined.get(i, ()):
            points += [loop, loop[:1], point[None]]
    return np.concatenate(points)


def loops(mask: NDArray[np.bool_]) -> list[Points]:
    """The closed lines between the pixels of a mask and all others, each as its corners `(N, 2)` of x, y: those around its parts, and around their holes."""
    height, width = mask.shape
    framed = np.zeros((height + 2, width + 2), dtype=np.bool_)
    framed[1:-1, 1:-1] = mask
    # Each border between two pixels is a step of length 1 that has the mask on its right hand.
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for (dy, dx), before, after in (
        ((0, 1), framed[:-1, 1:-1], framed[1:, 1:-1]),  # rightwards above a pixel of the mask
        ((0, -1), framed[1:, 1:-1], framed[:-1, 1:-1]),  # leftwards below one
        ((1, 0), framed[1:-1, 1:], framed[1:-1, :-1]),  # down at its right
        ((-1, 0), framed[1:-1, :-1], framed[1:-1, 1:]),  # up at its left
    ):
        for row, column in np.argwhere(after & ~before).tolist():
            start = (row + (dy < 0), column + (dx < 0))
            steps.setdefault(start, []).append((dy, dx))
    found = []
    while steps:
        start = next(iter(steps))
        found.append(_loop(steps, start))
    return found


def _loop(steps: dict[tuple[int, int], list[tuple[int, int]]], start: tuple[int, int]) -> Points:
    """Follow the steps from a corner until they end there, and take them away."""
    corners: list[tuple[int, int]] = []
    place, last = start, (0, 0)
    while True:
        ways = steps[place]
        # Where two pixels touch at a corner, turning right keeps them apart.
        turns = [way for way in ways if way == (last[1], -last[0])] or ways
        step = turns[0]
        ways.remove(step)
        if not ways:
            del steps[place]
        if step != last:
            corners.append((place[1], place[0]))
        place, last = (place[0] + step[0], place[1] + step[1]), step
        if place == start:
            return np.array(corners, dtype=np.int64)
