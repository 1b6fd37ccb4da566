"""Objects as connected components: neighbouring pixels of one thing class are one object. Right where objects of a class do not touch.

Legend: H × W pixels, K classes, R runs (pixels of one class in a row, as long as they go on), N components.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segline_runtime.instance import InstancePrediction
from segline_runtime.semantic import SemanticPrediction
from segline_runtime.specification import Specification


def objects(prediction: SemanticPrediction, specification: Specification) -> InstancePrediction:
    """The components of the things that a semantic prediction with probabilities shows, best first, as many as `specification.components` lets through.

    An object's score is the mean probability of its class over its pixels; of equal scores the one that begins further up comes first.
    """
    settings, probabilities = specification.components, prediction.probabilities
    assert settings is not None and probabilities is not None, "objects are scored by probabilities"
    things = np.array([info.id for info in specification.classes if info.thing], dtype=np.int64)
    height, width = prediction.class_ids.shape
    class_ids = prediction.class_ids
    if not settings.stuff:
        class_ids = things[probabilities[things].argmax(axis=0)].astype(np.uint8) if len(things) else np.zeros_like(class_ids)
    wanted = np.isin(class_ids, things)
    numbers, count = components(class_ids, wanted, settings.connectivity)
    rows, columns = np.nonzero(wanted)
    at = numbers[rows, columns] - 1
    labels = class_ids[rows, columns].astype(np.int64)
    areas = np.bincount(at, minlength=count)
    sums = np.bincount(at, weights=probabilities[labels, rows, columns], minlength=count)
    scores = (sums / np.maximum(areas, 1)).astype(np.float32)
    kept = np.flatnonzero(areas >= settings.min_size)
    kept = kept[np.argsort(-scores[kept], kind="stable")][: settings.max_detections]
    corners = _corners(rows, columns, at, count)
    of_component = np.zeros(count, dtype=np.int64)
    of_component[at] = labels
    boxes = corners[kept].astype(np.float32)
    masks = np.zeros((len(kept), height, width), dtype=np.bool_)
    for mask, number, (left, top, right, bottom) in zip(masks, kept.tolist(), corners[kept].tolist(), strict=True):
        mask[top:bottom, left:right] = numbers[top:bottom, left:right] == number + 1
    return InstancePrediction(scores=scores[kept], labels=of_component[kept], boxes=boxes, masks=masks)


def components(class_ids: NDArray[np.uint8], wanted: NDArray[np.bool_], connectivity: int) -> tuple[NDArray[np.int64], int]:
    """The number of the component that each pixel `(H, W)` belongs to, from 1 on in the order of their first pixels, 0 where it is not `wanted`; how many.

    connectivity: 4 joins pixels that share a side, 8 also those that share a corner. Runs are joined, not pixels: there are far fewer of them.
    """
    runs, of_row = _runs(class_ids, wanted)
    pairs = _touching(runs, class_ids, connectivity)
    roots = _joined(pairs, of_row)
    firsts, number_of_run = np.unique(roots, return_inverse=True)
    numbers = np.zeros(of_row + 1, dtype=np.int64)  # a root is the first run of its component, so their order is that of the first pixels
    numbers[1:] = number_of_run + 1
    return numbers[runs], len(firsts)


def _runs(class_ids: NDArray[np.uint8], wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """The number of each pixel's run `(H, W)`, row by row from 1 on, 0 where it is not wanted; how many there are."""
    begins = wanted.copy()
    begins[:, 1:] &= ~(wanted[:, :-1] & (class_ids[:, 1:] == class_ids[:, :-1]))
    numbers = np.cumsum(begins.ravel(), dtype=np.int64).reshape(begins.shape)
    count = int(numbers[-1, -1]) if numbers.size else 0
    return np.where(wanted, numbers, 0), count


def _touching(runs: NDArray[np.int64], class_ids: NDArray[np.uint8], connectivity: int) -> NDArray[np.int64]:
    """Pairs `(P, 2)` of runs, counted from 0, of one class that touch, some more than once. Those of one row that touch are of different classes."""
    width = runs.shape[1]
    found = []
    for shift in (0,) if connectivity == 4 else (-1, 0, 1):
        above, below = slice(max(0, -shift), width - max(0, shift)), slice(max(0, shift), width - max(0, -shift))
        first, second = runs[:-1, above], runs[1:, below]
        both = (first > 0) & (second > 0) & (class_ids[:-1, above] == class_ids[1:, below])
        pairs = np.stack([first[both], second[both]], axis=1) - 1
        changes = np.ones(len(pairs), dtype=np.bool_)  # two runs touch along many pixels in a row
        changes[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
        found.append(pairs[changes])
    return np.concatenate(found)


def _joined(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """For each of `count` runs the first run that it hangs together with: union-find, for all pairs at once.

    In each round every root that touches a smaller one is hung below it, and then every run is made to point at its root, so there are few rounds.
    """
    parents = np.arange(count, dtype=np.int64)
    roots = pairs
    while len(roots := roots[roots[:, 0] != roots[:, 1]]):
        np.minimum.at(parents, roots.max(axis=1), roots.min(axis=1))
        above = parents[parents]
        while not np.array_equal(above, parents):
            parents, above = above, above[above]
        roots = parents[roots]
    return parents


def _corners(rows: NDArray[np.int64], columns: NDArray[np.int64], at: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The boxes `(N, 4)` xyxy, in pixels, of the components `at` which the pixels at `rows` and `columns` belong to; they end behind their last pixels."""
    most = np.iinfo(np.int64).max
    corners = np.tile(np.array([most, most, 0, 0], dtype=np.int64), (count, 1))
    np.minimum.at(corners[:, 0], at, columns)
    np.minimum.at(corners[:, 1], at, rows)
    np.maximum.at(corners[:, 2], at, columns + 1)
    np.maximum.at(corners[:, 3], at, rows + 1)
    return corners
