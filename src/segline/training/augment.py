"""Augmentation from the list in params.yaml: masks and boxes stay in step with the image, and what has no truth says so.

An image is resized as the model's geometry says, transformed at random, and then cropped: transforms see it whole. Boxes are taken anew from the transformed
masks, so they fit them exactly.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from segline.data.store import IGNORE, Instances, Sample, Truth
from segline.errors import ParametersError
from segline.training.augment_steps import Arrays, Step, brought_back, carried, rounded, tried
from segline.training.settings import Transform
from segline.training.truth_maps import TruthMaps
from segline_runtime.geometry import Window, network_size
from segline_runtime.images import RGB
from segline_runtime.specification import Geometry, ImageKind

_ANY_SIZE = ((256, 256), (2048, 2048))
"""Where nothing says how large images are, a transform must work at one of these."""


class Augmentation:
    """Resizing, random transforms, crop and padding.

    Raises ParametersError for an unknown transform, wrong arguments, and one that cannot transform images of this kind and size: each is tried once, on a
    made-up picture. Where `geometry.size` is None it need not be that large: two sizes are tried.
    """

    def __init__(
        self,
        transforms: Sequence[Transform],
        *,
        geometry: Geometry,
        truth: Truth,
        image: ImageKind = RGB,
        crop: tuple[int, int] | None = None,
        padding: Sequence[float] = (0.0,),
        maps: TruthMaps | None = None,
    ) -> None:
        """truth: what the model learns from. crop: height and width of what training cuts out.

        padding: value per channel where an image does not reach, of the image's own scale. maps: makes what the losses read beside an index mask, if anything.
        """
        objects = truth != "index"
        self._steps = _steps(transforms, objects, image.scale)
        problems = tried(self._steps, sizes=_sizes(geometry), image=image, objects=objects)
        if problems:
            raise ParametersError(*problems)
        self._geometry = geometry
        self._crop = crop
        self._padding = padding
        self.maps = maps

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """The sample as the network sees it in training; the same seed gives the same picture. Objects that left the picture are left out.

        Index masks of a batch are one tensor: where the geometry has one size, what a transform made larger is cropped to it, and what it made smaller padded.
        Raises ParametersError when a transform cannot transform this image.
        """
        followed = None if self.maps is None else self.maps.of_image(sample)
        if self.maps is not None:
            sample = replace(sample, instances=None)  # the maps are made of them, and the model learns from the mask
        arrays = self._resized(sample)
        if followed is not None:
            arrays["maps"] = resized(followed, arrays["image"].shape[:2])
        arrays = self._transformed(arrays, sample.name, seed)
        only = self._geometry.size if self._geometry.fit in ("stretch", "letterbox") else None
        most = self._crop or (only if sample.mask is not None else None)
        least = self._crop or (only if sample.mask is not None or self._geometry.fit == "letterbox" else None)
        if most is not None:
            arrays = _cropped(arrays, most, np.random.default_rng(seed))
        if least is not None:
            arrays = _padded(arrays, least, self._padding)
        objects = sample.instances
        if objects is not None:
            objects = _instances(arrays.get("masks", ()), objects, arrays["image"].shape[:2])
        maps = None if self.maps is None else self.maps.of_picture(arrays["mask"], arrays.get("maps"))
        return Sample(sample.image_id, sample.name, arrays["image"], arrays.get("mask"), objects, maps)

    def _resized(self, sample: Sample) -> Arrays:
        size = network_size((sample.image.shape[0], sample.image.shape[1]), self._geometry)
        arrays: Arrays = {"image": resized(sample.image, size)}
        if sample.mask is not None:
            arrays["mask"] = _nearest(sample.mask, size)
        objects = sample.instances
        if objects is not None and len(objects):
            masks = np.empty((len(objects), *size), dtype=np.uint8)
            for i in range(len(objects)):
                masks[i] = _nearest(objects.mask(i).astype(np.uint8), size)
            arrays["masks"] = masks
        return arrays

    def _transformed(self, arrays: Arrays, name: str, seed: int) -> Arrays:
        if not self._steps:
            return arrays
        numbers, choices = np.random.default_rng(seed), random.Random(seed)
        if "mask" in arrays:
            arrays["mask"] = carried(arrays["mask"])
        for step in self._steps:
            step.seeded(numbers, choices)
            arrays = step(arrays, of=f"the image '{name}'")
        if "mask" in arrays:
            arrays["mask"] = brought_back(arrays["mask"])
        return arrays


def _steps(transforms: Sequence[Transform], objects: bool, scale: float) -> list[Step]:
    steps: list[Step] = []
    problems: list[str] = []
    for transform in transforms:
        try:
            steps.append(Step(transform, objects=objects, scale=scale))
        except ParametersError as error:
            problems += error.problems
    if problems:
        raise ParametersError(*problems)
    return steps


def _sizes(geometry: Geometry) -> Sequence[tuple[int, int]]:
    """Sizes (height, width) at which transforms may see images."""
    if geometry.size is None:
        return _ANY_SIZE
    if geometry.fit == "shorter_side":
        least, most = min(geometry.size), max(geometry.size)
        return ((least, most), (most, least), (least, least))
    return (geometry.size,)


def resized(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """An image `(H, W, C)` at `size` (height, width), antialiased where it shrinks: the resizing of `segline.tasks.graph`, in the image's own type."""
    if image.shape[:2] == size:
        return image
    values = torch.from_numpy(np.array(image, dtype=np.uint8 if image.dtype == np.uint8 else np.float32)).permute(2, 0, 1)[None]
    smaller = functional.interpolate(values, size=size, mode="bilinear", align_corners=False, antialias=True)
    array = smaller[0].permute(1, 2, 0).contiguous().numpy()
    return array if array.dtype == image.dtype else rounded(array, image.dtype)


def cut(sample: Sample, windows: Sequence[Window]) -> list[Sample]:
    """A sample's windows, each a sample with the truth that lies in it; boxes are taken anew from the cut masks."""
    masks: list[list[NDArray[np.uint8]]] = [[] for _ in windows]
    objects = sample.instances
    if objects is not None:
        for i in range(len(objects)):
            mask = objects.mask(i)  # decoded once: images with windows are large
            for part, (top, left, bottom, right) in zip(masks, windows, strict=True):
                part.append(mask[top:bottom, left:right].astype(np.uint8))
    parts: list[Sample] = []
    for part, (top, left, bottom, right) in zip(masks, windows, strict=True):
        image = sample.image[top:bottom, left:right]
        index = None if sample.mask is None else sample.mask[top:bottom, left:right]
        inside = None if objects is None else _instances(part, objects, image.shape[:2])
        maps = None if sample.maps is None else {name: values[..., top:bottom, left:right] for name, values in sample.maps.items()}
        parts.append(Sample(sample.image_id, sample.name, image, index, inside, maps))
    return parts


def _nearest(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Labels at another size: none is mixed with another."""
    if array.shape[:2] == size:
        return array
    return np.asarray(cv2.resize(array, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))


def _cropped(arrays: Arrays, size: tuple[int, int], numbers: np.random.Generator) -> Arrays:
    """A random window of at most `size`."""
    height, width = arrays["image"].shape[:2]
    if height <= size[0] and width <= size[1]:
        return arrays
    top = int(numbers.integers(0, max(height - size[0], 0) + 1))
    left = int(numbers.integers(0, max(width - size[1], 0) + 1))
    rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
    window = {name: array[:, rows, columns] if name == "masks" else array[rows, columns] for name, array in arrays.items()}
    return {name: np.ascontiguousarray(array) for name, array in window.items()}


def _padded(arrays: Arrays, size: tuple[int, int], padding: Sequence[float]) -> Arrays:
    """At least `size`: to the right and the bottom comes `padding` in the image, `ignore` in the index mask, nothing in an object's mask and in maps."""
    height, width = arrays["image"].shape[:2]
    below, right = max(size[0] - height, 0), max(size[1] - width, 0)
    if not (below or right):
        return arrays

    values = rounded(np.asarray(padding, dtype=np.float64), arrays["image"].dtype)
    padded: Arrays = {}
    for name, array in arrays.items():
        if name == "masks":
            padded[name] = np.pad(array, ((0, 0), (0, below), (0, right)))
            continue
        wider = np.empty((height + below, width + right, *array.shape[2:]), dtype=array.dtype)
        wider[:] = values if name == "image" else 0 if name == "maps" else IGNORE
        wider[:height, :width] = array
        padded[name] = wider
    return padded


def _instances(masks: Sequence[NDArray[np.uint8]], before: Instances, size: tuple[int, int]) -> Instances:
    keep = [i for i, mask in enumerate(masks) if mask.any()]
    boxes = np.zeros((len(keep), 4), dtype=np.float32)
    for row, i in enumerate(keep):
        x, y, w, h = cv2.boundingRect(masks[i])
        boxes[row] = x, y, x + w, y + h
    stack = np.stack([masks[i] for i in keep]).astype(np.bool_) if keep else np.zeros((0, *size), dtype=np.bool_)
    return Instances(stack, boxes, before.labels[keep], before.crowd[keep])
