"""The semantic mask of outlined objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segline.data.formats.base import SourceObject
from segline.data.store import IGNORE


def paint(objects: Sequence[SourceObject], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The semantic mask `(H, W)` of objects: crowds as 255 first, then the objects, larger ones first, so that what lies in front stays visible."""
    layers = [(shown.mask, IGNORE) for shown in objects if shown.crowd]
    singles = [shown for shown in objects if not shown.crowd]
    layers += [(shown.mask, shown.label) for shown in sorted(singles, key=lambda single: -covered_pixels(single.mask))]
    return layered(layers, size)


def layered(layers: Sequence[tuple[NDArray[np.bool_] | None, int]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A mask `(H, W)` on whose zeros masks were laid one above the other, each with its class id."""
    painted = np.zeros(size, dtype=np.uint8, order="F")  # as pycocotools lays out its masks: copying between unlike orders is slow
    for mask, label in layers:
        assert mask is not None, "only outlined objects can be painted"
        np.copyto(painted, label, where=mask)
    return np.ascontiguousarray(painted)


def covered_pixels(mask: NDArray[np.bool_] | None) -> int:
    """How many pixels a mask has; of none, none."""
    return 0 if mask is None else int(np.count_nonzero(mask))
