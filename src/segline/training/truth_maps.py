"""The maps of the truth that losses read beside the class ids (see `segline.losses.truth_maps`), made in the loader's processes.

Closeness belongs to the image as it is on disk, where its σ is meant: it is made at that size, kept in a folder, and follows the image through every transform.
Signed distances belong to the picture that the network sees, since scaling and bending change distances: they are made of the mask after all transforms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segline.data.store import IGNORE, Instances, Sample
from segline.files import whole
from segline.losses.truth_maps import Closeness, SignedDistances, TruthMap
from segline_runtime.geometry import Window
from segline_runtime.specification import ClassInfo

VERSION = 1
"""Of what is kept: a change of how a map is made or written raises it."""

_REACH = 6.0
"""Distances above this many σ give a closeness below 2e-8, and are not looked at."""

_LEVELS = 65535
"""Closeness is kept in steps of 1/65535, and used so, whether it was kept or not."""

Object = tuple[Window, NDArray[np.uint8]]
"""Where an object lies (top, left, bottom, right), and its mask there, above 0 where it is."""


class TruthMaps:
    """Makes the maps that a model's losses want.

    kept: the folder of what was made before, which may be emptied at any time and may be shared by any number of processes; None: nothing is kept.
    """

    def __init__(self, wanted: Sequence[TruthMap], classes: Sequence[ClassInfo], *, kept: Path | None = None) -> None:
        self._closeness = [one for one in wanted if isinstance(one, Closeness)]
        self._distances = [one for one in wanted if isinstance(one, SignedDistances)]
        self._classes = len(classes)
        things = [info.id for info in classes if info.thing]
        self._foreground = things or [info.id for info in classes if info.id > 0]
        self._kept = None if kept is None else kept / f"v{VERSION}"

    def of_image(self, sample: Sample) -> NDArray[np.float32] | None:
        """Of an image at its own size, `(H, W, M)` in 0…1: the maps that follow it, in the order in which `of_picture` takes them. None where none does."""
        if not self._closeness:
            return None
        return np.stack([self._closeness_of(sample, wanted) for wanted in self._closeness], axis=2)

    def of_picture(self, mask: NDArray[np.uint8], followed: NDArray[np.float32] | None) -> Mapping[str, NDArray[np.floating]]:
        """By their names, all maps of a picture as the network sees it: those that followed it `(h, w, M)`, and those that are made of its mask `(h, w)`."""
        found: dict[str, NDArray[np.floating]] = {}
        for i, wanted in enumerate(self._closeness):
            assert followed is not None
            found[wanted.name] = followed[:, :, i]
        for distances in self._distances:
            found[distances.name] = signed_distances(mask, self._classes)
        return found

    def _closeness_of(self, sample: Sample, wanted: Closeness) -> NDArray[np.float32]:
        truth = sample.instances if wanted.of == "instances" else sample.mask
        assert truth is not None, "the split is read with the truth that the map is made of"
        size = (sample.image.shape[0], sample.image.shape[1])
        file = None
        if self._kept is not None:
            key = _key(truth, self._foreground, wanted, size)
            file = self._kept / key[:2] / f"{key[2:]}.png"
            levels = _read(file, size)
            if levels is not None:
                return _shares(levels)
        objects = _instances(truth) if isinstance(truth, Instances) else components(truth, self._foreground)
        levels = np.rint(closeness(objects, size, wanted.sigma) * _LEVELS).astype(np.uint16)
        if file is not None:
            _write(file, levels)
        return _shares(levels)


def _shares(levels: NDArray[np.uint16]) -> NDArray[np.float32]:
    return levels.astype(np.float32) / np.float32(_LEVELS)


def closeness(objects: Iterable[Object], size: tuple[int, int], sigma: float) -> NDArray[np.float32]:
    """`(H, W)` in 0…1: exp(−(d1 + d2)² / 2σ²) of the distances to the nearest and the second nearest object; see `Closeness`."""
    reach = int(np.ceil(_REACH * sigma))
    nearest, second = np.full(size, np.inf, dtype=np.float32), np.full(size, np.inf, dtype=np.float32)
    for (top, left, bottom, right), mask in objects:
        rows = slice(max(0, top - reach), min(size[0], bottom + reach))
        columns = slice(max(0, left - reach), min(size[1], right + reach))
        elsewhere = np.ones((rows.stop - rows.start, columns.stop - columns.start), dtype=np.uint8)
        elsewhere[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = mask == 0
        distance = _distance(elsewhere)
        first, next_one = nearest[rows, columns], second[rows, columns]  # views
        np.minimum(next_one, np.maximum(first, distance), out=next_one)
        np.minimum(first, distance, out=first)
    found: NDArray[np.float32] = np.exp(-((nearest + second) ** 2) / np.float32(2 * sigma**2))
    return found


def components(mask: NDArray[np.uint8], foreground: Iterable[int]) -> Iterable[Object]:
    """The connected pixels of each class of `foreground`; pixels that only meet at a corner are not connected."""
    for label in foreground:
        _, numbers, boxes, _ = cv2.connectedComponentsWithStats((mask == label).astype(np.uint8), connectivity=4)
        for number, (left, top, width, height, _) in enumerate(boxes):
            if number > 0:  # 0 is what is not of the class
                window = (int(top), int(left), int(top + height), int(left + width))
                yield window, (numbers[window[0] : window[2], window[1] : window[3]] == number).astype(np.uint8)


def _instances(objects: Instances) -> Iterable[Object]:
    """Those that are single objects; a crowd's outline says nothing of them."""
    for i in range(len(objects)):
        mask = objects.mask(i).astype(np.uint8)
        left, top, width, height = cv2.boundingRect(mask)
        if width and not objects.crowd[i]:
            yield (top, left, top + height, left + width), mask[top : top + height, left : left + width]


def signed_distances(mask: NDArray[np.uint8], classes: int) -> NDArray[np.float16]:
    """Class ids `(h, w)` → `(classes, h, w)`; see `SignedDistances`. In half precision: a distance of 100 pixels is right to 1/32."""
    found = np.zeros((classes, *mask.shape), dtype=np.float16)
    for label in np.unique(mask):
        inside = (mask == label).astype(np.uint8)
        if label != IGNORE and not inside.all():
            found[label] = np.where(inside, 1 - _distance(inside), _distance(1 - inside))
    return found


def _distance(values: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Of each pixel to the nearest 0, exact; OpenCV's is twice as fast as SciPy's."""
    return np.asarray(cv2.distanceTransform(values, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), dtype=np.float32)


def _key(truth: Instances | NDArray[np.uint8], foreground: Sequence[int], wanted: Closeness, size: tuple[int, int]) -> str:
    """Identifies a map by what it is made of."""
    seen = hashlib.sha256(repr((wanted, size)).encode())
    if isinstance(truth, Instances):
        for one, crowd in zip(truth.rles(), truth.crowd, strict=True):
            counts = one["counts"]
            seen.update((counts.encode() if isinstance(counts, str) else counts) + bytes([bool(crowd)]))
    else:
        seen.update(bytes(foreground))
        seen.update(truth.tobytes())
    return seen.hexdigest()[:40]


def _read(file: Path, size: tuple[int, int]) -> NDArray[np.uint16] | None:
    """None where the file is not there, or is not what `_write` wrote: then the map is made anew."""
    try:
        content = np.frombuffer(file.read_bytes(), dtype=np.uint8)
    except OSError:
        return None
    levels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if len(content) else None
    return np.asarray(levels, dtype=np.uint16) if levels is not None and levels.shape == size and levels.dtype == np.uint16 else None


def _write(file: Path, levels: NDArray[np.uint16]) -> None:
    # What cannot be kept, on a full disk or in a folder that is being emptied, costs time and nothing else: it is made again.
    with suppress(OSError), whole(file) as part:
        part.write_bytes(cv2.imencode(".png", levels)[1].tobytes())
