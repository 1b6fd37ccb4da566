"""The transforms of a list `augment`, one at a time. The only module that knows albumentations, so that it can be replaced.

No truth is invented. A transform that reaches beyond the picture, or wipes out a part of it, fills in some value: in an index mask that value would be a class,
in an object's mask the object. So an index mask travels as class id + 1 (see `carried`), and 0 is what is filled in, whatever `fill_mask` says: there is no
truth here, and no object. A border that mirrors the picture mirrors its truth, which stays.

A step is refused when it is built, or when it is tried on a made-up picture (`tried`): nothing of this waits for the data.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from segline.choices import nearest
from segline.data.store import IGNORE
from segline.errors import ParametersError
from segline.training.settings import REFUSED_TRANSFORMS, Transform
from segline.training.twins import Change, Twin, Warp, twin_of
from segline_runtime.errors import reason
from segline_runtime.specification import ImageKind

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask the network for a newer version of itself at import

import albumentations as A

Arrays = dict[str, Any]
"""albumentations' own names: `image` `(H, W, C)`, `mask` uint8 `(H, W)` as `carried` makes it, `masks` uint8 `(N, H, W)` of 0 and 1, N at least 1.

Where the truth is objects, `mask` may be there as well.

Beside them `maps` float32 `(H, W, M)`, in 0…1: they go where the mask goes, by bilinear interpolation, and are 0 where it says `ignore`.
"""

_READ_MASK = frozenset({"MaskDropout", "ConstrainedCoarseDropout", "CropNonEmptyMaskIfExists"})
"""They decide by the class ids of the index mask, so they get it as it is."""

_READ_BOXES = frozenset({"AtLeastOneBBoxRandomCrop", "BBoxSafeRandomCrop", "RandomSizedBBoxSafeCrop"})

_RESIZE = frozenset(
    {"CropAndPad", "LongestMaxSize", "RandomResizedCrop", "RandomScale", "RandomSizedBBoxSafeCrop", "RandomSizedCrop", "Resize", "SmallestMaxSize"}
)
"""They resize masks by OpenCV's INTER_NEAREST, which takes the nearest pixel to the left and above: up to half a pixel of the result beside the image."""

_ADVICE = ".*(is a special case of|is a specialized version of|is an alias for|is very slow)"
"""What albumentations says of transforms that work."""

_LARGEST = 65535
"""No number that a transform takes is meant to be larger, save values of pixels; albumentations would begin and not end, or ask for terabytes."""

_LONGEST_SIDE = 8192
"""Pixels: what `input.size` may be."""


def carried(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An index mask as it goes through transforms: class id + 1, and 0 for `ignore` (255 + 1 in uint8)."""
    return mask + np.uint8(1)


def brought_back(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The index mask that `carried` was given."""
    return mask - np.uint8(1)


class Step:
    """One transform with its arguments. Raises ParametersError when albumentations has none such, or it cannot serve here."""

    def __init__(self, transform: Transform, *, objects: bool, scale: float) -> None:
        """objects: whether the truth is objects, or else an index mask. scale: the value of white, for images of other kinds than uint8."""
        self.name = transform.name
        self._transform = _made(transform.name, dict(transform.arguments))
        self._scale = scale
        self._reads_mask = self.name in _READ_MASK
        self._reads_boxes = self.name in _READ_BOXES
        self._objects = objects
        if self._reads_boxes and not objects:
            raise ParametersError(f"augment: {self.name} chooses by the boxes of objects, and this model learns from class masks. Take RandomResizedCrop.")
        if self.name == "MaskDropout" and objects:
            raise ParametersError("augment: MaskDropout needs a class mask, and this model learns from objects. Take CoarseDropout.")
        lacking = sorted(set(self._transform.targets_as_params) - {"image", "mask", "masks", "bboxes"})
        if lacking:
            raise ParametersError(f"augment: {self.name} needs '{lacking[0]}' beside each image, which params.yaml cannot give it. Remove it.")
        for attribute in ("fill_mask", "mask_drop_value"):
            if getattr(self._transform, attribute, None) is not None:  # None: the truth stays below what is wiped out
                setattr(self._transform, attribute, IGNORE if self._reads_mask else 0)
        if self.name in _RESIZE and self._transform.mask_interpolation == cv2.INTER_NEAREST:
            self._transform.mask_interpolation = cv2.INTER_NEAREST_EXACT

    def seeded(self, numbers: np.random.Generator, choices: random.Random) -> None:
        """Where its chances come from."""
        self._transform.set_random_state(numbers, choices)

    def __call__(self, arrays: Arrays, *, of: str, forced: bool = False) -> Arrays:
        """The arrays after the transform, which `forced` applies whatever its `p`. Raises ParametersError, naming the picture as `of` does."""
        image = arrays["image"]
        given = {name: array for name, array in arrays.items() if name != "maps"}
        if self._reads_mask:
            given["mask"] = _classes(arrays, objects=self._objects)
        follows = self._reads_mask and self._objects and "mask" in arrays  # beside the objects by which it decides, so as one more of them
        if follows:
            given["masks"] = np.concatenate([arrays.get("masks", np.zeros((0, *image.shape[:2]), np.uint8)), brought_back(arrays["mask"])[None]])
        if self._reads_boxes:
            given["bboxes"] = _boxes(arrays.get("masks", ()), image.shape[:2])
        unit = _Unit(image, self._scale) if image.dtype != np.uint8 and isinstance(self._transform, A.ImageOnlyTransform) else None
        if unit:
            given["image"] = unit.values(image)
        try:
            changed = self._transform(force_apply=forced, **given)
            if "maps" in arrays:
                changed["maps"] = self._followed(arrays["maps"])
        except Exception as error:  # albumentations, OpenCV and NumPy have no common kind of error
            raise ParametersError(self._failed(image, of, _reason(error))) from error
        after = {name: changed[name] for name in arrays}
        if follows:
            after["mask"] = changed["masks"][-1]
            after |= {"masks": changed["masks"][:-1]} if "masks" in arrays else {}
        wrong = _wrong(after, given["image"])
        if wrong:
            raise ParametersError(self._failed(image, of, wrong))
        after["image"] = after["image"].reshape(*after["image"].shape[:2], -1)
        if unit:
            applied = changed["image"] is not given["image"]
            after["image"] = unit.back(after["image"]) if applied else image
        if self._reads_mask and "mask" in after:
            after["mask"] = carried(after["mask"])
        if self._reads_mask and "masks" in after:
            after["masks"] = (after["masks"] == 1).astype(np.uint8)
        return after

    def _followed(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps `(H, W, M)` after what the transform has just done to the mask."""
        params = self._transform.params  # empty where it was not applied
        if not params or "mask" not in self._transform.targets:
            return maps
        linear = {"mask_interpolation": cv2.INTER_LINEAR} if hasattr(self._transform, "mask_interpolation") else {}
        before = {name: getattr(self._transform, name) for name in linear}
        vars(self._transform).update(linear)
        try:
            values = self._transform.apply_with_params(params | linear, mask=maps)["mask"]
        finally:
            vars(self._transform).update(before)
        followed: NDArray[np.float32] = values.reshape(*values.shape[:2], maps.shape[2]).clip(0, 1)
        return followed

    @property
    def twin(self) -> Twin | None:
        """What computes the same on a device; None where nothing does."""
        return twin_of(self.name, self._transform)

    def drawn(self, size: tuple[int, int], channels: int, *, of: str) -> Change | None:
        """What its twin is to do with a picture of this size (height, width); None where chance leaves the picture as it is.

        A twin computes with values of 0…1, as albumentations does with float32. Raises ParametersError, naming the picture as `of` does.
        """
        twin = self.twin
        assert twin is not None
        if not self._transform.should_apply():
            return None
        picture = np.broadcast_to(np.float32(0), (*size, channels))
        try:
            numbers = self._transform.update_transform_params(params=self._transform.get_params(), data={"image": picture})
            if twin.reads_image:
                numbers |= self._transform.get_params_dependent_on_data(params=numbers, data={"image": picture})
            change = twin.change(self._transform, numbers, size)
        except Exception as error:  # as above
            raise ParametersError(self._failed(picture, of, _reason(error))) from error
        if isinstance(change, Warp) and min(change.size) < 1:
            raise ParametersError(self._failed(picture, of, "it leaves nothing of the picture"))
        return change

    def _failed(self, image: NDArray[Any], of: str, why: str) -> str:
        height, width, channels = image.shape
        kind = f"{height} x {width} pixels, {channels} channel{'s' if channels > 1 else ''} of {image.dtype}"
        return f"augment: {self.name} cannot transform {of} ({kind}): {why}. Change its arguments, or remove it."


class _Unit:
    """Values of uint16 or float32 as albumentations takes them: white is 1.0. It cuts off what lies outside 0…1, so a wider image has a range of its own."""

    def __init__(self, image: NDArray[Any], scale: float) -> None:
        self._dtype = image.dtype
        self._low = min(0.0, float(image.min()))
        self._range = max(scale, float(image.max())) - self._low

    def values(self, image: NDArray[Any]) -> NDArray[np.float32]:
        return (image.astype(np.float32) - np.float32(self._low)) / np.float32(self._range)

    def back(self, values: NDArray[Any]) -> NDArray[Any]:
        return rounded(values * np.float32(self._range) + np.float32(self._low), self._dtype)


def rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values in another type; whole ones are the nearest."""
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype)
    return values.round().clip(np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


def tried(steps: Sequence[Step], *, sizes: Sequence[tuple[int, int]], image: ImageKind, objects: bool) -> list[str]:
    """Every step applied once, in order, to made-up pictures: a sentence for each that fails at all of `sizes` (height, width)."""
    found: dict[int, str] = {}
    for i, size in enumerate(sizes if steps else ()):
        failed = _tried_at(steps, size, image, objects)
        found = failed if i == 0 else {index: sentence for index, sentence in found.items() if index in failed}
        if not found:
            break
    return list(found.values())


def _tried_at(steps: Sequence[Step], size: tuple[int, int], image: ImageKind, objects: bool) -> dict[int, str]:
    """What fails, by the place of the step."""
    arrays = _made_up(size, image, objects)
    labels = np.unique(arrays["masks" if objects else "mask"])
    numbers, choices = np.random.default_rng(0), random.Random(0)
    problems: dict[int, str] = {}
    for i, step in enumerate(steps):
        step.seeded(numbers, choices)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # so it says that it does nothing
                after = step(arrays, of="a picture as this model sees it", forced=True)
        except ParametersError as error:
            problems[i] = error.problems[0]
            continue
        if not np.isin(after["masks" if objects else "mask"], [0, *labels]).all():
            problems[i] = f"augment: {step.name} mixes class ids into new ones, which makes wrong truth. Leave out its `mask_interpolation` and the like."
            continue
        arrays = after
    return problems


def _made_up(size: tuple[int, int], image: ImageKind, objects: bool) -> Arrays:
    """A picture of blocks of 16 pixels, with ids in blocks or six rectangles as objects."""
    random_numbers = np.random.default_rng(0)
    height, width = size
    rows, columns = np.arange(height) // 16, np.arange(width) // 16
    values = random_numbers.random((rows[-1] + 1, columns[-1] + 1, image.channels)) * image.scale
    arrays: Arrays = {"image": rounded(values[rows][:, columns], np.dtype(image.dtype))}
    if not objects:
        ids = random_numbers.choice(np.array([0, 3, 90, 180], dtype=np.uint8), values.shape[:2])
        return {**arrays, "mask": carried(ids[rows][:, columns])}
    masks = np.zeros((6, height, width), dtype=np.uint8)
    for i, mask in enumerate(masks):
        mask[height // 8 : height // 2, width * (i + 1) // 10 : width * (i + 3) // 10] = 1
    return {**arrays, "masks": masks}


def _wrong(after: Arrays, image: NDArray[Any]) -> str | None:
    """Why what came out cannot be used; None when it can."""
    picture = after["image"]
    if not isinstance(picture, np.ndarray) or picture.ndim not in (2, 3):
        return "it does not give back an image"
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    if channels != image.shape[2]:
        return f"it gives back {channels} channel{'s' if channels > 1 else ''}"
    if picture.dtype != image.dtype:
        return f"it gives back values of {picture.dtype}"
    if not picture.size:
        return "it leaves nothing of the picture"
    sizes = [truth.shape[:2] if name == "maps" else truth.shape[-2:] for name, truth in after.items() if name != "image"]
    followed = all(size == picture.shape[:2] for size in sizes)
    return None if followed else "the truth does not follow the image"


def _classes(arrays: Arrays, *, objects: bool) -> NDArray[np.uint8]:
    """`(H, W)`, the index mask; of objects, 1 where there is any."""
    if not objects:
        return brought_back(arrays["mask"])
    if "masks" in arrays:
        union: NDArray[np.uint8] = arrays["masks"].max(axis=0)
        return union
    return np.zeros(arrays["image"].shape[:2], dtype=np.uint8)


def _boxes(masks: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> NDArray[np.float32]:
    """(N, 4) xyxy in parts of width and height, of the objects that can be seen."""
    height, width = size
    boxes: list[tuple[float, ...]] = []
    for mask in masks:
        x, y, w, h = cv2.boundingRect(mask)
        if w:
            boxes.append((x / width, y / height, (x + w) / width, (y + h) / height))
    return np.asarray(boxes, dtype=np.float32).reshape(-1, 4)


def _made(name: str, arguments: dict[str, Any]) -> A.BasicTransform:
    known = {n: c for n, c in vars(A).items() if isinstance(c, type) and issubclass(c, A.BasicTransform)}
    if name in vars(A) and isinstance(vars(A)[name], type) and issubclass(vars(A)[name], A.BaseCompose):
        raise ParametersError(f"augment: {name} holds other transforms; list these themselves, each with its own `p`.")
    if name not in known:
        near = nearest(name, known)
        raise ParametersError(f"augment: albumentations has no transform '{name:.80}'." + (f" Did you mean {near}?" if near else ""))
    if name in REFUSED_TRANSFORMS:
        raise ParametersError(f"augment: {name} {REFUSED_TRANSFORMS[name]}. Remove it.")
    if known[name] in (A.BasicTransform, A.DualTransform, A.ImageOnlyTransform, A.Transform3D):
        raise ParametersError(f"augment: {name} is what albumentations' transforms are made from, and does nothing itself. Name a transform.")
    if issubclass(known[name], A.Transform3D):
        raise ParametersError(f"augment: {name} transforms volumes, not images. Remove it.")
    absurd = next((key for key, number in _numbers(arguments) if not abs(number) <= _limit(key)), None)
    if absurd is not None:
        raise ParametersError(f"augment: {name}.{absurd} is {arguments[absurd]!s:.80}; a number there is at most {_limit(absurd):g}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an argument that it does not know is only a warning to albumentations
            warnings.filterwarnings("ignore", _ADVICE)
            return known[name](**arguments)
    except Exception as error:  # whatever the validators of a transform raise
        raise ParametersError(f"augment: {name} cannot be made with {arguments}: {_reason(error)}") from None


def _numbers(arguments: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Every number of the arguments, however deep, with the argument's name."""
    for key, value in arguments.items():
        waiting = [value]
        while waiting:
            part = waiting.pop()
            if isinstance(part, dict | list):
                waiting += part.values() if isinstance(part, dict) else part
            elif isinstance(part, int | float):
                yield key, part


def _limit(key: str) -> float:
    """The largest number that an argument of this name may have."""
    if key.startswith(("fill", "drop_value")):
        return float(np.finfo(np.float32).max)
    return _LONGEST_SIDE if any(word in key for word in ("height", "width", "size", "px", "padding")) else _LARGEST


def _reason(error: Exception) -> str:
    """What went wrong, fit for the middle of a sentence."""
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error.__cause__, ValidationError):
        found = error.__cause__.errors()
        return reason("; ".join(": ".join([*map(str, detail["loc"]), detail["msg"].removeprefix("Value error, ")]) for detail in found))
    return reason(error)
