"""Images and labels at another size, as the network is to see them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from segline.training.augment_steps import rounded


def resized(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """An image `(H, W, C)` at `size` (height, width), antialiased where it shrinks: the resizing of `segline.tasks.graph`, in the image's own type."""
    if image.shape[:2] == size:
        return image
    values = torch.from_numpy(np.array(image, dtype=np.uint8 if image.dtype == np.uint8 else np.float32)).permute(2, 0, 1)[None]
    smaller = functional.interpolate(values, size=size, mode="bilinear", align_corners=False, antialias=True)
    array = cv2.merge(list(smaller[0].numpy())).reshape(*size, -1)  # channel by channel, as torch gives it, into pixels: in half of torch's time
    return array if array.dtype == image.dtype else rounded(array, image.dtype)


def nearest(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Labels at another size: none is mixed with another."""
    if array.shape[:2] == size:
        return array
    return np.asarray(cv2.resize(array, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
