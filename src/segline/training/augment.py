"""Augmentation by albumentations, from the list in params.yaml; masks and boxes stay in step with the image.

The only module that knows albumentations, so that it can be replaced. An image is resized as the model's geometry says, transformed at random, and then
cropped: transforms see it whole. Boxes are taken anew from the transformed masks, so they fit them exactly.
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from segline.data.store import IGNORE, Instances, Sample
from segline.errors import ParametersError
from segline.training.settings import Transform
from segline_runtime.geometry import network_size
from segline_runtime.specification import Geometry

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a newer version of itself at import

import albumentations as A

Arrays = dict[str, Any]
"""albumentations' own names: `image` `(H, W, C)`, `mask` `(H, W)`, `masks` list of `(H, W)`."""


class Augmentation:
    """Resizing, random transforms, crop and padding. Raises ParametersError for an unknown transform or wrong arguments."""

    def __init__(
        self, transforms: Sequence[Transform], *, geometry: Geometry, crop: tuple[int, int] | None = None, padding: Sequence[float] = (0.0, 0.0, 0.0)
    ) -> None:
        """crop: height and width of what training cuts out. padding: value per channel where an image does not reach, of the image's own scale."""
        self._compose = A.Compose(_build(transforms))
        self._geometry = geometry
        self._crop = crop
        self._padding = padding

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """The sample as the network sees it in training; the same seed gives the same picture. Objects that left the picture are left out."""
        self._compose.set_random_seed(seed)
        arrays = self._compose(**self._resized(sample))
        if self._crop is not None:
            arrays = _cropped(arrays, self._crop, np.random.default_rng(seed))
        least = self._crop or (self._geometry.size if self._geometry.fit == "letterbox" else None)
        if least is not None:
            arrays = _padded(arrays, least, self._padding)
        objects = sample.instances
        if objects is not None:
            objects = _instances(arrays.get("masks", ()), objects, arrays["image"].shape[:2])
        return Sample(sample.image_id, sample.name, arrays["image"], arrays.get("mask"), objects)

    def _resized(self, sample: Sample) -> Arrays:
        size = network_size((sample.image.shape[0], sample.image.shape[1]), self._geometry)
        arrays: Arrays = {"image": resized(sample.image, size)}
        if sample.mask is not None:
            arrays["mask"] = _nearest(sample.mask, size)
        objects = sample.instances
        if objects is not None and len(objects):
            arrays["masks"] = [_nearest(objects.mask(i).astype(np.uint8), size) for i in range(len(objects))]
        return arrays


def resized(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """An image `(H, W, C)` at `size` (height, width), antialiased where it shrinks: the resizing of `segline.tasks.graph`, in the image's own type."""
    if image.shape[:2] == size:
        return image
    values = torch.from_numpy(np.array(image, dtype=np.uint8 if image.dtype == np.uint8 else np.float32)).permute(2, 0, 1)[None]
    smaller = functional.interpolate(values, size=size, mode="bilinear", align_corners=False, antialias=True)
    array = smaller[0].permute(1, 2, 0).contiguous().numpy()
    return array if array.dtype == image.dtype else _rounded(array, image.dtype)


def _rounded(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    return array.round().astype(dtype) if np.issubdtype(dtype, np.integer) else array.astype(dtype)


def _nearest(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Labels at another size: none is mixed with another."""
    if array.shape[:2] == size:
        return array
    return np.asarray(cv2.resize(array, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))


def _cropped(arrays: Arrays, size: tuple[int, int], random: np.random.Generator) -> Arrays:
    """A random window of at most `size`."""
    height, width = arrays["image"].shape[:2]
    top = int(random.integers(0, max(height - size[0], 0) + 1))
    left = int(random.integers(0, max(width - size[1], 0) + 1))
    window = (slice(top, top + size[0]), slice(left, left + size[1]))
    return _each(arrays, lambda array, _name: np.ascontiguousarray(array[window]))


def _padded(arrays: Arrays, size: tuple[int, int], padding: Sequence[float]) -> Arrays:
    """At least `size`: to the right and the bottom comes `padding` in the image, `ignore` in the index mask, nothing in an object's mask."""
    height, width = arrays["image"].shape[:2]
    below, right = max(size[0] - height, 0), max(size[1] - width, 0)
    if not (below or right):
        return arrays

    def padded(array: NDArray[Any], name: str) -> NDArray[Any]:
        shape = (array.shape[0] + below, array.shape[1] + right, *array.shape[2:])
        wider = np.zeros(shape, dtype=array.dtype)
        if name == "image":
            wider[:] = _rounded(np.asarray(padding, dtype=np.float64), array.dtype)
        elif name == "mask":
            wider[:] = IGNORE
        wider[: array.shape[0], : array.shape[1]] = array
        return wider

    return _each(arrays, padded)


def _each(arrays: Arrays, change: Any) -> Arrays:
    changed: Arrays = {}
    for name, value in arrays.items():
        changed[name] = [change(mask, name) for mask in value] if name == "masks" else change(value, name)
    return changed


def _instances(masks: Sequence[NDArray[np.uint8]], before: Instances, size: tuple[int, int]) -> Instances:
    keep = [i for i, mask in enumerate(masks) if mask.any()]
    boxes = np.zeros((len(keep), 4), dtype=np.float32)
    for row, i in enumerate(keep):
        x, y, w, h = cv2.boundingRect(masks[i])
        boxes[row] = x, y, x + w, y + h
    stack = np.stack([masks[i] for i in keep]).astype(np.bool_) if keep else np.zeros((0, *size), dtype=np.bool_)
    return Instances(stack, boxes, before.labels[keep], before.crowd[keep])


def _build(transforms: Sequence[Transform]) -> list[A.BasicTransform]:
    built: list[A.BasicTransform] = []
    problems: list[str] = []
    for transform in transforms:
        try:
            built.append(_transform(transform.name, dict(transform.arguments)))
        except ParametersError as error:
            problems += error.problems
    if problems:
        raise ParametersError(*problems)
    return built


def _transform(name: str, arguments: dict[str, Any]) -> A.BasicTransform:
    known = {n: c for n, c in vars(A).items() if isinstance(c, type) and issubclass(c, A.BasicTransform)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ParametersError(f"augment: albumentations has no transform '{name}'.{hint}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an argument that it does not know is only a warning to albumentations
            return known[name](**arguments)
    except (TypeError, ValueError, UserWarning) as error:
        raise ParametersError(f"augment: {name} cannot be made with {arguments}: {' '.join(str(error).split())}") from None
