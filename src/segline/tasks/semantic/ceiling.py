"""The best that a semantic model's geometry lets it say: the truth, taken for the answer of a network that sees the image at another size.

Training shows a network the truth at the size at which it sees the image, each pixel the nearest of the original's; what it answers is enlarged bilinearly
and the largest value decides. Where the network is told to ignore what it sees, it may say what it likes, so that such pixels count as right.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segline.data.store import IGNORE
from segline_runtime.geometry import network_size
from segline_runtime.semantic import enlarged
from segline_runtime.specification import Geometry


def there_and_back(mask: NDArray[np.uint8], geometries: Sequence[Geometry]) -> NDArray[np.uint8]:
    """Class ids `(H, W)`, 255 = ignored → class ids `(H, W)` as the networks of these geometries would give them back, all counting the same."""
    size = (mask.shape[0], mask.shape[1])
    found = np.where(mask == IGNORE, 0, mask).astype(np.uint8)
    seen = [shrunk(mask, network_size(size, geometry)) for geometry in geometries]
    if all(one.shape == size for one in seen):
        return found
    most = np.zeros(size, dtype=np.float32)
    for label in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[:IGNORE]).tolist():
        votes = sum(enlarged((one == label)[None].astype(np.float32), size)[0] for one in seen)
        better = votes > most
        found[better] = label
        most[better] = np.asarray(votes)[better]
    return found


def shrunk(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A mask `(H, W)` at `size` (height, width), as training resizes it."""
    return np.asarray(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
