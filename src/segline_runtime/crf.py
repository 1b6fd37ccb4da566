"""Refinement of class probabilities by a fully connected conditional random field (Krähenbühl and Koltun 2011).

Each pixel has a label, and each pair of pixels prefers one label for both, the more so the nearer they are (smoothness), and the nearer they are and the more
alike their colours (appearance). Labels that cost little are found by mean field iterations: a pixel's probabilities are those of the network, times the
exponential of what all other pixels say for each class. What they say is a Gaussian filter of their probabilities: of positions alone it is computed row by
row and column by column, of positions and colours together on a permutohedral lattice.

As in the authors' code, a kernel k between pixels i, j is normalised to k(i, j) / √(Σ k(i, ·) · Σ k(j, ·)), and a pixel counts among its own neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline_runtime.permutohedral import Lattice
from segline_runtime.specification import Crf, ImageKind

_FLOOR = 1e-5
"""A network's probability below it counts as this much: of no class is it surer than the evidence of many pixels can change."""

_REACH = 4
"""Standard deviations after which a Gaussian over positions ends."""

_BLOCK = 128
"""Pixels of a row that are filtered by one product of matrices."""

Filter = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Values `(K, H, W)` → filtered ones."""


def refined(probabilities: NDArray[np.float32], image: NDArray[Any], kind: ImageKind, crf: Crf) -> NDArray[np.float32]:
    """Probabilities `(K, H, W)` of an image `(H, W, C)` → probabilities `(K, H, W)` that keep to what is seen in the image."""
    size = (image.shape[0], image.shape[1])
    filters: list[tuple[float, Filter]] = []
    if crf.appearance > 0:
        filters.append((crf.appearance, _normalised(_bilateral(image, kind, crf), size)))
    if crf.smoothness > 0:
        filters.append((crf.smoothness, _normalised(lambda values: _smoothed(values, crf.smoothness_position), size)))
    evidence = np.log(np.maximum(probabilities, _FLOOR))
    current = probabilities
    for _ in range(crf.iterations):
        likely = evidence.copy()
        for weight, message in filters:
            likely += np.float32(weight) * message(current)
        current = _softmax(likely)
    return current


def _bilateral(image: NDArray[Any], kind: ImageKind, crf: Crf) -> Filter:
    """The Gaussian over positions in pixels and colours in 0…255."""
    height, width, channels = image.shape
    features = np.empty((2 + channels, height, width), dtype=np.float32)
    features[0] = (np.arange(height, dtype=np.float32) / crf.appearance_position)[:, None]
    features[1] = np.arange(width, dtype=np.float32) / crf.appearance_position
    features[2:] = image.transpose(2, 0, 1) * np.float32(255 / kind.scale / crf.appearance_colour)
    lattice = Lattice(features.reshape(len(features), -1))
    return lambda values: lattice.filter(values.reshape(len(values), -1)).reshape(values.shape)


def _normalised(filtered: Filter, size: tuple[int, int]) -> Filter:
    shares = 1 / np.sqrt(filtered(np.ones((1, *size), dtype=np.float32)) + np.float32(1e-20))
    return lambda values: filtered(values * shares) * shares


def _smoothed(values: NDArray[np.float32], deviation: float) -> NDArray[np.float32]:
    """Values `(K, H, W)` times a Gaussian over positions, added up around each pixel."""
    along = np.empty_like(values)
    for inside, around, weights in _blocks(values.shape[2], deviation):
        along[:, :, inside] = values[:, :, around] @ weights.T
    both = np.empty_like(values)
    for inside, around, weights in _blocks(values.shape[1], deviation):
        both[:, inside] = weights @ along[:, around]
    return both


def _blocks(length: int, deviation: float) -> list[tuple[slice, slice, NDArray[np.float32]]]:
    """The pieces of a line, what lies around each, and the weights `(inside, around)`."""
    reach = int(np.ceil(_REACH * deviation))
    found = []
    for start in range(0, length, _BLOCK):
        inside, around = slice(start, min(start + _BLOCK, length)), slice(max(start - reach, 0), min(start + _BLOCK + reach, length))
        distance = np.arange(inside.start, inside.stop)[:, None] - np.arange(around.start, around.stop)
        found.append((inside, around, np.exp(-0.5 * (distance / deviation) ** 2).astype(np.float32)))
    return found


def _softmax(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over the first axis, in place."""
    values -= values.max(axis=0)
    np.exp(values, out=values)
    values /= values.sum(axis=0)
    return values
