"""Gaussian filtering of values that lie anywhere in a space of few dimensions, in time linear in their number (Adams, Baek and Davis 2010).

The space is cut into equal simplices, the cells of the permutohedral lattice. Each value is shared among the corners of the cell that it lies in (splat),
the corners are blurred along each direction of the lattice, and the values are read off at the same places again (slice). A grid would have 2**d corners a
cell, this lattice has d + 1. The result is the sum over all values, each times a Gaussian of its distance, up to a factor that is the same everywhere and
to the error of this approximation, some per cent.

Legend: N points, d dimensions, M corners of the lattice that are near a point, K values a point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLUR = 0.5
"""Share that a corner gets of each of its two neighbours along a direction, its own being 1."""


class Lattice:
    """The lattice around some points; any values at these points can be filtered with it."""

    def __init__(self, features: NDArray[np.float32]) -> None:
        """features: `(d, N)`, in units of the Gaussian's standard deviation."""
        dimensions, count = features.shape
        remainders, ranks, self._weights = _cells(_elevated(features))
        # The corner that lies `number` steps into the cell; its coordinates add up to 0, so the last one says nothing new.
        directions = _directions(dimensions)
        multipliers = _multipliers(remainders, dimensions)
        keys = np.empty((dimensions + 1, count), dtype=np.int64)
        for number in range(dimensions + 1):
            steps = number - np.where(ranks[:dimensions] > dimensions - number, dimensions + 1, 0)
            keys[number] = multipliers @ (remainders[:dimensions] + steps)
        corners, places = np.unique(keys, return_inverse=True)
        self._corners = len(corners)
        self._places = places.reshape(keys.shape).astype(np.int32)
        self._neighbours = [(_found(corners, corners + step), _found(corners, corners - step)) for step in (multipliers @ directions).tolist()]

    def filter(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values `(K, N)` of the points → their filtered values `(K, N)`."""
        filtered = np.empty_like(values)
        for target, of_points in zip(filtered, values, strict=True):  # one after another: each then stays in the processor's cache
            blurred = self._blurred(self._splat(of_points))
            np.multiply(blurred[self._places[0]], self._weights[0], out=target)
            for places, weights in zip(self._places[1:], self._weights[1:], strict=True):
                target += blurred[places] * weights
        return filtered

    def _splat(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values `(N,)` → of the corners `(M + 1,)`; the last one, 0, stands for all corners that are near no point."""
        shares = (values * self._weights).ravel()
        return np.bincount(self._places.ravel(), weights=shares, minlength=self._corners + 1).astype(np.float32)

    def _blurred(self, corners: NDArray[np.float32]) -> NDArray[np.float32]:
        for before, after in self._neighbours:
            beside = corners[before]
            beside += corners[after]
            beside *= _BLUR
            corners[:-1] += beside
        return corners


def _elevated(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points `(d, N)` → on the plane of `d + 1` coordinates that add up to 0, `(d + 1, N)`, where the blur has the standard deviation 1 of `features`."""
    dimensions, count = features.shape
    steps = np.arange(1, dimensions + 1)
    scale = (dimensions + 1) * np.sqrt(2 / 3) / np.sqrt(steps * (steps + 1))
    scaled = features * scale[:, None].astype(np.float32)
    elevated = np.zeros((dimensions + 1, count), dtype=np.float32)
    for axis in range(dimensions):
        elevated[: axis + 1] += scaled[axis]
        elevated[axis + 1] -= (axis + 1) * scaled[axis]
    return elevated


def _cells(elevated: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Of the cell of each point: its first corner `(d + 1, N)`, the order of the point's coordinates in it, 0 the largest, and the corners' weights."""
    sides, count = elevated.shape
    nearest = np.rint(elevated / sides).astype(np.int64)
    excess = nearest.sum(axis=0)
    within = elevated - (nearest * sides).astype(np.float32)
    ranks = np.empty((sides, count), dtype=np.int64)
    np.put_along_axis(ranks, np.argsort(-within, axis=0, kind="stable"), np.arange(sides)[:, None], axis=0)
    # Rounding each coordinate leaves the plane; those that were rounded furthest go back by one.
    ranks += excess
    wrapped = (ranks < 0).astype(np.int64) - (ranks >= sides)
    ranks += wrapped * sides
    nearest += wrapped
    corner = nearest * sides
    heights = (elevated - corner.astype(np.float32)) / sides
    falling = np.empty((sides, count), dtype=np.float32)
    np.put_along_axis(falling, ranks, heights, axis=0)
    weights = np.empty((sides, count), dtype=np.float32)
    # From the highest coordinate down, the differences to the next one: the weights of the corners d, d − 1, …, 1 of the cell are those from the end on.
    weights[0] = 1 + falling[-1] - falling[0]
    for number in range(1, sides):
        weights[number] = falling[sides - 1 - number] - falling[sides - number]
    return corner, ranks, weights


def _directions(dimensions: int) -> NDArray[np.int64]:
    """`(d, d + 1)`: the steps, one a column, from a corner to its neighbours; the last coordinate left out."""
    steps = np.ones((dimensions, dimensions + 1), dtype=np.int64)
    steps[np.arange(dimensions), np.arange(dimensions)] = -dimensions
    return steps


def _multipliers(corners: NDArray[np.int64], dimensions: int) -> NDArray[np.int64]:
    """`(d,)`: with which the coordinates of a corner are made one number; equal numbers mean equal corners, and a step adds the same to each."""
    reach = 2 * (dimensions + 1)  # of a cell and of a step
    spans = corners[:dimensions].max(axis=1) - corners[:dimensions].min(axis=1) + 2 * reach + 1
    products = np.cumprod(spans.astype(object))
    if products[-1] < 2**62:
        return np.array([1, *products[:-1]], dtype=np.int64)
    # Too far apart for one number each: by chance two corners share one, once in millions of images.
    return np.random.default_rng(0).integers(-(2**63), 2**63 - 1, dimensions, dtype=np.int64) | 1


def _found(corners: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
    """Where each of the wanted numbers stands in `corners`, which are sorted; where it does not, their count."""
    places = np.minimum(np.searchsorted(corners, wanted), len(corners) - 1)
    return np.where(corners[places] == wanted, places, len(corners)).astype(np.int32)
