"""What the writers of `segline predict` share; each task's own stands in `tasks/<task>/results.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segline.files import whole


def write_png(target: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """A picture `(H, W)` or `(H, W, 3)`, whole or not at all."""
    with whole(target) as file:
        Image.fromarray(pixels).save(file, format="png")
