"""From a model's named outputs to predictions. The trained network and the ONNX model share it, so they differ in their numbers alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline_runtime.predictions import InstancePrediction, Prediction, SemanticPrediction
from segline_runtime.specification import Specification

MASK_THRESHOLD = 0.5
_PADDING = 1  # a rim of zeros around each mask before it is enlarged, as Mask R-CNN has it, so that edges fall off


def decode(specification: Specification, outputs: Mapping[str, NDArray[Any]], size: tuple[int, int]) -> list[Prediction]:
    """Predictions for the images of one batch, all of `size` (height, width).

    semantic: `class_ids` uint8 `(B, H, W)` and, where probabilities are wanted, `probabilities` float32 `(B, K, H, W)`.
    instance (one image): `boxes` float32 `(N, 4)` xyxy in pixels, `labels` int64 `(N,)`, `scores` float32 `(N,)`, `masks` float32 `(N, M, M)` per box.
    """
    if specification.task == "semantic":
        probabilities = outputs.get("probabilities")
        return [SemanticPrediction(ids, None if probabilities is None else probabilities[i]) for i, ids in enumerate(outputs["class_ids"])]
    assert specification.task == "instance", specification.task
    order = np.argsort(-outputs["scores"], kind="stable")
    boxes = clip_boxes(outputs["boxes"][order], size)
    masks = paste_masks(outputs["masks"][order], boxes, size)
    return [InstancePrediction(scores=outputs["scores"][order], labels=outputs["labels"][order], boxes=boxes, masks=masks)]


def clip_boxes(boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Boxes `(N, 4)` xyxy brought inside an image of `size` (height, width)."""
    height, width = size
    return np.clip(boxes, 0, np.array([width, height, width, height], dtype=np.float32)).astype(np.float32)


def paste_masks(masks: NDArray[np.float32], boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask probabilities `(N, M, M)` of boxes `(N, 4)` xyxy as masks `(N, H, W)` of the image.

    As torchvision's `paste_masks_in_image`: padded by a rim of zeros, enlarged bilinearly (pixel centres aligned) to the equally widened box,
    cut at the image's border, above 0.5.
    """
    height, width = size
    pasted = np.zeros((len(masks), height, width), dtype=np.bool_)
    if not len(masks):
        return pasted
    padded = np.pad(masks, ((0, 0), (_PADDING, _PADDING), (_PADDING, _PADDING)))
    side = padded.shape[1]
    for target, mask, (x0, y0, x1, y1) in zip(pasted, padded, _widened(boxes, side / masks.shape[1]).tolist(), strict=True):
        rows, columns = slice(max(y0, 0), min(y1 + 1, height)), slice(max(x0, 0), min(x1 + 1, width))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        top, bottom, down = _neighbours(rows.start - y0, rows.stop - y0, max(y1 - y0 + 1, 1), side)
        left, right, across = _neighbours(columns.start - x0, columns.stop - x0, max(x1 - x0 + 1, 1), side)
        lines = mask[top] * (1 - down)[:, None] + mask[bottom] * down[:, None]
        target[rows, columns] = lines[:, left] * (1 - across) + lines[:, right] * across > MASK_THRESHOLD
    return pasted


def _widened(boxes: NDArray[np.float32], scale: float) -> NDArray[np.int64]:
    """Boxes grown about their centres, in whole pixels (towards zero, as torchvision does)."""
    center = (boxes[:, 2:] + boxes[:, :2]) * np.float32(0.5)
    half = (boxes[:, 2:] - boxes[:, :2]) * np.float32(0.5) * np.float32(scale)
    return np.concatenate([center - half, center + half], axis=1).astype(np.int64)


def _neighbours(start: int, stop: int, length: int, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """For positions start … stop of a line of `length` pixels: the two source pixels of a line of `side`, and the weight of the second."""
    position = np.maximum((np.arange(start, stop, dtype=np.float32) + np.float32(0.5)) * np.float32(side / length) - np.float32(0.5), 0)
    first = np.minimum(position.astype(np.int64), side - 1)
    return first, np.minimum(first + 1, side - 1), (position - first).astype(np.float32)
