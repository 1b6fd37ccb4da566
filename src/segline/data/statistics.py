"""What is counted over the training images: channel values, class pixels, sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segline.data.store import IGNORE, ImageSizes
from segline_runtime.specification import ImageKind

_CONSTANT = 1e-12
"""Variance up to which a channel counts as constant; its standard deviation is 1 then, so that dividing by it is harmless."""


@dataclass(frozen=True)
class Measured:
    """What is counted in one image."""

    size: tuple[int, int]  # height, width
    pixels: NDArray[np.int64]  # (256,) by class id, and by IGNORE; all 0 without a mask
    values: _Histogram | _Moments

    @classmethod
    def of(cls, image: NDArray[Any], mask: NDArray[np.uint8] | None) -> Measured:
        """`image` is `(H, W, C)`, `mask` `(H, W)` class ids with 255 = ignore."""
        height, width, channels = image.shape
        values = _Histogram(channels) if image.dtype == np.uint8 else _Moments(channels)
        values.add(image)
        return cls((height, width), class_pixels(mask), values)


def class_pixels(mask: NDArray[np.uint8] | None) -> NDArray[np.int64]:
    """(256,) pixels by class id, and by IGNORE; all 0 without a mask."""
    if mask is None:
        return np.zeros(IGNORE + 1, dtype=np.int64)
    return value_counts(mask)


def value_counts(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each 8-bit value occurs in an array `(H, W)`, (256,), or in each channel of one `(H, W, 3)`, (768,)."""
    assert values.dtype == np.uint8, "of others, Pillow would count something else"
    if not values.size:
        return np.zeros(256 * (values.shape[2] if values.ndim == 3 else 1), dtype=np.int64)
    # Pillow counts bytes as they are; numpy's `bincount` makes numbers of 64 bits of them first, which takes three times as long.
    return np.array(Image.fromarray(np.ascontiguousarray(values)).histogram(), dtype=np.int64)


class Statistics:
    """Sums over images that come one by one, all of one kind."""

    def __init__(self, classes: int) -> None:
        self.class_pixels = np.zeros(classes, dtype=np.int64)  # by class id
        self.class_image_pixels = np.zeros(classes, dtype=np.int64)  # pixels of the images that contain the class
        self._sizes: list[tuple[int, int]] = []
        self._values: _Histogram | _Moments | None = None

    def add(self, measured: Measured) -> None:
        self._sizes.append(measured.size)
        if self._values is None:
            self._values = measured.values
        else:
            self._values.merge(measured.values)
        here = measured.pixels[: len(self.class_pixels)]
        self.class_pixels += here
        self.class_image_pixels += np.where(here > 0, here.sum(), 0)

    def mean_and_std(self, kind: ImageKind) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Per channel, of values divided by `kind.scale`."""
        if self._values is None:
            return (0.0,) * kind.channels, (1.0,) * kind.channels
        mean, variance = self._values.mean_and_variance(kind.scale)
        std = np.where(variance > _CONSTANT, np.sqrt(variance), 1.0)
        return tuple(round(float(v), 6) for v in mean), tuple(round(float(v), 6) for v in std)

    def image_size(self) -> ImageSizes | None:
        if not self._sizes:
            return None
        sizes = np.array(self._sizes)
        median, least, most = (_size(values) for values in (np.median(sizes, axis=0), sizes.min(axis=0), sizes.max(axis=0)))
        return ImageSizes(median, least, most)


class _Histogram:
    """Of 8-bit values: exact in any order."""

    def __init__(self, channels: int) -> None:
        self._counts = np.zeros((channels, 256), dtype=np.int64)

    def add(self, image: NDArray[Any]) -> None:
        if len(self._counts) == 3:
            self._counts += value_counts(image).reshape(3, 256)
            return
        for channel, counts in enumerate(self._counts):
            counts += value_counts(image[..., channel])

    def merge(self, other: _Histogram | _Moments) -> None:
        assert isinstance(other, _Histogram), "images are of one kind"
        self._counts += other._counts

    def mean_and_variance(self, scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values, pixels = np.arange(256) / scale, self._counts.sum(axis=1)
        mean = (self._counts * values).sum(axis=1) / pixels
        return mean, (self._counts * (values - mean[:, None]) ** 2).sum(axis=1) / pixels


class _Moments:
    """Of deeper values: mean and sum of squared deviations, merged image by image (Chan, Golub and LeVeque 1979)."""

    def __init__(self, channels: int) -> None:
        self._pixels = 0
        self._mean = np.zeros(channels)
        self._squares = np.zeros(channels)

    def add(self, image: NDArray[Any]) -> None:
        values = image.reshape(-1, image.shape[2]).astype(np.float64)
        mean = values.mean(axis=0)
        self._merge(len(values), mean, ((values - mean) ** 2).sum(axis=0))

    def merge(self, other: _Histogram | _Moments) -> None:
        assert isinstance(other, _Moments), "images are of one kind"
        self._merge(other._pixels, other._mean, other._squares)

    def _merge(self, pixels: int, mean: NDArray[np.float64], squares: NDArray[np.float64]) -> None:
        total, apart = self._pixels + pixels, mean - self._mean
        self._squares += squares + apart**2 * (self._pixels * pixels / total)
        self._mean += apart * (pixels / total)
        self._pixels = total

    def mean_and_variance(self, scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._mean / scale, self._squares / self._pixels / scale**2


def _size(values: NDArray[Any]) -> tuple[int, int]:
    return round(float(values[0])), round(float(values[1]))
