"""Annotated objects against found ones, as ObjectLab does it for boxes (Tkachenko, Thyagarajan and Mueller 2023), by masks: objects that were given another
class, that lie otherwise, and that nobody annotated.

Legend: D found objects, G annotated ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from segline.data.run_lengths import encode
from segline.data.store import Instances, Sample
from segline.metrics.overlaps import box_xywh
from segline.tasks.contradiction import Contradiction, Doubt, Verdict, soft_minimum
from segline_runtime.predictions import InstancePrediction, Prediction

_HEARD = 0.3
"""Score of a found object that speaks for or against an annotated one, or that somebody may have missed."""

_TOUCHES = 0.1
"""Overlap with an annotated object from which a found one says where that lies."""

_SAME = 0.3
"""Overlap from which a found object is an annotated one, however badly drawn."""

_SILENCE = 0.3
"""Suspicion of an object where the model finds nothing: it may as well be the model that misses it."""


def judge(prediction: Prediction, sample: Sample) -> Verdict:
    """See `segline.tasks.contradiction.Judge`."""
    assert isinstance(prediction, InstancePrediction) and sample.instances is not None
    truth = sample.instances
    heard = np.flatnonzero(prediction.scores >= _HEARD)
    scores, labels = prediction.scores[heard].astype(np.float64), prediction.labels[heard]
    overlaps = _overlaps(truth, prediction, heard)
    singles = np.flatnonzero(~truth.crowd)
    found = [_object(truth, i, overlaps[:, i], scores, labels) for i in singles.tolist()]
    for place, number in enumerate(heard):
        nearest = float(overlaps[place].max(initial=0.0))
        if nearest < _SAME:
            mask = prediction.masks[number]
            suspicion = float(scores[place] * (1 - nearest))
            found.append(Contradiction("missing", None, int(labels[place]), suspicion, _box(prediction.boxes[number]), int(np.count_nonzero(mask))))
    return Verdict(soft_minimum(np.array([1 - one.suspicion for one in found])), tuple(found))


def _object(truth: Instances, number: int, overlaps: NDArray[np.float64], scores: NDArray[np.float64], labels: NDArray[np.int64]) -> Contradiction:
    """overlaps, scores, labels: of the found objects `(D,)`."""
    label = int(truth.labels[number])
    weights = overlaps * scores
    same, other = labels == label, labels != label
    confirmed, denied = float(weights[same].max(initial=0.0)), float(weights[other].max(initial=0.0))
    doubts: list[tuple[float, Doubt, int | None]] = []
    if denied > confirmed:
        doubts.append((denied * (1 - confirmed), "class", int(labels[other][weights[other].argmax()])))
    near = same & (overlaps >= _TOUCHES)
    if near.any():
        best = np.flatnonzero(near)[weights[near].argmax()]
        # Squared: the outlines of a model are a little off everywhere.
        doubts.append((float(scores[best] * (1 - overlaps[best]) ** 2), "outline", label))
    if not (overlaps >= _TOUCHES).any():
        doubts.append((_SILENCE, "unseen", None))
    suspicion, doubt, says = max(doubts, key=lambda one: one[0], default=(0.0, "outline", label))
    return Contradiction(doubt, label, says, suspicion, _box(truth.boxes[number]), round(float(truth.areas[number])))


def _overlaps(truth: Instances, prediction: InstancePrediction, heard: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of each found object with each annotated one, whatever their classes `(D, G)`; with a crowd the share of the found one that lies in it."""
    found = np.zeros((len(heard), len(truth)))
    if not found.size:
        return found
    crowd = truth.crowd.astype(np.uint8).tolist()
    if truth.outlined:
        found[:] = rle.iou([encode(prediction.masks[i]) for i in heard], truth.rles(), crowd)
    else:
        found[:] = rle.iou(box_xywh(prediction.boxes[heard]), box_xywh(truth.boxes), crowd)
    return found


def _box(box: NDArray[np.float32]) -> tuple[int, int, int, int]:
    left, top, right, bottom = (float(value) for value in box)
    return int(np.floor(left)), int(np.floor(top)), int(np.ceil(right)), int(np.ceil(bottom))
