"""Augmentation by albumentations, from the list in params.yaml; masks and boxes stay in step with the image.

The only module that knows albumentations, so that it can be replaced. Transforms see an image at the size at which the network will see it; one that
crops makes the training see crops. Boxes are taken anew from the transformed masks, so they fit them exactly.
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segline.data.store import Instances, Sample
from segline.errors import ParametersError
from segline_runtime.specification import Specification

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a newer version of itself at import

import albumentations as A


class Augmentation:
    """The resizing of `specification`, then random transforms. Raises ParametersError for an unknown transform or wrong arguments."""

    def __init__(self, transforms: Sequence[Mapping[str, Mapping[str, Any] | None]], specification: Specification) -> None:
        self._specification = specification
        self._compose = A.Compose(_build(transforms))

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """The sample as the network sees it in training; the same seed gives the same picture. Objects that left the picture are left out."""
        self._compose.set_random_seed(seed)
        size = network_size(sample.image.shape[:2], self._specification)
        arrays: dict[str, Any] = {"image": _resized(sample.image, size, cv2.INTER_LINEAR)}
        if sample.mask is not None:
            arrays["mask"] = _resized(sample.mask, size, cv2.INTER_NEAREST_EXACT)
        objects = sample.instances
        if objects is not None and len(objects.masks):
            arrays["masks"] = [_resized(mask.astype(np.uint8), size, cv2.INTER_NEAREST_EXACT) for mask in objects.masks]
        arrays = self._compose(**arrays)
        if objects is not None:
            objects = _instances(arrays.get("masks", ()), objects, arrays["image"].shape[:2])
        return Sample(sample.image_id, sample.name, arrays["image"], arrays.get("mask"), objects)


def network_size(size: tuple[int, int], specification: Specification) -> tuple[int, int]:
    """Height and width that the network sees of an image of `size`, by the specification's rule."""
    if specification.resize == "stretch":
        return specification.image_size
    short, long = min(size), max(size)
    to_short, to_long = min(specification.image_size), max(specification.image_size)
    over, under = (to_short, short) if to_short * long <= to_long * short else (to_long, long)
    return max(1, size[0] * over // under), max(1, size[1] * over // under)


def _resized(array: NDArray[Any], size: tuple[int, int], interpolation: int) -> NDArray[Any]:
    if array.shape[:2] == size:
        return array
    return np.asarray(cv2.resize(array, size[::-1], interpolation=interpolation))


def _instances(masks: Sequence[NDArray[np.uint8]], before: Instances, size: tuple[int, int]) -> Instances:
    keep = [i for i, mask in enumerate(masks) if mask.any()]
    boxes = np.zeros((len(keep), 4), dtype=np.float32)
    for row, i in enumerate(keep):
        x, y, w, h = cv2.boundingRect(masks[i])
        boxes[row] = x, y, x + w, y + h
    stack = np.stack([masks[i] for i in keep]).astype(np.bool_) if keep else np.zeros((0, *size), dtype=np.bool_)
    return Instances(stack, boxes, before.labels[keep], before.crowd[keep])


def _build(transforms: Sequence[Mapping[str, Mapping[str, Any] | None]]) -> list[A.BasicTransform]:
    built: list[A.BasicTransform] = []
    problems: list[str] = []
    for entry in transforms:
        for name, arguments in entry.items():
            try:
                built.append(_transform(name, dict(arguments or {})))
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
