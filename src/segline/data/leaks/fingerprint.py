"""What is remembered of an image, so that it can be known again: its coarse structure as a whole, and the surroundings of its corners.

The whole is a perceptual hash, the signs of the lowest frequencies against their median (Zauner 2010), with the picture that it was made of, at 32×32. It knows
an image again that was stored anew, resized, brightened or mirrored, and not one that was cropped. The corners are ORB's (Rublee 2011): binary, turned with the
image, found at several scales. They know a part again, and the same scene from a neighbouring place; a mirrored one by corners of the mirrored image.

Legend: K corners of an image, at most CORNERS. Positions are (x, y) in pixels of the small image, whose longer side is SIDE.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 256
"""Pixels of the longer side at which corners are looked for; smaller images are enlarged."""

CORNERS = 96
"""Of an image; a few scores suffice to recognise a quarter of it."""

PICTURE = 32
"""Pixels of both sides of the remembered picture."""

WAYS = 8
"""In which a picture can be turned or mirrored, see `placed`; a hash of each is remembered."""

_FREQUENCIES = 8
_SMOOTH, _SHADE = 0.7, 2.7
"""Standard deviations of the band that the picture keeps, its pixels: without noise and compression, and without light and shade."""

_FLAT = 2.0
"""Standard deviation, of 255 grey levels, below which there is nothing by which a picture could be known."""

_MOST = 1e30
"""Of a floating-point value, so that sums stay finite."""

_wave = np.arange(_FREQUENCIES)[:, None] * (2 * np.arange(PICTURE) + 1)
_COSINES = np.cos(np.pi * _wave / (2 * PICTURE)).astype(np.float32)
_ALTERNATING = np.where(np.arange(_FREQUENCIES) % 2, np.float32(-1), np.float32(1))


@dataclass(frozen=True)
class Corners:
    """`bits` (K, 32) uint8, `positions` (K, 2) float16."""

    bits: NDArray[np.uint8]
    positions: NDArray[np.float16]


@dataclass(frozen=True)
class Fingerprint:
    """Of one image. A flat one (a single colour) has no hashes, and is like no other."""

    hashes: NDArray[np.uint64]  # (8,) of the image as it is, and mirrored and turned in the ways of `placed`; (0,) of a flat one
    picture: NDArray[np.int8]  # (32, 32), of norm 0 for a flat one
    corners: Corners
    mirrored: Corners  # of the mirrored image


def fingerprint(pixels: NDArray[Any]) -> Fingerprint:
    """Of an image `(H, W, C)` of any dtype."""
    with one_thread():
        small = _small(pixels)
        square = cv2.resize(small.astype(np.float32), (PICTURE, PICTURE), interpolation=cv2.INTER_AREA)
        flat = float(square.std()) < _FLAT
        band = cv2.GaussianBlur(square, (0, 0), _SMOOTH) - cv2.GaussianBlur(square, (0, 0), _SHADE)
        band -= band.mean()
        most = float(np.abs(band).max())
        picture = np.zeros_like(band) if flat or not most else band * (127 / most)
        frequencies = _COSINES @ square @ _COSINES.T
        hashes = np.zeros(0, dtype=np.uint64) if flat else _hashes(np.stack(placed_frequencies(frequencies.astype(np.float32))))
        return Fingerprint(hashes, np.rint(picture).astype(np.int8), _corners(small), _corners(np.ascontiguousarray(small[:, ::-1])))


def placed(picture: NDArray[Any]) -> list[NDArray[Any]]:
    """A square picture as it is, upside down, mirrored and both; then each of them with rows and columns exchanged."""
    return [one[rows, columns] for one in (picture, picture.T) for columns in (slice(None), slice(None, None, -1)) for rows in _BOTH_WAYS]


_BOTH_WAYS = (slice(None), slice(None, None, -1))


def placed_frequencies(frequencies: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The frequencies of what `placed` gives: to turn a picture over changes the sign of every second one."""
    upright, over = np.ones_like(_ALTERNATING), _ALTERNATING
    return [one * rows[:, None] * columns[None] for one in (frequencies, frequencies.T) for columns in (upright, over) for rows in (upright, over)]


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV by one thread: threads of its own would not survive that `prepare` forks its processes."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _hashes(frequencies: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Of the frequencies `(N, 8, 8)` of N pictures, `(N,)`."""
    values = frequencies.reshape(len(frequencies), -1)[:, 1:]  # the first is the brightness
    middle = np.partition(values, values.shape[1] // 2, axis=1)[:, values.shape[1] // 2 : values.shape[1] // 2 + 1]  # the median, of an odd number
    signs = np.zeros((len(values), 64), dtype=np.bool_)
    signs[:, :-1] = values > middle
    return np.packbits(signs, axis=1).view(np.uint64)[:, 0]


def _small(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey, `(h, w)`, its longer side SIDE; from the darkest percent of its pixels to the brightest it takes all levels."""
    values = pixels
    if values.dtype.kind == "f":
        values = np.clip(np.nan_to_num(values, posinf=0.0, neginf=0.0), -_MOST, _MOST)
    values = np.ascontiguousarray(values if values.shape[2] in (1, 3) else values.mean(axis=2, dtype=np.float32, keepdims=True))
    scale = SIDE / max(values.shape[:2])
    size = tuple(max(16, round(side * scale)) for side in (values.shape[1], values.shape[0]))
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR).astype(np.float32)
    grey = small if small.ndim == 2 else small @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    low, high = _percentiles(grey, 0.01, 0.99)
    if not high > low:
        return np.zeros(grey.shape, dtype=np.uint8)
    stretched: NDArray[np.uint8] = np.clip((grey - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    return stretched


def _percentiles(values: NDArray[np.float32], *shares: float) -> list[np.float64]:
    """As numpy's `percentile`, between the two nearest values, and rounded as there; several times as quick."""
    flat = values.ravel()
    places = [share * (flat.size - 1) for share in shares]
    ordered = np.partition(flat, sorted({min(int(place) + i, flat.size - 1) for place in places for i in (0, 1)}))
    found = []
    for place in places:
        low, high = ordered[int(place)], ordered[min(int(place) + 1, flat.size - 1)]
        between, apart = place - int(place), np.float64(high - low)
        found.append(np.float64(low) + apart * between if between < 0.5 else np.float64(high) - apart * (1 - between))
    return found


def _corners(small: NDArray[np.uint8]) -> Corners:
    finder = cv2.ORB.create(nfeatures=CORNERS, scaleFactor=1.25, nlevels=7, edgeThreshold=12, patchSize=25, fastThreshold=8)
    found, bits = finder.detectAndCompute(small, None)
    if bits is None:
        return Corners(np.zeros((0, 32), dtype=np.uint8), np.zeros((0, 2), dtype=np.float16))
    return Corners(bits[:CORNERS].astype(np.uint8), np.array([one.pt for one in found], dtype=np.float16)[:CORNERS])
