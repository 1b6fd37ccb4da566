"""Images that viewers turn by a flag in their file (EXIF orientation). Training sees them turned, as prediction and serving do; their truth must be, too.

Tools draw truth on the image as it is displayed, or on the pixels as the file holds them. The size tells which, where turning swaps height and width;
where it does not, nothing in the data tells it, and `data.orientation` must.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from segline.data.check import Frame, OnItsSideError
from segline.data.formats.base import SourceObject, SourceTruth
from segline.data.images import SourceImage
from segline.data.sources import Drawn
from segline.errors import DataError
from segline_runtime.images import upright

_SWAPPED = (5, 6, 7, 8)  # orientations that swap height and width

Box = tuple[float, float, float, float]


def read_truth(image: SourceImage, load: Callable[[Frame], SourceTruth], drawn: Drawn, shown: str) -> tuple[SourceTruth, Drawn]:
    """The truth on the image as it is displayed, and what it was drawn on; `load` is a record's.

    Raises DataError as `load` does, and where it cannot be known what the truth was drawn on.
    """
    orientation = image.header.orientation
    height, width = image.frame.height, image.frame.width
    if orientation == 1 or drawn == "displayed":
        return load(image.frame), "displayed"
    stored = Frame(width, height) if orientation in _SWAPPED else image.frame
    if drawn == "auto":
        if orientation not in _SWAPPED or height == width:
            raise DataError(
                f"{shown} carries a flag that viewers turn it by (EXIF orientation {orientation}), which leaves its size {width}x{height} as it is: whether "
                "its truth is drawn on it as shown or as stored cannot be told. Set data.orientation to displayed or stored, or save the pixels turned."
            )
        try:
            return load(replace(image.frame, open=True)), "displayed"
        except OnItsSideError:
            pass
    return _turned(load(stored), stored, orientation), "stored"


def _turned(truth: SourceTruth, stored: Frame, orientation: int) -> SourceTruth:
    """Truth that is drawn on the stored pixels, turned as viewers turn those."""
    mask = None if truth.mask is None else np.ascontiguousarray(upright(truth.mask, orientation))
    return replace(truth, mask=mask, objects=tuple(_turned_object(shown, stored, orientation) for shown in truth.objects))


def _turned_object(shown: SourceObject, stored: Frame, orientation: int) -> SourceObject:
    mask = None if shown.mask is None else upright(shown.mask, orientation)
    return replace(shown, mask=mask, box=None if shown.box is None else turned_box(shown.box, stored, orientation))


def turned_box(box: Box, stored: Frame, orientation: int) -> Box:
    """A box (xywh) in the stored pixels → in the displayed ones."""
    x, y, width, height = box
    if orientation in _SWAPPED:  # first along the diagonal
        x, y, width, height = y, x, height, width
    across, down = (stored.height, stored.width) if orientation in _SWAPPED else (stored.width, stored.height)
    if orientation in (2, 3, 6, 7):
        x = across - x - width
    if orientation in (3, 4, 7, 8):
        y = down - y - height
    return x, y, width, height
