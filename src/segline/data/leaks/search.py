"""The pairs of alike images among many. Images are numbers, their places in the list of fingerprints; None is an image that could not be read.

Time and memory grow as the number of images does (`benchmarks/leaks.py`): each image is compared with at most MOST others, those with which it has most keys
in common. So of hundreds that are all alike not every pair is found, but each with some of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segline.data.leaks.collisions import keys, length_for, meetings
from segline.data.leaks.fingerprint import Fingerprint
from segline.data.leaks.verify import Relation, relation
from segline.progress import progress

MOST = 12
"""Others that an image is compared with."""

_WHOLE_TABLES, _CORNER_TABLES = 16, 8
_WHOLE_BITS = 14
"""Bits in which the hashes of one picture differ at most, of 63."""

_VOTES = 2
"""Keys that corners of two images must have in common."""

_MOST_VOTES = 1 << 20
"""Of pairs that are compared before all others."""

_FOLLOWING = 3
"""Images that are compared with each whatever their keys are: those that come after it, as the frames of a drive do."""


@dataclass(frozen=True)
class Pair:
    """Two images, by number, that show the same; `first` < `second`."""

    first: int
    second: int
    relation: Relation


def alike(prints: Sequence[Fingerprint | None], apart: Sequence[str] | None = None, *, told: bool = True) -> list[Pair]:
    """All pairs, in order; the same images give the same pairs. `prints` in the order of the images' names, so that frames stand behind each other.

    `apart`: a word for each image; only those with different words are compared.
    """
    labels = None if apart is None else np.unique(np.asarray(apart), return_inverse=True)[1]
    if labels is not None and not labels.any():
        return []
    candidates = _candidates(prints, labels)
    found = []
    with progress("comparing images", len(candidates), shown=told) as advance:
        for first, second in candidates.tolist():
            one, other = prints[first], prints[second]
            assert one is not None and other is not None, "an image that could not be read has no keys"
            how = relation(one, other)
            if how is not None:
                found.append(Pair(first, second, how))
            advance(1)
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def together(number: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """For each of `number` things the least one that it belongs together with, by itself or over others."""
    above = list(range(number))

    def top(thing: int) -> int:
        while above[thing] != thing:
            above[thing] = above[above[thing]]
            thing = above[thing]
        return thing

    for first, second in pairs:
        one, other = sorted((top(first), top(second)))
        above[other] = one
    return [top(thing) for thing in range(number)]


def _candidates(prints: Sequence[Fingerprint | None], labels: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Pairs that are worth a comparison (P, 2), of each image those with most votes."""
    number = len(prints)
    codes, votes = _counted([*_of_wholes(prints, labels), *_of_corners(prints, labels), *_of_order(prints, labels)])
    pairs = np.stack([codes // number, codes % number], axis=1) if number else np.zeros((0, 2), dtype=np.int64)
    kept = np.zeros(len(pairs), dtype=bool)
    order = np.argsort(-votes, kind="stable")
    for side in (0, 1):
        image = pairs[order, side]
        by_image = np.argsort(image, kind="stable")
        starts = np.flatnonzero(np.diff(image[by_image], prepend=-1))
        sizes = np.diff(np.append(starts, len(by_image)))
        place = np.arange(len(by_image)) - np.repeat(starts, sizes)
        kept[order[by_image[place < MOST]]] = True
    return pairs[kept]


def _of_order(prints: Sequence[Fingerprint | None], labels: NDArray[np.int64] | None) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of images that follow each other, with as many votes as the nearest."""
    known = np.array([i for i, one in enumerate(prints) if one is not None], dtype=np.int64)
    codes = [_codes(known[:-distance], known[distance:], len(prints), labels) for distance in range(1, _FOLLOWING + 1)]
    return [(code, np.full(len(code), _MOST_VOTES, dtype=np.int64)) for code in codes]


def _of_wholes(prints: Sequence[Fingerprint | None], labels: NDArray[np.int64] | None) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs whose hashes are near each other, in whatever way one of them is turned, with more votes than corners ever give."""
    known = [(i, one.hashes) for i, one in enumerate(prints) if one is not None and len(one.hashes)]
    if not known:
        return []
    hashes = np.concatenate([values for _, values in known])
    ways = len(known[0][1])
    image = np.repeat(np.array([i for i, _ in known], dtype=np.int64), ways)
    upright = np.tile(np.arange(ways) == 0, len(known))
    random = np.random.default_rng(0)
    bits = hashes[:, None].view(np.uint8)
    found = []
    for _ in range(_WHOLE_TABLES):
        for one, other in meetings(keys(bits, min(20, length_for(len(hashes), least=10)), random), random):
            near = np.bitwise_count(hashes[one] ^ hashes[other]) <= _WHOLE_BITS
            near &= upright[one] | upright[other]
            found.append(_codes(image[one[near]], image[other[near]], len(prints), labels))
    codes = np.unique(np.concatenate(found))
    return [(codes, np.full(len(codes), _MOST_VOTES, dtype=np.int64))]


def _of_corners(prints: Sequence[Fingerprint | None], labels: NDArray[np.int64] | None) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs whose corners have several keys in common, a corner of the mirrored image among them, with their number."""
    known = [(i, one) for i, one in enumerate(prints) if one is not None]
    if not known:
        return []
    parts = [corners.bits for _, one in known for corners in (one.corners, one.mirrored)]
    lengths = [len(part) for part in parts]
    bits = np.concatenate(parts)
    image = np.repeat(np.repeat(np.array([i for i, _ in known], dtype=np.int32), 2), lengths)
    mirrored = np.repeat(np.tile(np.array([False, True]), len(known)), lengths)
    random = np.random.default_rng(1)
    tables = []
    for _ in range(_CORNER_TABLES):
        met = []
        for one, other in meetings(keys(bits, length_for(len(bits)), random), random):
            useful = ~(mirrored[one] & mirrored[other])
            met.append(_codes(image[one[useful]].astype(np.int64), image[other[useful]].astype(np.int64), len(prints), labels))
        codes = np.concatenate(met)
        tables.append((codes, np.ones(len(codes), dtype=np.int64)))
        tables = [_counted(tables)]  # what is kept is bounded by the pairs, not by the tables
    codes, votes = tables[0]
    return [(codes[votes >= _VOTES], votes[votes >= _VOTES])]


def _codes(first: NDArray[np.int64], second: NDArray[np.int64], number: int, labels: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Pairs as one number each; those of an image with itself, and of one word, left out."""
    wanted = first != second if labels is None else labels[first] != labels[second]
    codes: NDArray[np.int64] = np.minimum(first, second)[wanted] * number + np.maximum(first, second)[wanted]
    return codes


def _counted(parts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each code once, in order, with the sum of its votes."""
    if not parts:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    codes, place = np.unique(np.concatenate([code for code, _ in parts]), return_inverse=True)
    votes = np.bincount(place, weights=np.concatenate([vote for _, vote in parts]), minlength=len(codes))
    return codes, votes.astype(np.int64)
