"""Masks as COCO's run-length codes, made of the part of the image alone that an object fills."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from segline_runtime.masks import extent

SMALL = 1 << 14
"""Pixels of an image of which pycocotools codes a mask sooner than the place of an object is found in it."""


def encode(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask `(H, W)` as pycocotools' `encode` gives it, {`size`, `counts`}; the time goes with the object's box, not with the image."""
    if mask.size <= SMALL:
        code: dict[str, Any] = rle.encode(np.asfortranarray(mask).view(np.uint8))
        return code
    return of_box(mask)


def of_box(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """As `encode`, by the object's box, however small the image is."""
    height, width = mask.shape
    rows, columns = extent(mask)
    top, bottom, left, right = rows.start, rows.stop, columns.start, columns.stop
    if top == bottom:
        return _compressed(np.array([height * width]), height, width)
    # Codes run down the columns: where a pixel differs from the one above it, a run begins or ends; above and below the object nothing is.
    box = np.zeros((bottom - top + 2, right - left), dtype=np.bool_)
    box[1:-1] = mask[rows, columns]
    row, column = np.divmod(np.flatnonzero(box[1:] != box[:-1]), right - left)
    edges = np.sort((left + column) * height + top + row)
    if bottom - top == height:
        # A run that ends at the foot of a column goes on at the head of the next.
        joined = np.flatnonzero(edges[1:-1:2] == edges[2::2])
        edges = np.delete(edges, np.concatenate([2 * joined + 1, 2 * joined + 2]))
    counts = np.diff(edges, prepend=0, append=height * width)
    return _compressed(counts if counts[-1] else counts[:-1], height, width)


def _compressed(counts: NDArray[np.int64], height: int, width: int) -> dict[str, Any]:
    code: dict[str, Any] = rle.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return code
