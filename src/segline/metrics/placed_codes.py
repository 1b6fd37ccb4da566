"""COCO's run-length code of a mask whose place is known: what `segline.data.run_lengths` gives, without a look at the rest of the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle


def encode(mask: NDArray[np.bool_], within: tuple[slice, slice]) -> dict[str, Any]:
    """A mask `(H, W)` as pycocotools' `encode` gives it, {`size`, `counts`}; within: rows and columns outside of which it has no pixel."""
    height, width = mask.shape
    top, left = within[0].start, within[1].start
    inside = mask[within]
    # Codes run down the columns: where a pixel differs from the one above it, a run begins or ends; one more below each column ends its last run.
    down = inside.shape[0] + 1
    pixels = np.zeros(inside.shape[1] * down + 1, dtype=np.bool_)
    pixels[1:].reshape(-1, down)[:, :-1] = inside.T
    places = (pixels[1:] != pixels[:-1]).nonzero()[0]
    edges = places + places // down * (height - down) + (left * height + top)
    if down > height:
        # A run that ends at the foot of a column goes on at the head of the next.
        joined = np.flatnonzero(edges[1:-1:2] == edges[2::2])
        edges = np.delete(edges, np.concatenate([2 * joined + 1, 2 * joined + 2]))
    counts = np.empty(len(edges) + 1, dtype=np.int64)
    counts[:-1] = edges
    counts[-1] = height * width
    counts[1:] -= edges
    listed = counts.tolist()
    if len(listed) > 1 and not listed[-1]:
        listed.pop()
    code: dict[str, Any] = rle.frPyObjects({"size": [height, width], "counts": listed}, height, width)
    return code
