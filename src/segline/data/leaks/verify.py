"""Whether two images show the same, and how: by the correlation of their pictures, or by corners of both that one movement brings onto each other."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from segline.data.leaks.fingerprint import PICTURE, Corners, Fingerprint, one_thread, placed

Relation = Literal["copy", "turned", "scene"]
"""copy: the whole picture; turned: mirrored or turned; scene: a part of it, turned by any angle, or the same place seen from nearby."""

CORRELATION = 0.85
"""Of two pictures from which they are one. Measured: unlike photographs reach 0.44; what was stored anew stays above 0.98 (`benchmarks/leaks.py`)."""

COINCIDING = 12
"""Corners that must coincide. Measured: of 8,494 pairs of unlike photographs with the most keys in common one reaches 10, and none 11."""

BITS = 60
"""Of 256, in which two corners may differ and still be one."""

_REACH = 6.0
"""Pixels between corners that coincide, when one image is moved onto the other."""

_EXTENT = 0.2
"""Share of both sides of both images over which these corners are spread at least: a logo or a date in the picture is no scene."""


def relation(first: Fingerprint, second: Fingerprint) -> Relation | None:
    """How two images are alike; None where they are not."""
    alike = _correlations(first.picture, second.picture)
    best = int(alike.argmax())
    if alike[best] >= CORRELATION:
        return "turned" if best and alike[0] < CORRELATION else "copy"
    if len(first.corners.bits) < COINCIDING:
        return None
    # Both of the other's at once, as calls cost more than the few corners do.
    distance = _distances(first.corners.bits.view(np.uint64), np.concatenate([second.corners.bits, second.mirrored.bits]).view(np.uint64))
    apart = len(second.corners.bits)
    if _coincide(first.corners, second.corners, distance[:, :apart]) or _coincide(first.corners, second.mirrored, distance[:, apart:]):
        return "scene"
    return None


_PLACED = np.stack([np.argsort(one.ravel()) for one in placed(np.arange(PICTURE * PICTURE).reshape(PICTURE, PICTURE))])
"""(8, 1024): the pixels of a picture that meet those of another one which is placed in each way."""


def _correlations(first: NDArray[np.int8], second: NDArray[np.int8]) -> NDArray[np.float64]:
    """Of the first picture with the second in all ways of `placed`, (8,); 0 where one of them is flat."""
    one, other = first.ravel().astype(np.float32), second.ravel().astype(np.float32)  # whose products' sums are whole numbers that a float32 can hold
    norm = np.sqrt(float(one @ one)) * np.sqrt(float(other @ other))
    if not norm:
        return np.zeros(8)
    return np.asarray((one[_PLACED] @ other).astype(np.float64) / norm)


def _coincide(first: Corners, second: Corners, distance: NDArray[np.uint16]) -> bool:
    """Whether moving, turning and scaling one image brings enough of its corners onto those of the other. `distance` (K, L): the bits in which they differ."""
    if min(len(first.bits), len(second.bits)) < COINCIDING:
        return False
    one, other = _alike(distance)
    if len(one) < COINCIDING:
        return False
    there, here = first.positions[one].astype(np.float32), second.positions[other].astype(np.float32)
    with one_thread():
        movement, held = cv2.estimateAffinePartial2D(here, there, method=cv2.RANSAC, ransacReprojThreshold=_REACH, maxIters=500)
    if movement is None:
        return False
    kept = held.ravel().astype(bool)
    return int(kept.sum()) >= COINCIDING and _spread(first, there[kept]) and _spread(second, here[kept])


def _alike(distance: NDArray[np.uint16]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Corners that are each other's nearest, as numbers of both; none where there cannot be COINCIDING of them."""
    least = distance.min(axis=1)
    near = np.flatnonzero(least <= BITS)
    if len(near) < COINCIDING:
        return near[:0], near[:0]
    nearest = distance[near].argmin(axis=1)
    mutual = distance[:, nearest].argmin(axis=0) == near
    return near[mutual], nearest[mutual]


def _distances(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """The bits in which corners `(K, 4)` and `(L, 4)` differ, `(K, L)`."""
    columns = np.ascontiguousarray(second.T)
    found = [np.bitwise_count(first[:, word, None] ^ columns[word]) for word in range(4)]
    # Up to three words fit in 8 bits.
    distance: NDArray[np.uint16] = np.add(found[0] + found[1] + found[2], found[3], dtype=np.uint16)
    return distance


def _spread(corners: Corners, kept: NDArray[np.float32]) -> bool:
    """Whether what coincides lies all over what there is, and not in one place of it."""
    whole = np.ptp(corners.positions.astype(np.float32), axis=0)
    return bool((np.ptp(kept, axis=0) >= _EXTENT * whole).all())
