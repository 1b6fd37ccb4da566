"""How large a photograph is shown, and pictures, class ids and masks brought to that size. Sizes are (height, width)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segline.drawing.paint import Picture

_SMALLEST, _LARGEST = 360, 560
"""Pixels of a panel's longer side: a smaller photograph is enlarged by a whole factor, a larger one reduced."""

_SMALLEST_ALONE = 480
"""Pixels of the longer side of a photograph that is shown by itself; a larger one keeps its size."""


def size_alone(height: int, width: int) -> tuple[int, int]:
    """The size at which a photograph is shown by itself: its own, or a multiple that letters can be read at."""
    factor = max(1, -(-_SMALLEST_ALONE // max(height, width)))
    return height * factor, width * factor


def panel_size(height: int, width: int) -> tuple[int, int]:
    """The size at which a photograph is shown as a panel."""
    factor = _factor(max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """A photograph `(H, W, 3)`, smoothly."""
    if picture.shape[:2] == size:
        return picture
    how = cv2.INTER_AREA if size[0] < picture.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=how))


def resized_ids(ids: Picture, size: tuple[int, int]) -> Picture:
    """Class ids `(H, W)`: each pixel keeps one of them."""
    return np.asarray(cv2.resize(ids, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))


def resized_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """An object's mask `(H, W)`, with smooth edges."""
    if mask.shape == size:
        return mask
    return np.asarray(cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) > 0.5)


def _factor(longer: int) -> float:
    if longer < _SMALLEST:
        return float(-(-_SMALLEST // longer))
    return min(_LARGEST / longer, 1.0)
