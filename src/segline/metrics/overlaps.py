"""How far found and true objects of one image overlap.

Legend: D detections, G true objects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from segline.data.store import Instances
from segline.metrics.placed_codes import encode
from segline_runtime.masks import extent
from segline_runtime.predictions import InstancePrediction


@dataclass(frozen=True)
class Outlines:
    """Where the masks of detections lie, and how large they are."""

    within: list[tuple[slice, slice]]  # rows and columns outside of which a mask has no pixel
    areas: NDArray[np.float64]  # (D,) pixels


def outlines(prediction: InstancePrediction) -> Outlines:
    """Of a prediction's masks. Nearly always a mask lies in its box, and to see that costs less than to look for the rows and columns of the whole image."""
    within, areas = [], np.zeros(len(prediction.labels))
    for i, (mask, box) in enumerate(zip(prediction.masks, prediction.boxes.tolist(), strict=True)):
        areas[i] = np.count_nonzero(mask)
        inside = _pixels_of(box, mask.shape)
        within.append(inside if np.count_nonzero(mask[inside]) == areas[i] else extent(mask))
    return Outlines(within, areas)


def mask_overlaps(truth: Instances, prediction: InstancePrediction, around: Outlines | None = None) -> NDArray[np.float64]:
    """Of each detection with each true object of its class `(D, G)`: the IoU of their masks, or, with a crowd, the share of the detection that lies in it.

    0 for objects of two classes, and for those that lie apart: their masks are never looked at. around: where the detections lie, if that is known.
    """
    found = np.zeros((len(prediction.labels), len(truth)))
    if not found.size:
        return found
    within = (around or outlines(prediction)).within
    true_codes = truth.rles()
    near = (prediction.labels[:, None] == truth.labels) & _meet(within, rle.toBbox(true_codes))
    ours = np.flatnonzero(near.any(axis=1))
    if len(ours):
        codes = [encode(prediction.masks[i], within[i]) for i in ours.tolist()]
        found[ours] = np.where(near[ours], rle.iou(codes, true_codes, truth.crowd.tolist()), 0.0)
    return found


def _pixels_of(box: list[float], size: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns that a box xyxy touches in an image of `size` (height, width)."""
    x0, y0, x1, y1 = box
    return slice(max(math.floor(y0), 0), min(max(math.ceil(y1), 0), size[0])), slice(max(math.floor(x0), 0), min(max(math.ceil(x1), 0), size[1]))


def _meet(within: list[tuple[slice, slice]], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether rows and columns of detections `(D)` have a pixel in common with boxes xywh `(G, 4)`, `(D, G)`."""
    corners = np.array([(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in within], dtype=np.float64).reshape(-1, 4)
    top, left, bottom, right = corners.T[:, :, None]
    x, y, width, height = boxes.T
    return np.asarray((top < y + height) & (y < bottom) & (left < x + width) & (x < right))


def box_overlaps(truth: Instances, prediction: InstancePrediction) -> NDArray[np.float64]:
    """As `mask_overlaps`, of the boxes."""
    found = np.zeros((len(prediction.labels), len(truth)))
    if found.size:
        found[:] = rle.iou(box_xywh(prediction.boxes), box_xywh(truth.boxes), truth.crowd.tolist())
    return np.where(prediction.labels[:, None] == truth.labels, found, 0.0)


def box_xywh(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Boxes xyxy `(N, 4)` as COCO has them: x, y, width, height."""
    corners = boxes.astype(np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
