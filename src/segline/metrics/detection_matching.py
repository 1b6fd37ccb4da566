"""Which detections of one image are right, by the rules of COCO's evaluation (pycocotools' `COCOeval`), image by image, so that no masks need to be kept.

Within a class the detections choose in turn, the best first. At each IoU threshold each takes, of the true objects that overlap it enough and that no better
one has taken, an object that is to be found before one that is not (a crowd, or one outside the range of area); then the one that overlaps it most; then the
last one. A crowd can be taken any number of times. Who takes what is not to be found is neither right nor wrong, nor is a detection that takes nothing and
is itself outside the range.

Legend: D detections, G true objects, A ranges of area, T thresholds of IoU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.store import Instances
from segline.metrics.detection_counts import AREAS, THRESHOLDS
from segline.metrics.overlaps import box_overlaps, box_xywh
from segline_runtime.predictions import InstancePrediction

MAX_DETECTIONS = 100
"""Per image and class, as COCO has it."""

_RANGES = np.array([(0, 1e5**2), (0, 32**2), (32**2, 96**2), (96**2, 1e5**2)])
"""Of AREAS `(A, 2)`, in pixels; both ends belong to it."""

_ENOUGH = np.minimum(THRESHOLDS, 1 - 1e-10).tolist()

Flags = NDArray[np.bool_]


def record(truth: Instances, prediction: InstancePrediction, mask_overlaps: NDArray[np.float64]) -> dict[str, dict[str, NDArray[Any]]]:
    """The rows of one image in the tables of `DetectionCounts`; mask_overlaps `(D, G)`: see `segline.metrics.overlaps`.

    Detections are in pycocotools' order: by class, the best first, at most MAX_DETECTIONS of each; equal scores as they were given.
    """
    ranked = _ranked(prediction)
    boxes = box_xywh(prediction.boxes)
    kinds = (  # in the order of KINDS; a detection's area is that of what overlaps
        (mask_overlaps, np.array([np.count_nonzero(mask) for mask in prediction.masks], dtype=np.float64)),
        (box_overlaps(truth, prediction), boxes[:, 2] * boxes[:, 3]),
    )
    counted = ~truth.crowd[:, None] & _within(truth.areas)
    hits, ignored = [], []
    for overlaps, areas in kinds:
        hit, out_of_question = _matched(overlaps[ranked], ~_within(areas[ranked]), counted, truth.crowd)
        hits.append(hit)
        ignored.append(out_of_question)
    return {
        "found": {
            "label": prediction.labels[ranked].astype(np.int32),
            "score": prediction.scores[ranked].astype(np.float64),
            "hit": np.stack(hits, axis=1),
            "ignored": np.stack(ignored, axis=1),
        },
        "truth": {"label": truth.labels.astype(np.int32), "counted": counted},
    }


def _ranked(prediction: InstancePrediction) -> NDArray[np.int64]:
    """The detections that take part, by class and falling score."""
    order = np.lexsort((-prediction.scores, prediction.labels))
    labels = prediction.labels[order]
    place = np.arange(len(order)) - np.searchsorted(labels, labels)  # within the class
    return order[place < MAX_DETECTIONS]


def _within(areas: NDArray[np.float64]) -> Flags:
    """Whether areas `(N,)` lie in each of the ranges `(N, A)`."""
    return np.asarray((areas[:, None] >= _RANGES[:, 0]) & (areas[:, None] <= _RANGES[:, 1]))


def _matched(overlaps: NDArray[np.float64], outside: Flags, counted: Flags, crowd: Flags) -> tuple[Flags, Flags]:
    """Hits and ignored `(D, A, T)` of ranked detections.

    overlaps `(D, G)`, 0 between classes; outside `(D, A)`: whether the detection is out of the range; counted `(G, A)`: whether the object is to be found.
    """
    hit = np.zeros((len(overlaps), len(AREAS), len(THRESHOLDS)), dtype=np.bool_)
    ignored = np.repeat(outside[:, :, None], len(THRESHOLDS), axis=2)
    near = _near(overlaps)
    crowds = crowd.tolist()
    for a in range(len(AREAS)):
        to_find = counted[:, a].tolist()
        for t, enough in enumerate(_ENOUGH):
            taken: set[int] = set()
            for d, candidates in near:
                best = max(((to_find[g], overlap, g) for overlap, g in candidates if overlap >= enough and g not in taken), default=None)
                if best is None:
                    continue
                right, _, g = best
                hit[d, a, t], ignored[d, a, t] = right, not right
                if not crowds[g]:
                    taken.add(g)
    return hit, ignored


def _near(overlaps: NDArray[np.float64]) -> list[tuple[int, list[tuple[float, int]]]]:
    """Each detection that some true object overlaps enough at the lowest threshold, with all such: (overlap, index)."""
    near: dict[int, list[tuple[float, int]]] = {}
    for d, g in np.argwhere(overlaps >= _ENOUGH[0]).tolist():
        near.setdefault(d, []).append((float(overlaps[d, g]), g))
    return list(near.items())
