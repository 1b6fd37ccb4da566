"""How far found and true objects of one image overlap.

Legend: D detections, G true objects.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from segline.data.run_lengths import encode
from segline.data.store import Instances
from segline_runtime.predictions import InstancePrediction


def mask_overlaps(truth: Instances, prediction: InstancePrediction) -> NDArray[np.float64]:
    """Of each detection with each true object of its class `(D, G)`: the IoU of their masks, or, with a crowd, the share of the detection that lies in it.

    0 for objects of two classes: their masks are never looked at.
    """
    found = np.zeros((len(prediction.labels), len(truth)))
    true_codes = truth.rles()
    for label in np.intersect1d(truth.labels, prediction.labels):
        ours, theirs = np.flatnonzero(prediction.labels == label), np.flatnonzero(truth.labels == label)
        codes = [encode(prediction.masks[i]) for i in ours]
        found[np.ix_(ours, theirs)] = rle.iou(codes, [true_codes[j] for j in theirs], truth.crowd[theirs].tolist())
    return found


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
