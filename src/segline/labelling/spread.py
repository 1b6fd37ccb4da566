"""An order of images in which each is worth much and is unlike those before it: k-centre greedy, as a core-set is chosen (Sener and Savarese 2018, "Active
learning for convolutional neural networks: a core-set approach"), the distances weighted by what the images are worth.

Images are compared by the remembered picture of their fingerprint (`segline.data.leaks`), reduced. Unlike photographs are about as far apart as can be, so
that there the worth alone decides; neighbouring frames are near each other, and only one of them comes early.

Legend: N images, M known ones, P values of a descriptor.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segline.data.leaks.fingerprint import Fingerprint

SIDE = 16
"""Pixels of both sides of the reduced picture: neighbouring frames of CamVid correlate by 0.64 (median) in it, and frames far apart by 0.02."""

_LEAST = 1e-3
"""Worth of an image about which nothing is undecided, as a share of the greatest: among such, new ones come first."""

_CHUNK = 1024
"""Known images that are compared at a time."""

Descriptors = NDArray[np.float32]
"""`(N, SIDE² + 1)`, each of length 1. The last value is 1 for an image of a single colour: all of them are alike."""


@dataclass(frozen=True)
class Order:
    """The images by their numbers, `(N,)` each, the first to be labelled first."""

    numbers: NDArray[np.int64]
    newness: NDArray[np.float64]  # of each in that order: distance from what is nearest among known images and those before it, 0…1
    like: NDArray[np.int64]  # number of the image before it that is nearest; -1: a known one, or none


def descriptor(of: Fingerprint) -> NDArray[np.float32]:
    """`(P,)`, of length 1."""
    small = cv2.resize(of.picture.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel()
    length = float(np.linalg.norm(small))
    if not length:
        return np.append(np.zeros_like(small), np.float32(1))
    return np.append(small / np.float32(length), np.float32(0))


def by_worth(worth: NDArray[np.float64]) -> Order:
    """The greatest first; of equal ones the first."""
    return Order(np.argsort(-worth, kind="stable"), np.ones(len(worth)), np.full(len(worth), -1))


def spread(worth: NDArray[np.float64], images: Descriptors, known: Descriptors, *, first: int) -> Order:
    """The `first` ones spread, and behind them the others by what they are then worth. worth: `(N,)`, not below 0; known: `(M, P)`."""
    number = len(worth)
    weights = np.maximum(worth, _LEAST * max(float(worth.max(initial=0.0)), np.finfo(np.float64).tiny))
    newness = _distances(images, known)
    like = np.full(number, -1)
    taken: list[int] = []
    left = np.ones(number, dtype=bool)
    at_that_time = np.zeros(number)
    for _ in range(min(first, number)):
        one = int(np.where(left, weights * newness, -1.0).argmax())
        taken.append(one)
        left[one] = False
        at_that_time[one] = newness[one]
        distances = np.clip(1 - images @ images[one], 0, 1)
        nearer = left & (distances < newness)
        newness[nearer], like[nearer] = distances[nearer], one
    others = np.flatnonzero(left)
    at_that_time[others] = newness[others]
    others = others[np.argsort(-(weights * newness)[others], kind="stable")]
    numbers = np.concatenate([np.array(taken, dtype=np.int64), others])
    return Order(numbers, at_that_time[numbers], like[numbers])


def _distances(images: Descriptors, known: Descriptors) -> NDArray[np.float64]:
    """Of each image from the nearest known one; 1 where none is known."""
    found = np.ones(len(images))
    for start in range(0, len(known), _CHUNK):
        found = np.minimum(found, np.clip(1 - (images @ known[start : start + _CHUNK].T).max(axis=1), 0, 1))
    return found
