"""Object masks in COCO's words: polygons and run-length codes (RLE)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """`segmentation` (compressed RLE), `area` (of the mask) and `bbox` (xywh, of the mask) of a COCO annotation."""
    encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    box = [float(v) for v in rle.toBbox(encoded)]
    return {"segmentation": {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}, "area": int(rle.area(encoded)), "bbox": box}


def decode_mask(segmentation: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Polygons, RLE counts or a compressed RLE as a mask `(H, W)`. Raises ValueError, with a phrase, for what is none of these or of another size."""
    if isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        if list(segmentation.get("size", [])) != list(size):
            raise ValueError(f"its RLE mask is of size {segmentation.get('size')}, but the image is {list(size)} (height, width); correct the annotation")
        if isinstance(counts, str):
            counts = _uncompress(counts)
        if not isinstance(counts, list) or any(not isinstance(c, int) or c < 0 for c in counts) or sum(counts) != size[0] * size[1]:
            raise ValueError("its RLE counts do not add up to the pixels of the image; correct the annotation")
        runs = np.arange(len(counts)) % 2 == 1
        return np.repeat(runs, counts).reshape(size[1], size[0]).T  # columns first
    if not isinstance(segmentation, list) or not all(isinstance(polygon, list) for polygon in segmentation):
        raise ValueError("it has no `segmentation` of polygons or RLE; annotate a mask, or remove the annotation")
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and np.isfinite(v) for polygon in segmentation for v in polygon)
    if not numbers or any(len(polygon) % 2 for polygon in segmentation):
        raise ValueError("its polygons are not lists of x, y pairs; correct the annotation")
    # pycocotools takes a list of four numbers for a box; a polygon of two points has no area.
    polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
    if not polygons:
        return np.zeros(size, dtype=np.bool_)
    merged = rle.merge(rle.frPyObjects(polygons, *size))
    return np.asarray(rle.decode(merged), dtype=np.bool_)


def _uncompress(text: str) -> list[int]:
    """COCO's compressed counts: 5 bits a character, differences to the count before last.

    Decoded here, as pycocotools does not check their sum before it writes to memory.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError("its compressed RLE holds characters that do not belong there; correct the annotation")
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            if code & 0x10:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts
