"""Transforms as they are computed on tensors, on any device: the twins of albumentations' transforms, fed with the chances that these draw.

A twin is no second definition of what is random: albumentations draws (in the loader, by the image's seed), and the numbers travel with the image. So a list
`augment` means the same wherever it is computed; pixels differ by interpolation and rounding alone. What moves pixels is one map of coordinates: neighbours in
a list are composed and the picture is resampled once. Beyond the picture is black without truth, as in the loader.

Coordinates are pixels, x before y; the middle of the first pixel is 0. Images are float32 `(C, h, w)` of 0…1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as colour

Size = tuple[int, int]
"""Height, width in pixels."""

Matrix = NDArray[np.float64]
"""3 × 3: homogeneous coordinates of the picture before → those after."""

_LINEAR, _CONSTANT = 1, 0
"""OpenCV's numbers for the interpolation and the border that twins have."""


@dataclass(frozen=True)
class Warp:
    """Pixels that move."""

    matrix: Matrix
    size: Size  # of the picture afterwards

    def after(self, first: Warp) -> Warp:
        """Both in one."""
        return Warp(self.matrix @ first.matrix, self.size)


@dataclass(frozen=True)
class Jitter:
    """ColorJitter: factors, and the order of the four."""

    brightness: float
    contrast: float
    saturation: float
    hue: float
    order: tuple[int, ...]

    def __call__(self, image: Tensor) -> Tensor:
        for which in self.order:
            if which == 0:
                image = colour.adjust_brightness(image, self.brightness)
            elif which == 1:
                image = colour.adjust_contrast(image, self.contrast)
            elif which == 2:
                image = colour.adjust_saturation(image, self.saturation)
            else:
                image = colour.adjust_hue(image, self.hue)
        return image


@dataclass(frozen=True)
class Linear:
    """Values times `factor`, plus `offset`."""

    factor: float
    offset: float

    def __call__(self, image: Tensor) -> Tensor:
        return (image * self.factor + self.offset).clamp(0, 1)


@dataclass(frozen=True)
class Gamma:
    """Values to a power."""

    power: float

    def __call__(self, image: Tensor) -> Tensor:
        return image.pow(self.power)


@dataclass(frozen=True)
class Blur:
    """A separable filter; borders are mirrored."""

    kernel: NDArray[np.float32]  # (K,), K odd

    def __call__(self, image: Tensor) -> Tensor:
        kernel = torch.from_numpy(self.kernel).to(image)
        reach = len(kernel) // 2
        padded = functional.pad(image[:, None], (reach, reach, reach, reach), mode="reflect" if reach < min(image.shape[1:]) else "replicate")
        return functional.conv2d(functional.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[:, 0].clamp(0, 1)


@dataclass(frozen=True)
class Noise:
    """Normal noise, drawn where the image is: the same seed gives other numbers on another kind of device."""

    mean: float
    deviation: float
    shared: bool  # whether all channels have the same
    seed: int

    def __call__(self, image: Tensor) -> Tensor:
        generator = torch.Generator(image.device).manual_seed(self.seed)
        shape = (1 if self.shared else image.shape[0], *image.shape[1:])
        noise = torch.randn(shape, generator=generator, device=image.device)
        return (image + noise * self.deviation + self.mean).clamp(0, 1)


Change = Warp | Jitter | Linear | Gamma | Blur | Noise


@dataclass(frozen=True)
class Twin:
    """How what a transform of albumentations has drawn becomes a change."""

    change: Callable[[Any, Mapping[str, Any], Size], Change]  # the transform, its numbers, the picture's size before
    fits: Callable[[Any], bool] = lambda _transform: True  # whether it has a twin with these arguments
    reads_image: bool = True  # whether albumentations is asked for numbers that depend on the picture's size and type


def twin_of(name: str, transform: Any) -> Twin | None:
    """The twin of a transform of albumentations, with the arguments that it was made with; None: it stays in the loader."""
    twin = TWINS.get(name)
    return twin if twin is not None and twin.fits(transform) else None


def moved(
    warp: Warp, image: Tensor, mask: Tensor | None, masks: Tensor | None, *, ignore: int, beyond: float | Tensor = 0.0
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Image `(C, h, w)`, index mask `(h, w)` and object masks `(N, h, w)` after a warp: resampled bilinearly, and truth as the nearest pixel has it.

    beyond: the value of black, where the picture does not reach; an index mask has `ignore` there.
    """
    height, width = image.shape[1:]
    rows, columns = warp.size
    back = np.linalg.inv(warp.matrix)
    xs = torch.arange(columns, device=image.device, dtype=torch.float32)
    ys = torch.arange(rows, device=image.device, dtype=torch.float32)[:, None]
    x, y = (float(back[axis, 0]) * xs + float(back[axis, 1]) * ys + float(back[axis, 2]) for axis in (0, 1))  # (rows, columns) each
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)[None]
    nearest_x, nearest_y = (torch.floor(values + 0.5 + _TIE).long() for values in (x, y))
    inside = (nearest_x >= 0) & (nearest_x < width) & (nearest_y >= 0) & (nearest_y < height)
    nearest_x, nearest_y = nearest_x.clamp(0, width - 1), nearest_y.clamp(0, height - 1)
    image = functional.grid_sample(image[None], grid, mode="bilinear", padding_mode="border", align_corners=False)[0]
    image = torch.where(inside, image, beyond)
    if mask is not None:
        mask = torch.where(inside, mask[nearest_y, nearest_x], ignore)
    if masks is not None:
        masks = masks[:, nearest_y, nearest_x] * inside
    return image, mask, masks


_TIE = 1e-4
"""Pixels. Coordinates that should lie exactly between two pixels are rounded alike, whatever the last bit of a float says."""


def _flipped(size: Size, *, across: bool, down: bool) -> Warp:
    height, width = size
    matrix = np.eye(3)
    if across:
        matrix[0] = (-1, 0, width - 1)
    if down:
        matrix[1] = (0, -1, height - 1)
    return Warp(matrix, size)


def _transposed(size: Size) -> Warp:
    return Warp(np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), (size[1], size[0]))


def _turned(size: Size, quarters: int) -> Warp:
    """By quarters, against the clock."""
    warp = Warp(np.eye(3), size)
    for _ in range(quarters % 4):
        width = warp.size[1]
        turn = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, width - 1.0], [0.0, 0.0, 1.0]])
        warp = Warp(turn, (width, warp.size[0])).after(warp)
    return warp


def _of_square(_transform: Any, numbers: Mapping[str, Any], size: Size) -> Warp:
    match str(numbers["group_element"]):
        case "r90":
            return _turned(size, 1)
        case "r180":
            return _turned(size, 2)
        case "r270":
            return _turned(size, 3)
        case "h":
            return _flipped(size, across=True, down=False)
        case "v":
            return _flipped(size, across=False, down=True)
        case "t":
            return _transposed(size)
        case "hvt":
            return _transposed(size).after(_turned(size, 2))
    return Warp(np.eye(3), size)


def _affine(_transform: Any, numbers: Mapping[str, Any], size: Size) -> Warp:
    height, width = numbers.get("output_shape", size)
    return Warp(np.asarray(numbers["matrix"], dtype=np.float64), (round(float(height)), round(float(width))))


def _resized(before: Size, after: Size, top: float = 0.0, left: float = 0.0) -> Warp:
    """A window of the size `before` from (top, left) on, at the size `after`: edges come to lie on edges."""
    tall, wide = after[0] / before[0], after[1] / before[1]
    return Warp(np.array([[wide, 0.0, (0.5 - left) * wide - 0.5], [0.0, tall, (0.5 - top) * tall - 0.5], [0.0, 0.0, 1.0]]), after)


def _rescaled(_transform: Any, numbers: Mapping[str, Any], size: Size) -> Warp:
    return _resized(size, (int(size[0] * numbers["scale"]), int(size[1] * numbers["scale"])))


def window(top: int, left: int, size: Size) -> Warp:
    """What is cut out."""
    return Warp(np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]]), size)


def _cut(_transform: Any, numbers: Mapping[str, Any], _size: Size) -> Warp:
    left, top, right, bottom = numbers["crop_coords"]
    return window(top, left, (bottom - top, right - left))


def _cut_and_resized(transform: Any, numbers: Mapping[str, Any], _size: Size) -> Warp:
    left, top, right, bottom = numbers["crop_coords"]
    return _resized((bottom - top, right - left), tuple(transform.size), top, left)


def _jitter(_transform: Any, numbers: Mapping[str, Any], _size: Size) -> Jitter:
    brightness, contrast, saturation, hue = (float(numbers[name]) for name in ("brightness", "contrast", "saturation", "hue"))
    return Jitter(brightness, contrast, saturation, hue, tuple(int(which) for which in numbers["order"]))


def _noise(transform: Any, _numbers: Mapping[str, Any], _size: Size) -> Noise:
    chance = transform.py_random
    deviation, mean = chance.uniform(*transform.std_range), chance.uniform(*transform.mean_range)
    return Noise(mean, deviation, not transform.per_channel, chance.getrandbits(62))


def _plainly_moves(transform: Any) -> bool:
    """Linear interpolation, and nothing beyond the picture."""
    black = bool(np.all(np.asarray(getattr(transform, "fill", 0)) == 0))
    nothing_beyond = getattr(transform, "border_mode", _CONSTANT) == _CONSTANT and black and not getattr(transform, "crop_border", False)
    return nothing_beyond and getattr(transform, "interpolation", _LINEAR) == _LINEAR and getattr(transform, "area_for_downscale", None) is None


def _only_cuts(transform: Any) -> bool:
    return not getattr(transform, "pad_if_needed", False)


TWINS: dict[str, Twin] = {
    "HorizontalFlip": Twin(lambda _transform, _numbers, size: _flipped(size, across=True, down=False)),
    "VerticalFlip": Twin(lambda _transform, _numbers, size: _flipped(size, across=False, down=True)),
    "Transpose": Twin(lambda _transform, _numbers, size: _transposed(size)),
    "RandomRotate90": Twin(lambda _transform, numbers, size: _turned(size, int(numbers["factor"]))),
    "D4": Twin(_of_square),
    "SquareSymmetry": Twin(_of_square),
    "Affine": Twin(_affine, _plainly_moves),
    "Rotate": Twin(_affine, _plainly_moves),
    "SafeRotate": Twin(_affine, _plainly_moves),
    "ShiftScaleRotate": Twin(_affine, _plainly_moves),
    "RandomScale": Twin(_rescaled, _plainly_moves),
    "RandomResizedCrop": Twin(_cut_and_resized, _plainly_moves),
    "RandomCrop": Twin(_cut, _only_cuts),
    "CenterCrop": Twin(_cut, _only_cuts),
    "ColorJitter": Twin(_jitter),
    "RandomBrightnessContrast": Twin(
        lambda _transform, numbers, _size: Linear(float(numbers["alpha"]), float(numbers["beta"])), lambda transform: transform.brightness_by_max
    ),
    "RandomGamma": Twin(lambda _transform, numbers, _size: Gamma(float(numbers["gamma"]))),
    "GaussianBlur": Twin(lambda _transform, numbers, _size: Blur(np.asarray(numbers["kernel"], dtype=np.float32).ravel())),
    "GaussNoise": Twin(_noise, reads_image=False),
}
"""By the names that a list `augment` has. Whatever is not here, or has other arguments than a twin can follow, is computed in the loader."""
