"""How far found and true objects of one image overlap.

Legend: D detections, G true objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    height, width = prediction.masks.shape[1:]
    within, areas = [], []
    boxes = np.nan_to_num(prediction.boxes)
    limits = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], axis=1)
    for mask, (x0, y0, x1, y1) in zip(prediction.masks, limits.clip(0, [width, height] * 2).astype(np.int64).tolist(), strict=True):
        area, inside = np.count_nonzero(mask), (slice(y0, y1), slice(x0, x1))
        areas.append(area)
        within.append(inside if np.count_nonzero(mask[inside]) == area else extent(mask))
    return Outlines(within, np.array(areas, dtype=np.float64))


def mask_overlaps(truth: Instances, prediction: InstancePrediction, around: Outlines | None = None) -> NDArray[np.float64]:
    """Of each detection with each true object of its class `(D, G)`: the IoU of their masks, or, with a crowd, the share of the detection that lies in it.

    0 for objects of two classes, and where their places and areas already say that it is below ½, from which on detections can be right: such masks are never
    looked at. around: where the detections lie, if that is known.
    """
    found = np.zeros((len(prediction.labels), len(truth)))
    if not found.size:
        return found
    around = around or outlines(prediction)
    true_codes = truth.rles()
    near = (prediction.labels[:, None] == truth.labels) & _may_be_half(around, true_codes, truth.crowd)
    ours = np.flatnonzero(near.any(axis=1))
    if len(ours):
        codes = [encode(prediction.masks[i], around.within[i]) for i in ours.tolist()]
        found[ours] = np.where(near[ours], rle.iou(codes, true_codes, truth.crowd.tolist()), 0.0)
    return found


def _may_be_half(around: Outlines, true_codes: list[dict[str, Any]], crowd: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether masks can overlap by ½ or more `(D, G)`: what they share is no more than their boxes do, and than the smaller of them."""
    corners = np.array([(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in around.within], dtype=np.float64)
    top, left, bottom, right = corners.T[:, :, None]
    x, y, width, height = rle.toBbox(true_codes).T
    shared = np.maximum(np.minimum(bottom, y + height) - np.maximum(top, y), 0) * np.maximum(np.minimum(right, x + width) - np.maximum(left, x), 0)
    ours, theirs = around.areas[:, None], rle.area(true_codes).astype(np.float64)
    of = np.where(crowd, ours, np.maximum(ours, theirs))
    return np.asarray((shared > 0) & (np.minimum(shared, np.minimum(ours, theirs)) >= of / 2))


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
