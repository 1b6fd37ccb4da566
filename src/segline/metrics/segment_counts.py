"""The segments of things in one image, matched as panoptic quality matches them (Kirillov 2019, arXiv:1801.00868).

Segments do not overlap, and what a detector finds does: of the confident objects (`segline.metrics.matching.CONFIDENT`) a better one keeps the pixels that
it shares with a weaker one, and one that keeps less than half of its own is dropped. A segment is a true object of its class when their IoU is above ½;
where true objects overlap, the best pairs are taken first. One of which more than half lies in a crowd of its class is neither right nor wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segline.data.store import Instances, Sample
from segline.metrics.details import Detail, Rows
from segline.metrics.matching import CONFIDENT
from segline.metrics.overlaps import mask_overlaps
from segline_runtime.masks import extent
from segline_runtime.predictions import InstancePrediction, Prediction

KEPT = 0.5
"""Share of its pixels that an object needs to keep."""

MATCHED = 0.5
"""IoU above which a segment is a true object."""


def record(prediction: Prediction, truth: Sample, classes: int) -> Rows:
    """A row for each class with segments: matched ones, wrong ones, missed ones, and the sum of the IoU of the matched."""
    assert isinstance(prediction, InstancePrediction) and truth.instances is not None
    found, objects = segments(prediction), truth.instances
    overlaps = mask_overlaps(objects, found)
    pairs = _pairs(overlaps, objects)
    numbers = np.zeros((classes, 3), dtype=np.int64)
    ious = np.zeros(classes)
    in_crowd: NDArray[np.bool_] = np.any(overlaps[:, objects.crowd] > KEPT, axis=1)
    for p, label in enumerate(found.labels.tolist()):
        if p in pairs:
            numbers[label, 0] += 1
            ious[label] += overlaps[p, pairs[p]]
        elif not in_crowd[p]:
            numbers[label, 1] += 1
    taken = set(pairs.values())
    for t in np.flatnonzero(~objects.crowd).tolist():
        if t not in taken:
            numbers[objects.labels[t], 2] += 1
    labels = np.flatnonzero(numbers.any(axis=1))
    matched, wrong, missed = numbers[labels].T
    return {"label": labels.astype(np.int32), "matched": matched, "wrong": wrong, "missed": missed, "iou": ious[labels]}


def segments(prediction: InstancePrediction) -> InstancePrediction:
    """The confident objects by falling score, none of them with a pixel of a better one."""
    order = np.argsort(-prediction.scores, kind="stable")
    order = order[prediction.scores[order] >= CONFIDENT]
    free = np.ones(prediction.masks.shape[1:], dtype=np.bool_)
    kept, masks = [], []
    for i in order.tolist():
        rows, columns = extent(prediction.masks[i])
        whole = prediction.masks[i][rows, columns]
        rest = whole & free[rows, columns]
        pixels = np.count_nonzero(rest)
        if not pixels or pixels < KEPT * np.count_nonzero(whole):
            continue
        free[rows, columns] &= ~rest
        mask = np.zeros_like(prediction.masks[i])
        mask[rows, columns] = rest
        kept.append(i)
        masks.append(mask)
    stacked: NDArray[np.bool_] = np.stack(masks) if masks else prediction.masks[:0]
    chosen = np.array(kept, dtype=np.int64)
    return InstancePrediction(prediction.scores[chosen], prediction.labels[chosen], prediction.boxes[chosen], stacked)


def _pairs(overlaps: NDArray[np.float64], objects: Instances) -> dict[int, int]:
    """Segment → true object, by falling IoU; overlaps `(D, G)`."""
    of_objects = np.where(objects.crowd, 0.0, overlaps)
    candidates = [(-float(of_objects[p, t]), p, t) for p, t in np.argwhere(of_objects > MATCHED).tolist()]
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, p, t in sorted(candidates):
        if p not in pairs and t not in taken:
            pairs[p] = t
            taken.add(t)
    return pairs


SEGMENTS = Detail("segments", record)
