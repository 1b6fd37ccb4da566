"""Copy-paste (Ghiasi 2021): objects of another training image, at another size, pasted into this one. What they cover is hidden, and no truth of it stays.

The objects of one image are pasted together, so that they keep their places to each other; where they come to lie is drawn anew. Edges are not blended: it
changes nothing (ibid., 4.1). Groups (crowds) are not pasted, as what they consist of is not told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segline.data.store import Sample
from segline.sentences import Problems
from segline.training import settings
from segline.training.augment_steps import Arrays, carried
from segline.training.resizing import nearest, resized
from segline.training.settings import Transform
from segline_runtime.geometry import network_size
from segline_runtime.specification import Geometry

TRIES = 3
"""Other images that are looked at for objects; after so many without, nothing is pasted."""

Labels = tuple[NDArray[np.int64], NDArray[np.bool_]]
"""Of objects: class ids `(N,)`, and whether each is a crowd `(N,)`."""


class CopyPaste:
    """One entry of a list `augment`. Raises ParametersError for wrong arguments."""

    name = settings.COPY_PASTE

    def __init__(self, transform: Transform, *, objects: bool) -> None:
        """objects: whether they are the truth; where an index mask goes with them, a pixel may be of several, and all of them come along."""
        self._objects = objects
        problems = Problems("augment")
        chosen = problems.validated(settings.CopyPaste, dict(transform.arguments), self.name)
        problems.raise_if_any()
        assert chosen is not None
        self._chosen = chosen

    def __call__(
        self, arrays: Arrays, labels: Labels, *, others: Sequence[Sample], geometry: Geometry, scale: float, numbers: np.random.Generator
    ) -> tuple[Arrays, Labels]:
        """The arrays and the labels of their masks, after the paste. `others`: with masks of objects; geometry, scale: at which the network sees them."""
        if not len(others) or numbers.random() >= self._chosen.p:
            return arrays, labels
        for _ in range(TRIES):
            other = others[int(numbers.integers(len(others)))]
            assert other.instances is not None, "a split for copy-paste is read with its objects"
            whole = np.flatnonzero(~other.instances.crowd)
            if len(whole):
                count = min(int(numbers.integers(1, self._chosen.most + 1)), len(whole))
                return self._pasted(arrays, labels, other, numbers.permutation(whole)[:count], geometry, scale, numbers)
        return arrays, labels

    def _pasted(
        self, arrays: Arrays, labels: Labels, other: Sample, indices: NDArray[np.int64], geometry: Geometry, scale: float, numbers: np.random.Generator
    ) -> tuple[Arrays, Labels]:
        assert other.instances is not None
        masks = np.stack([other.instances.mask(int(i)) for i in indices]).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(masks.max(axis=0))
        if not width:
            return arrays, labels
        seen = network_size((other.image.shape[0], other.image.shape[1]), geometry)
        factor = scale * float(numbers.uniform(*self._chosen.scale))
        size = (max(1, round(height * factor * seen[0] / other.image.shape[0])), max(1, round(width * factor * seen[1] / other.image.shape[1])))
        rows, columns = slice(y, y + height), slice(x, x + width)
        image = resized(other.image[rows, columns], size)
        index = None if other.mask is None or "mask" not in arrays else nearest(other.mask[rows, columns], size)
        if self._objects and index is not None:
            beside = np.setdiff1d(np.arange(len(other.instances)), indices)
            front = masks.max(axis=0)
            masks = np.concatenate([masks, *((other.instances.mask(int(i)) & front)[None] for i in beside)])
            indices = np.concatenate([indices, beside])
        stack = np.stack([nearest(mask[rows, columns], size) for mask in masks])
        if self._chosen.flip and numbers.random() < 0.5:
            image, stack = image[:, ::-1], stack[:, :, ::-1]
            index = None if index is None else index[:, ::-1]
        canvas = arrays["image"].shape[:2]
        # The middle of what is pasted lies in the picture.
        top, left = (int(numbers.integers(0, canvas[axis])) - size[axis] // 2 for axis in (0, 1))
        to_rows, from_rows = _overlap(top, size[0], canvas[0])
        to_columns, from_columns = _overlap(left, size[1], canvas[1])
        stack = stack[:, from_rows, from_columns]
        covered: NDArray[np.bool_] = np.asarray(stack.any(axis=0))

        changed = dict(arrays)
        changed["image"] = _with(arrays["image"], (to_rows, to_columns), image[from_rows, from_columns], covered)
        if index is not None:
            changed["mask"] = _with(arrays["mask"], (to_rows, to_columns), carried(index[from_rows, from_columns]), covered)
        if not self._objects:
            return changed, labels
        placed = np.zeros((len(stack), *canvas), dtype=np.uint8)
        placed[:, to_rows, to_columns] = stack
        before = arrays.get("masks", np.zeros((0, *canvas), dtype=np.uint8)).copy()
        before[:, to_rows, to_columns][:, covered] = 0
        changed["masks"] = np.concatenate([before, placed])
        ids, crowd = labels
        return changed, (np.concatenate([ids, other.instances.labels[indices]]), np.concatenate([crowd, other.instances.crowd[indices]]))


def _overlap(start: int, length: int, canvas: int) -> tuple[slice, slice]:
    """Of a strip of `length` that begins at `start`: where it lies on the canvas, and which part of it does."""
    first, last = max(start, 0), min(start + length, canvas)
    return slice(first, last), slice(first - start, last - start)


def _with(array: NDArray[Any], where: tuple[slice, slice], pasted: NDArray[Any], covered: NDArray[np.bool_]) -> NDArray[Any]:
    """A copy of `array` with the covered pixels of `pasted` at a place."""
    copy = array.copy()
    copy[where][covered] = pasted[covered]
    return copy
