"""Weighted boxes fusion (Solovyev, Wang, Gabruseva 2021): what several detectors say of one object becomes one detection, made of all they say.

By falling score each detection joins, among the objects of its class, the one whose box it overlaps most, where that is more than `iou`; else it begins
one. An object's box is the mean of its detections' boxes, weighted by score, and so is its mask, as a grid over the box; its score is the mean of their scores,
less in proportion where fewer detections joined than there are detectors. Non-maximum suppression would throw all but the best detection away.

Legend: N detections, F objects, M the side of a mask's grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline_runtime.instance import Instance, InstancePrediction
from segline_runtime.specification import Fusion

_LEAST = 1e-6
"""Score of a detection in its box's mean, at least: without a score threshold some have none at all."""


class Fused(Instance):
    """Outputs, for one image: those of instance segmentation, of all detectors together, and `members` int64 `(N,)`: the number of the detector."""

    def __init__(self, settings: Fusion) -> None:
        self._settings = settings

    def decode(self, outputs: Mapping[str, NDArray[Any]], size: tuple[int, int]) -> list[InstancePrediction]:
        return super().decode(fused(outputs, self._settings), size)


def fused(outputs: Mapping[str, NDArray[Any]], settings: Fusion) -> dict[str, NDArray[Any]]:
    """Detections of several detectors → objects by falling score, at most `settings.max_detections`.

    outputs: `boxes` `(N, 4)` xyxy, `labels` `(N,)`, `scores` `(N,)`, `masks` `(N, M, M)`, `members` `(N,)`; the same names, without `members`, come back.
    """
    count = len(settings.weights)
    weights = np.array(settings.weights, dtype=np.float64)[outputs["members"]] * count / sum(settings.weights)  # of equal detectors 1 each
    scores = outputs["scores"].astype(np.float64)
    pulls = weights * np.maximum(scores, _LEAST)
    objects = _joined(outputs["boxes"].astype(np.float64), outputs["labels"], pulls, settings.iou)
    boxes = np.empty((len(objects), 4), dtype=np.float32)
    masks = np.empty((len(objects), *outputs["masks"].shape[1:]), dtype=np.float32)
    found = np.empty(len(objects), dtype=np.float32)
    for number, members in enumerate(objects):
        shares = pulls[members] / pulls[members].sum()
        boxes[number] = shares @ outputs["boxes"][members]
        masks[number] = np.tensordot(shares, outputs["masks"][members], axes=1)
        heard = weights[members].sum()
        found[number] = (weights[members] * scores[members]).sum() / heard * min(heard, count) / count
    labels = np.array([outputs["labels"][members[0]] for members in objects], dtype=np.int64)
    kept = np.argsort(-found, kind="stable")[: settings.max_detections]
    return {"boxes": boxes[kept], "labels": labels[kept], "scores": found[kept], "masks": masks[kept]}


def _joined(boxes: NDArray[np.float64], labels: NDArray[np.int64], pulls: NDArray[np.float64], iou: float) -> list[list[int]]:
    """Which of N detections make up each object, the strongest first. pulls `(N,)`: how strongly each pulls its object's box."""
    objects: list[list[int]] = []
    means = np.zeros_like(boxes)  # of each object so far
    classes = np.zeros_like(labels)
    for i in np.argsort(-pulls, kind="stable").tolist():
        overlaps = np.where(classes[: len(objects)] == labels[i], _overlaps(means[: len(objects)], boxes[i]), 0.0)
        nearest = int(overlaps.argmax()) if len(objects) else 0
        if not len(objects) or overlaps[nearest] <= iou:
            nearest = len(objects)
            objects.append([])
            classes[nearest] = labels[i]
        objects[nearest].append(i)
        members = objects[nearest]
        means[nearest] = pulls[members] @ boxes[members] / pulls[members].sum()
    return objects


def _overlaps(boxes: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of boxes `(F, 4)` xyxy with one `(4,)`; 0 where neither has an area."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    both = np.maximum(sides, 0).prod(axis=1)
    areas = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1) + np.maximum(box[2:] - box[:2], 0).prod()
    found: NDArray[np.float64] = both / np.maximum(areas - both, np.finfo(np.float64).tiny)
    return found
