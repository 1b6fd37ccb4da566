"""How undecided a model is, as colours over a pale photograph: from violet over red to yellow, and nothing where it is sure."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segline.drawing.paint import Picture, faded

_COVER = 0.85
"""Share of the colour where the heat is greatest."""


def heated(picture: Picture, heat: NDArray[np.float32]) -> Picture:
    """A photograph `(H, W, 3)` under heat `(h, w)` from 0 to 1, which is brought to its size."""
    height, width = picture.shape[:2]
    shown = heat if heat.shape == (height, width) else cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    levels = np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_PLASMA)[:, :, ::-1].astype(np.float32)
    cover = _COVER * (levels.astype(np.float32) / 255)[:, :, None]
    return np.asarray((1 - cover) * faded(picture) + cover * colours).round().astype(np.uint8)
