"""The test images that two models have in common, which is all that can be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.comparison.scored import Scored
from segline.errors import DataError
from segline.metrics.base import Counts
from segline.metrics.detection_counts import DetectionCounts
from segline.metrics.label_counts import LabelCounts
from segline.metrics.pixel_counts import PixelCounts

_NAMED = 3  # names in a sentence

_TRUTH: dict[str, Callable[[Any], NDArray[np.int64]]] = {
    PixelCounts.kind: lambda counts: counts.truth,
    LabelCounts.kind: lambda counts: np.concatenate([counts.truth, counts.scored], axis=1),
    DetectionCounts.kind: lambda counts: counts.to_find.reshape(len(counts), -1),
}
"""By kind of counts: what there was to be found in each image, `(N, …)`."""


@dataclass(frozen=True)
class Common:
    """Counts of the same images, in the same order."""

    first: Counts
    second: Counts
    notes: tuple[str, ...]  # sentences on what was left out


def common(first: Scored, second: Scored, *, some: bool = False) -> Common:
    """The images that both were scored on, with equal truth, and that neither has learnt from.

    some: compare by them also where one was scored on images that the other was not. Raises DataError where that is not wanted, where nothing is left, and
    for models that cannot be compared at all.
    """
    _require_alike(first, second)
    ours, theirs = _keys(first.counts, second.counts)
    places = {key: i for i, key in enumerate(theirs)}
    pairs = [(i, places[key]) for i, key in enumerate(ours) if key in places]
    notes = []
    if len(pairs) < max(len(ours), len(theirs)):
        told = _different(first, second, len(pairs))
        if not pairs:
            raise DataError(f"{told} There is nothing to compare. {_again(first, second)}")
        if not some:
            raise DataError(f"{told} {_again(first, second)} Or give --common, to compare them by the {_images(len(pairs))} that both have.")
        notes.append(f"{told} Only these are compared.")
    pairs, changed = _of_equal_truth(first, second, pairs)
    if changed:
        some_of = ", ".join(changed[:_NAMED]) + (", …" if len(changed) > _NAMED else "")
        notes.append(f"{_images(len(changed))} left out: the truth has changed between the two evaluations ({some_of}). {_again(first, second)}")
    pairs, seen = _unseen(first, second, pairs)
    if seen:
        notes.append(f"{_images(seen)} left out: one of the two models has learnt from {'it' if seen == 1 else 'them'}.")
    notes += [
        f"What '{side.name}' has learnt from is not known, so no image is left out on its account." for side in (first, second) if side.trained_on is None
    ]
    if not pairs:
        raise DataError(f"'{first.name}' and '{second.name}' have no image in common that can be compared.", *notes, _again(first, second))
    mine, others = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    # A paired comparison asks for equal names; equal content may have others.
    one, other = first.counts.select(mine), second.counts.select(others)
    return Common(one, _renamed(other, one), tuple(notes))


def _require_alike(first: Scored, second: Scored) -> None:
    if first.counts.kind != second.counts.kind:
        raise DataError(
            f"'{first.name}' ({first.task}) and '{second.name}' ({second.task}) solve different tasks, and no figure is of both. Compare models of one task."
        )
    if first.counts.classes != second.counts.classes:
        one, other = (", ".join(side.counts.classes) for side in (first, second))
        raise DataError(
            f"'{first.name}' knows the classes {one}; '{second.name}' knows {other}. Figures of different classes cannot be compared; train both on the same."
        )


def _keys(first: Counts, second: Counts) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """By what an image is known again: its content, or where one side lacks the hashes its name; and which of equal ones it is."""
    hashed = len(first.hashes) == len(first) and len(second.hashes) == len(second)
    ours, theirs = (_numbered(counts.hashes if hashed else counts.images) for counts in (first, second))
    return ours, theirs


def _numbered(keys: Sequence[str]) -> list[tuple[str, int]]:
    seen: Counter[str] = Counter()
    numbered = []
    for key in keys:
        numbered.append((key, seen[key]))
        seen[key] += 1
    return numbered


def _of_equal_truth(first: Scored, second: Scored, pairs: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[str]]:
    """The pairs whose truth is the same for both, and the names of the other images. Kinds of counts that do not say are trusted."""
    if first.split_hash is not None and first.split_hash == second.split_hash:
        return pairs, []
    truth = _TRUTH.get(first.counts.kind)
    if truth is None:
        return pairs, []
    ours, theirs = truth(first.counts), truth(second.counts)
    equal = [(i, j) for i, j in pairs if np.array_equal(ours[i], theirs[j])]
    kept = {i for i, _ in equal}
    return equal, [first.counts.images[i] for i, _ in pairs if i not in kept]


def _unseen(first: Scored, second: Scored, pairs: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], int]:
    """The pairs that neither has learnt from, and the number of the others."""
    learnt = (first.trained_on or frozenset()) | (second.trained_on or frozenset())
    hashes = first.counts.hashes
    if not learnt or len(hashes) != len(first.counts):
        return pairs, 0
    unseen = [(i, j) for i, j in pairs if hashes[i] not in learnt]
    return unseen, len(pairs) - len(unseen)


def _renamed(counts: Counts, like: Counts) -> Counts:
    if counts.images == like.images:
        return counts
    return type(counts).from_arrays({**counts.arrays(), "images": np.array(like.images, dtype=np.str_)})


def _different(first: Scored, second: Scored, both: int) -> str:
    alone = (len(first.counts) - both, len(second.counts) - both)
    parts = [f"{_images(number)} only for '{side.name}'" for side, number in zip((first, second), alone, strict=True) if number]
    return f"'{first.name}' and '{second.name}' were scored on different images: {_images(both)} for both, {', '.join(parts)}."


def _again(first: Scored, second: Scored) -> str:
    return f"To score both on the data of today, run `dvc repro` where '{first.name}' and '{second.name}' are models of one workspace."


def _images(number: int) -> str:
    return f"{number:,} image{'' if number == 1 else 's'}"
