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

_Near = list[tuple[int, list[tuple[float, int]]]]
"""Detections, the best first, each with the true objects that it may take: (overlap, index)."""


def record(
    truth: Instances, prediction: InstancePrediction, mask_overlaps: NDArray[np.float64], mask_areas: NDArray[np.float64]
) -> dict[str, dict[str, NDArray[Any]]]:
    """The rows of one image in the tables of `DetectionCounts`; mask_overlaps `(D, G)` and mask_areas `(D,)`: see `segline.metrics.overlaps`.

    Detections are in pycocotools' order: by class, the best first, at most MAX_DETECTIONS of each; equal scores as they were given.
    """
    ranked = _ranked(prediction)
    boxes = box_xywh(prediction.boxes)
    kinds = (  # in the order of KINDS; a detection's area is that of what overlaps
        (mask_overlaps, mask_areas),
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
    shape = (len(overlaps), len(AREAS), len(THRESHOLDS))
    hit, ignored = np.zeros(shape, dtype=np.bool_), np.repeat(outside[:, :, None], len(THRESHOLDS), axis=2)
    pairs = np.argwhere(overlaps >= _ENOUGH[0])
    alone = _uncontested(pairs, overlaps.shape, crowd)
    d, g = pairs[alone].T
    taken = overlaps[d, g][:, None, None] >= np.array(_ENOUGH)
    hit[d], ignored[d] = taken & counted[g][:, :, None], np.where(taken, ~counted[g][:, :, None], ignored[d])
    contested = _contested(pairs[~alone], overlaps)
    if contested:
        _take_in_turn(contested, counted, crowd, hit, ignored)
    return hit, ignored


def _uncontested(pairs: NDArray[np.int64], size: tuple[int, ...], crowd: Flags) -> Flags:
    """Which of the pairs (detection, object) `(P, 2)` are of a detection that may take no other object, and of a crowd or an object that no other may take."""
    choices = np.bincount(pairs[:, 0], minlength=size[0])
    rivals = np.bincount(pairs[:, 1], minlength=size[1])
    lonely = (choices[pairs[:, 0]] == 1) & ((rivals[pairs[:, 1]] == 1) | crowd[pairs[:, 1]])
    return np.asarray(lonely)


def _take_in_turn(near: _Near, counted: Flags, crowd: Flags, hit: Flags, ignored: Flags) -> None:
    """Let detections that contest objects choose, and write what becomes of them."""
    outcomes: list[list[tuple[int, bool]]] = []
    hits: list[tuple[int, int, int]] = []
    vain: list[tuple[int, int, int]] = []
    crowds, to_find = crowd.tolist(), counted.T.tolist()
    alike = _alike(counted[np.unique([g for _, candidates in near for _, g in candidates]).astype(np.int64)])
    for t, enough in enumerate(_ENOUGH):
        left = [(d, still) for d, candidates in near if (still := [one for one in candidates if one[0] >= enough])]
        if not left:
            break
        if t == 0 or left != near:  # else they choose as they did
            outcomes = [_outcome(left, to_find[ranges[0]], crowds) for ranges in alike]
            near = left
        for ranges, outcome in zip(alike, outcomes, strict=True):
            for d, right in outcome:
                (hits if right else vain).extend((d, a, t) for a in ranges)
    for rows, right in ((hits, True), (vain, False)):
        places = tuple(np.array(rows, dtype=np.int64).reshape(-1, 3).T)
        hit[places], ignored[places] = right, not right


def _outcome(near: _Near, to_find: list[bool], crowds: list[bool]) -> list[tuple[int, bool]]:
    """The detections that take an object, and whether it is one that is to be found."""
    outcome: list[tuple[int, bool]] = []
    taken: set[int] = set()
    for d, candidates in near:
        best: tuple[bool, float, int] | None = None
        for overlap, g in candidates:
            if g not in taken and (best is None or (to_find[g], overlap, g) > best):
                best = (to_find[g], overlap, g)
        if best is None:
            continue
        outcome.append((d, best[0]))
        if not crowds[best[2]]:
            taken.add(best[2])
    return outcome


def _alike(counted: Flags) -> list[list[int]]:
    """Ranges of area that count the same of some objects `(g, A)`: in each group the detections choose alike."""
    groups: dict[bytes, list[int]] = {}
    for a in range(len(AREAS)):
        groups.setdefault(counted[:, a].tobytes(), []).append(a)
    return list(groups.values())


def _contested(pairs: NDArray[np.int64], overlaps: NDArray[np.float64]) -> _Near:
    """Each detection of the pairs (detection, object) `(P, 2)`, with its objects."""
    near: dict[int, list[tuple[float, int]]] = {}
    for (d, g), overlap in zip(pairs.tolist(), overlaps[tuple(pairs.T)].tolist(), strict=True):
        near.setdefault(d, []).append((overlap, g))
    return list(near.items())
