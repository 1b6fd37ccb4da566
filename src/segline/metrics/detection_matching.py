"""Which detections of one image are right, by the rules of COCO's evaluation (pycocotools' `COCOeval`), image by image, so that no masks need to be kept.

Within a class the detections choose in turn, the best first. At each IoU threshold each takes, of the true objects that overlap it enough and that no better
one has taken, an object that is to be found before one that is not (a crowd, or one outside the range of area); then the one that overlaps it most; then the
last one. A crowd can be taken any number of times. Who takes what is not to be found is neither right nor wrong, nor is a detection that takes nothing and
is itself outside the range.

Legend: D detections, G true objects, A ranges of area, T thresholds of IoU.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.store import Instances
from segline.metrics.detection_counts import AREAS, KINDS, THRESHOLDS
from segline.metrics.overlaps import box_overlaps
from segline_runtime.predictions import InstancePrediction

MAX_DETECTIONS = 100
"""Per image and class, as COCO has it."""

_RANGES = np.array([(0, 1e5**2), (0, 32**2), (32**2, 96**2), (96**2, 1e5**2)])
"""Of AREAS `(A, 2)`, in pixels; both ends belong to it."""

_ENOUGH = np.minimum(THRESHOLDS, 1 - 1e-10).tolist()

Flags = NDArray[np.bool_]

_Near = list[tuple[int, list[tuple[float, int]]]]
"""Detections, the best first, each with the true objects that it may take: (overlap, index)."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What of one image decides which of its detections are right. Of `KINDS`, in that order: areas, and pairs of detections and objects."""

    labels: NDArray[np.int64]  # (D,)
    scores: NDArray[np.float64]  # (D,)
    areas: NDArray[np.float64]  # (D, 2) of what overlaps
    pairs: tuple[Pairs, Pairs]
    true_labels: NDArray[np.int64]  # (G,)
    counted: Flags  # (G, A) whether an object is to be found
    crowd: Flags  # (G,)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Detections and true objects of their class that overlap enough at the lowest threshold."""

    detection: NDArray[np.int64]  # (P,)
    object: NDArray[np.int64]  # (P,)
    overlap: NDArray[np.float64]  # (P,)


def seen(truth: Instances, prediction: InstancePrediction, mask_overlaps: NDArray[np.float64], mask_areas: NDArray[np.float64]) -> Seen:
    """One image; mask_overlaps `(D, G)` and mask_areas `(D,)`: see `segline.metrics.overlaps`."""
    sides = prediction.boxes.astype(np.float64)
    box_areas = (sides[:, 2] - sides[:, 0]) * (sides[:, 3] - sides[:, 1])
    return Seen(
        prediction.labels.astype(np.int64),
        prediction.scores.astype(np.float64),
        np.stack([mask_areas, box_areas], axis=1),
        (_pairs(mask_overlaps), _pairs(box_overlaps(truth, prediction))),
        truth.labels,
        ~truth.crowd[:, None] & _within(truth.areas),
        truth.crowd,
    )


def records(images: Sequence[Seen]) -> list[dict[str, dict[str, NDArray[Any]]]]:
    """The rows of each image in the tables of `DetectionCounts`.

    Detections are in pycocotools' order: by class, the best first, at most MAX_DETECTIONS of each; equal scores as they were given. What is done for all images
    at once is done in a fraction of the time.
    """
    if not images:
        return []
    found, objects = ([0, *np.cumsum([len(some) for some in lists]).tolist()] for lists in ([i.labels for i in images], [i.true_labels for i in images]))
    image = np.repeat(np.arange(len(images)), np.diff(found))
    labels, scores, areas = (np.concatenate(some) for some in zip(*((i.labels, i.scores, i.areas) for i in images), strict=True))
    counted, crowd = (np.concatenate(some) for some in zip(*((i.counted, i.crowd) for i in images), strict=True))
    order = np.lexsort((-scores, labels, image))
    classes = image[order] * (labels.max(initial=0) + 1) + labels[order]  # of an image: they alone contest objects
    ranked = np.arange(len(order)) - np.searchsorted(classes, classes) < MAX_DETECTIONS
    order, classes = order[ranked], classes[ranked]
    rank = np.full(len(labels), -1)
    rank[order] = np.arange(len(order))
    hits, ignored = [], []
    for kind in range(len(KINDS)):
        parts = [i.pairs[kind] for i in images]
        d = rank[np.concatenate([part.detection + start for part, start in zip(parts, found[:-1], strict=True)])]
        g = np.concatenate([part.object + start for part, start in zip(parts, objects[:-1], strict=True)])
        overlap = np.concatenate([part.overlap for part in parts])
        by_rank = np.argsort(d, kind="stable")
        by_rank = by_rank[d[by_rank] >= 0]
        hit, out_of_question = _matched(
            Pairs(d[by_rank], g[by_rank], overlap[by_rank]), classes, outside=~_within(areas[order, kind]), counted=counted, crowd=crowd
        )
        hits.append(hit)
        ignored.append(out_of_question)
    columns = {"label": labels[order].astype(np.int32), "score": scores[order], "hit": np.stack(hits, axis=1), "ignored": np.stack(ignored, axis=1)}
    starts = np.searchsorted(image[order], np.arange(len(images) + 1)).tolist()
    return [
        {
            "found": {name: values[starts[i] : starts[i + 1]] for name, values in columns.items()},
            "truth": {"label": one.true_labels.astype(np.int32), "counted": one.counted},
        }
        for i, one in enumerate(images)
    ]


def _within(areas: NDArray[np.float64]) -> Flags:
    """Whether areas `(N,)` lie in each of the ranges `(N, A)`."""
    return np.asarray((areas[:, None] >= _RANGES[:, 0]) & (areas[:, None] <= _RANGES[:, 1]))


def _pairs(overlaps: NDArray[np.float64]) -> Pairs:
    d, g = np.nonzero(overlaps >= _ENOUGH[0])
    return Pairs(d, g, overlaps[d, g])


def _matched(pairs: Pairs, classes: NDArray[np.int64], *, outside: Flags, counted: Flags, crowd: Flags) -> tuple[Flags, Flags]:
    """Hits and ignored `(D, A, T)` of ranked detections; pairs by rank.

    classes `(D,)`: of an image; outside `(D, A)`: whether the detection is out of the range; counted `(G, A)`: whether the object is to be found.
    """
    shape = (len(outside), len(AREAS), len(THRESHOLDS))
    hit, ignored = np.zeros(shape, dtype=np.bool_), np.repeat(outside[:, :, None], len(THRESHOLDS), axis=2)
    # A detection that may take no other object, and of a crowd or an object that no other detection may take, contests nothing.
    choices, rivals = np.bincount(pairs.detection, minlength=len(outside)), np.bincount(pairs.object, minlength=len(crowd))
    alone = (choices[pairs.detection] == 1) & ((rivals[pairs.object] == 1) | crowd[pairs.object])
    d, g = pairs.detection[alone], pairs.object[alone]
    taken = pairs.overlap[alone][:, None, None] >= np.array(_ENOUGH)
    hit[d], ignored[d] = taken & counted[g][:, :, None], np.where(taken, ~counted[g][:, :, None], ignored[d])

    to_find, crowds = counted.tolist(), crowd.tolist()
    contested = Pairs(pairs.detection[~alone], pairs.object[~alone], pairs.overlap[~alone])
    for near in _rivals(contested, classes):
        for one, area, levels, right in _in_turn(near, to_find, crowds):
            hit[one, area, levels], ignored[one, area, levels] = right, not right
    return hit, ignored


def _rivals(pairs: Pairs, classes: NDArray[np.int64]) -> Iterator[_Near]:
    """The pairs of each class of an image, by detection."""
    near: dict[int, list[tuple[float, int]]] = {}
    last = -1
    for d, g, overlap, of in zip(*(some.tolist() for some in (pairs.detection, pairs.object, pairs.overlap, classes[pairs.detection])), strict=True):
        if of != last and near:
            yield list(near.items())
            near = {}
        last = of
        near.setdefault(d, []).append((overlap, g))
    if near:
        yield list(near.items())


def _in_turn(near: _Near, to_find: list[list[bool]], crowds: list[bool]) -> Iterator[tuple[int, int, slice, bool]]:
    """Let the detections of one class of an image choose: detection, range, thresholds, and whether it takes an object that is to be found."""
    objects = {g for _, candidates in near for _, g in candidates}
    alike: dict[tuple[bool, ...], list[int]] = {}  # ranges that count the same of these objects, and in which the detections choose alike
    for a in range(len(AREAS)):
        alike.setdefault(tuple(to_find[g][a] for g in objects), []).append(a)
    overlaps = sorted({overlap for _, candidates in near for overlap, _ in candidates})
    start = 0
    while start < len(_ENOUGH):
        # Up to the least overlap that is left they choose alike at all thresholds.
        overlaps = overlaps[bisect_left(overlaps, _ENOUGH[start]) :]
        if not overlaps:
            return
        stop = bisect_right(_ENOUGH, overlaps[0])
        left = [(d, still) for d, candidates in near if (still := [one for one in candidates if one[0] >= _ENOUGH[start]])]
        for ranges in alike.values():
            for d, right in _outcome(left, ranges[0], to_find, crowds):
                for a in ranges:
                    yield d, a, slice(start, stop), right
        start = stop


def _outcome(near: _Near, area: int, to_find: list[list[bool]], crowds: list[bool]) -> list[tuple[int, bool]]:
    """The detections that take an object, and whether it is one that is to be found."""
    outcome: list[tuple[int, bool]] = []
    taken: set[int] = set()
    for d, candidates in near:
        best: tuple[bool, float, int] | None = None
        for overlap, g in candidates:
            if g not in taken and (best is None or (to_find[g][area], overlap, g) > best):
                best = (to_find[g][area], overlap, g)
        if best is None:
            continue
        outcome.append((d, best[0]))
        if not crowds[best[2]]:
            taken.add(best[2])
    return outcome
