"""Augmentation from the list in params.yaml: masks and boxes stay in step with the image, and what has no truth says so.

An image is resized as the model's geometry says, transformed at random, and then cropped: transforms see it whole. Boxes are taken anew from the transformed
masks, so they fit them exactly.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from segline.data.store import IGNORE, Instances, Sample, Truth
from segline.errors import ParametersError
from segline.tasks.learning import Picture
from segline.training.augment_steps import Arrays, Step, brought_back, carried, rounded, tried
from segline.training.copy_paste import CopyPaste, Labels
from segline.training.on_device import DeviceAugmentation, Prepared
from segline.training.resizing import nearest, resized
from segline.training.settings import COPY_PASTE, Transform
from segline.training.truth_maps import TruthMaps
from segline.training.twins import Change, Warp, window
from segline_runtime.geometry import Window, network_size
from segline_runtime.images import RGB
from segline_runtime.specification import Geometry, ImageKind

_ANY_SIZE = ((256, 256), (2048, 2048))
"""Where nothing says how large images are, a transform must work at one of these."""


@dataclass(frozen=True)
class View:
    """How a step sees its images, all of them alike."""

    scale: float = 1.0  # factor of the size that the geometry gives them, and of the crop
    cropped: bool = True  # whether training's crop is cut out


WHOLE = View()
"""As the geometry says."""


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
        """truth: what the model learns from; where that is objects, an index mask may go with them. crop: height and width of what training cuts out.

        padding: value per channel where an image does not reach, of the image's own scale. maps: makes what the losses read beside an index mask, if anything.
        """
        objects = truth != "index"
        self._steps = _steps(transforms, objects, image.scale)
        steps = [step for step in self._steps if isinstance(step, Step)]
        problems = tried(steps, sizes=_sizes(geometry), image=image, objects=objects)
        if problems:
            raise ParametersError(*problems)
        self._pastes = len(steps) < len(self._steps)
        self._objects = objects
        self._geometry = geometry
        self._image = image
        self._crop = crop
        self._padding = padding
        self.maps = maps

    def __call__(self, sample: Sample, seed: int, view: View = WHOLE, others: Sequence[Sample] = ()) -> Sample:
        """The sample as the network sees it in training; the same seed gives the same picture. Objects that left the picture are left out.

        others: images from which objects may be pasted, with the truth of the model and the masks of their objects.
        Index masks of a batch are one tensor: where the geometry has one size, what a transform made larger is cropped to it, and what it made smaller padded.
        Raises ParametersError when a transform cannot transform this image.
        """
        followed = None if self.maps is None else self.maps.of_image(sample)
        if not self._objects and (self._pastes or followed is not None):
            sample = replace(sample, instances=None)  # read for those that are pasted, or for maps; this model learns from the mask
        arrays, labels = self._transformed(sample, _Chance(seed), self._steps, view, others, followed)
        most, least = self._bounds(sample, view)
        if most is not None:
            arrays = _cropped(arrays, most, np.random.default_rng(seed))
        if least is not None:
            arrays = _padded(arrays, least, self._padding)
        objects = None if sample.instances is None else _instances(arrays.get("masks", ()), labels, arrays["image"].shape[:2])
        maps = None if self.maps is None else self.maps.of_picture(arrays["mask"], arrays.get("maps"))
        return Sample(sample.image_id, sample.name, arrays["image"], arrays.get("mask"), objects, maps)

    def prepared(self, sample: Sample, seed: int, view: View = WHOLE, others: Sequence[Sample] = ()) -> Prepared:
        """The same without the last transforms, if all of them have twins (`on_device`), and without the crop: these are decided here, and done on a device.

        Raises ParametersError as the call does.
        """
        assert self.maps is None, "maps are made of the picture as the network sees it"
        if not self._objects and self._pastes:
            sample = replace(sample, instances=None)
        chance = _Chance(seed)
        own, twins = self._parted
        arrays, labels = self._transformed(sample, chance, own, view, others)
        size: tuple[int, int] = arrays["image"].shape[:2]
        changes: list[Change] = []
        for step in twins:
            step.seeded(chance.numbers, chance.choices)
            change = step.drawn(size, arrays["image"].shape[2], of=f"the image '{sample.name}'")
            if change is not None:
                changes.append(change)
                size = change.size if isinstance(change, Warp) else size
        most, least = self._bounds(sample, view)
        if most is not None and (size[0] > most[0] or size[1] > most[1]):
            top, left = _corner(size, most, np.random.default_rng(seed))
            changes.append(window(top, left, (min(size[0], most[0]), min(size[1], most[1]))))
        return Prepared(_picture(arrays, labels, objects=sample.instances is not None), tuple(changes), least)

    def second_half(self) -> DeviceAugmentation:
        """What goes on where `prepared` ends."""
        return DeviceAugmentation(self._image, self._padding)

    @property
    def on_device(self) -> tuple[str, ...]:
        """Names of the transforms that a device can do, with none behind them that it cannot."""
        return tuple(step.name for step in self._parted[1])

    @property
    def in_loader(self) -> tuple[str, ...]:
        """Names of the others."""
        return tuple(step.name for step in self._parted[0])

    @cached_property
    def _parted(self) -> tuple[list[Step | CopyPaste], list[Step]]:
        own = list(self._steps)
        twins: list[Step] = []
        while own and isinstance(own[-1], Step) and own[-1].twin is not None:
            twins.insert(0, own[-1])
            own.pop()
        return own, twins

    def _bounds(self, sample: Sample, view: View) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        """The sizes (height, width) to which a transformed picture is cropped, and padded; None: it stays as it is."""
        only = self._geometry.size if self._geometry.fit in ("stretch", "letterbox") else None
        crop = self._crop if view.cropped else None
        most = crop or (only if sample.mask is not None else None)
        least = crop or (only if sample.mask is not None or self._geometry.fit == "letterbox" else None)
        return most and _scaled(most, view.scale), least and _scaled(least, view.scale)

    def _resized(self, sample: Sample, view: View) -> Arrays:
        size = _scaled(network_size((sample.image.shape[0], sample.image.shape[1]), self._geometry), view.scale)
        arrays: Arrays = {"image": resized(sample.image, size)}
        if sample.mask is not None:
            arrays["mask"] = nearest(sample.mask, size)
        objects = sample.instances
        if objects is not None and len(objects):
            masks = np.empty((len(objects), *size), dtype=np.uint8)
            for i in range(len(objects)):
                masks[i] = nearest(objects.mask(i).astype(np.uint8), size)
            arrays["masks"] = masks
        return arrays

    def _transformed(
        self,
        sample: Sample,
        chance: _Chance,
        steps: Sequence[Step | CopyPaste],
        view: View,
        others: Sequence[Sample],
        followed: NDArray[np.float32] | None = None,
    ) -> tuple[Arrays, Labels]:
        """The arrays after the steps, and the labels of their objects. followed: maps `(H, W, M)` of the sample, which go with its mask."""
        arrays, labels = self._resized(sample, view), _labels(sample)
        if followed is not None:
            arrays["maps"] = resized(followed, arrays["image"].shape[:2])
        if not steps:
            return arrays, labels
        if "mask" in arrays:
            arrays["mask"] = carried(arrays["mask"])
        for step in steps:
            if isinstance(step, CopyPaste):
                arrays, labels = step(arrays, labels, others=others, geometry=self._geometry, scale=view.scale, numbers=chance.numbers)
                continue
            step.seeded(chance.numbers, chance.choices)
            arrays = step(arrays, of=f"the image '{sample.name}'")
        if "mask" in arrays:
            arrays["mask"] = brought_back(arrays["mask"])
        return arrays, labels


class _Chance:
    """Where the chances of one picture come from; albumentations draws from two generators."""

    def __init__(self, seed: int) -> None:
        self.numbers = np.random.default_rng(seed)
        self.choices = random.Random(seed)


def pastes(transforms: Sequence[Transform]) -> bool:
    """Whether a list needs the masks of objects, whatever the model learns from."""
    return any(transform.name == COPY_PASTE for transform in transforms)


def _steps(transforms: Sequence[Transform], objects: bool, scale: float) -> list[Step | CopyPaste]:
    steps: list[Step | CopyPaste] = []
    problems: list[str] = []
    for transform in transforms:
        try:
            steps.append(CopyPaste(transform, objects=objects) if transform.name == COPY_PASTE else Step(transform, objects=objects, scale=scale))
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


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return size if scale == 1 else (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))


def _labels(sample: Sample) -> Labels:
    if sample.instances is None:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)
    return sample.instances.labels, sample.instances.crowd


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
        inside = None if objects is None else _instances(part, _labels(sample), image.shape[:2])
        maps = None if sample.maps is None else {name: values[..., top:bottom, left:right] for name, values in sample.maps.items()}
        parts.append(Sample(sample.image_id, sample.name, image, index, inside, maps))
    return parts


def _corner(size: tuple[int, int], most: tuple[int, int], numbers: np.random.Generator) -> tuple[int, int]:
    """Top and left of a random window of at most `most` in a picture of `size`."""
    return int(numbers.integers(0, max(size[0] - most[0], 0) + 1)), int(numbers.integers(0, max(size[1] - most[1], 0) + 1))


def _picture(arrays: Arrays, labels: Labels, *, objects: bool) -> Picture:
    """Tensors of what a model learns from: an index mask, or objects."""
    image = arrays["image"].transpose(2, 0, 1)
    masks = arrays.get("masks", np.zeros((0, *image.shape[1:]), dtype=np.uint8)) if objects else None
    return Picture(
        torch.from_numpy(np.require(image, None if image.dtype == np.uint8 else np.float32, ["C", "W"])),
        torch.from_numpy(np.require(arrays["mask"], requirements=["C", "W"])) if "mask" in arrays else None,
        None if masks is None else torch.from_numpy(np.require(masks, requirements=["C", "W"])),
        torch.from_numpy(labels[0]),
        torch.from_numpy(labels[1]),
    )


def _cropped(arrays: Arrays, size: tuple[int, int], numbers: np.random.Generator) -> Arrays:
    """A random window of at most `size`."""
    height, width = arrays["image"].shape[:2]
    if height <= size[0] and width <= size[1]:
        return arrays
    top, left = _corner((height, width), size, numbers)
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


def _instances(masks: Sequence[NDArray[np.uint8]], labels: Labels, size: tuple[int, int]) -> Instances:
    keep = [i for i, mask in enumerate(masks) if mask.any()]
    boxes = np.zeros((len(keep), 4), dtype=np.float32)
    for row, i in enumerate(keep):
        x, y, w, h = cv2.boundingRect(masks[i])
        boxes[row] = x, y, x + w, y + h
    stack = np.stack([masks[i] for i in keep]).astype(np.bool_) if keep else np.zeros((0, *size), dtype=np.bool_)
    ids, crowd = labels
    return Instances(stack, boxes, ids[keep], crowd[keep])
