"""The pairs of alike images among many. Images are numbers, their places in a list of files.

Time and memory grow as the number of images does (`benchmarks/leaks.py`): each image is compared with at most MOST others, those with which it shares most
corners, as far as corners with a key in common tell. So of hundreds that are all alike not every pair is found, but each with some of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segline.data.leaks.collisions import keys, length_for, meetings, parts
from segline.data.leaks.gathered import Gathered
from segline.data.leaks.verify import BITS, Relation, relation
from segline.data.parallel import in_order, processes_for
from segline.progress import progress

MOST = 12
"""Others that an image is compared with."""

_WHOLE_TABLES, _CORNER_TABLES = 16, 8
_WHOLE_BITS = 14
"""Bits in which the hashes of one picture differ at most, of 63."""

_VOTES = 2
"""Pairs of corners that two images must have met in."""

_NEAR = 1 << 8
"""Votes of a pair of corners not farther from each other than coinciding ones are; one that has no more than a key in common has a single vote."""

_FEW = 4096
"""Images among which such single votes count: each is then compared with MOST others whatever they are like, which many images have no time for."""

_MOST_VOTES = 1 << 24
"""Of pairs that are compared before all others."""

_FOLLOWING = 3
"""Images that are compared with each whatever their keys are: those that come after it, as the frames of a drive do."""

_HELD = 16
"""Others of an image that are held while votes are counted."""

_TOGETHER = 32
"""Pairs of images that a process compares at a time."""

_AT_ONCE = 1 << 16
"""Pairs of corners that are compared at a time."""

_Counted = tuple[NDArray[np.int64], NDArray[np.int32]]
"""Pairs of images as one number each, and their votes."""


@dataclass(frozen=True)
class Pair:
    """Two images, by number, that show the same; `first` < `second`."""

    first: int
    second: int
    relation: Relation


def alike(prints: Gathered, files: Sequence[str], apart: Sequence[str] | None = None, *, told: bool = True, processes: int | None = 1) -> list[Pair]:
    """All pairs of some images, by their numbers, in order; the same images give the same pairs. What has no print is like no other.

    `files` in the order of the images' names, so that frames stand behind each other. `apart`: a word for each image; only those with different words are
    compared. `processes`: that compare; None: what this machine has.
    """
    labels = None if apart is None else np.unique(np.asarray(apart), return_inverse=True)[1]
    if labels is not None and not labels.any():
        return []
    places = prints.places(files)
    candidates = _candidates(prints, places, labels)
    found = []
    work = range(0, len(candidates), _TOGETHER)
    number = processes_for(len(work)) if processes is None else processes
    with in_order(_Comparing(prints, places, candidates), work, number) as compared, progress("comparing images", len(candidates), shown=told) as advance:
        for pairs, start in zip(compared, work, strict=True):
            found += pairs
            advance(min(_TOGETHER, len(candidates) - start))
    return sorted(found, key=lambda pair: (pair.first, pair.second))


@dataclass(frozen=True)
class _Comparing:
    """Compares some candidates, by the number of the first of them."""

    prints: Gathered
    places: NDArray[np.int64]
    candidates: NDArray[np.int64]  # (P, 2)

    def __call__(self, start: int) -> list[Pair]:
        found = []
        for first, second in self.candidates[start : start + _TOGETHER].tolist():
            how = relation(self.prints.at(int(self.places[first])), self.prints.at(int(self.places[second])))
            if how is not None:
                found.append(Pair(first, second, how))
        return found


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


def _candidates(prints: Gathered, places: NDArray[np.int64], labels: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Pairs that are worth a comparison (P, 2), of each image those with most votes. `places`: of the images in `prints`, -1 for none."""
    number = len(places)
    image = np.full(len(prints), -1, dtype=np.int32)  # by place
    image[places[places >= 0]] = np.flatnonzero(places >= 0)
    votes = _counted([_of_wholes(prints, image, labels, number), _of_corners(prints, image, labels, number), *_of_order(places, labels)])
    codes, _ = _foremost(*votes, number, MOST)
    return np.stack([codes // number, codes % number], axis=1) if number else np.zeros((0, 2), dtype=np.int64)


def _foremost(codes: NDArray[np.int64], votes: NDArray[np.int32], number: int, most: int) -> _Counted:
    """Of each image the pairs with most votes, at most so many; and those that are such of the other image."""
    kept = np.zeros(len(codes), dtype=bool)
    for side in (0, 1):
        image = np.divmod(codes, max(number, 1))[side].astype(np.int32)
        order = np.lexsort((-votes, image))  # by image; of one image those with most votes first, and of these the first
        sizes = np.bincount(image, minlength=number)
        place = np.arange(len(codes), dtype=np.int32)
        place -= np.repeat((np.cumsum(sizes) - sizes).astype(np.int32), sizes)
        kept[order[place < most]] = True
    return codes[kept], votes[kept]


def _of_order(places: NDArray[np.int64], labels: NDArray[np.int64] | None) -> list[_Counted]:
    """Pairs of images that follow each other, with as many votes as the nearest."""
    known = np.flatnonzero(places >= 0)
    found = []
    for distance in range(1, _FOLLOWING + 1):
        one, other = known[:-distance], known[distance:]
        wanted = _compared(one, other, labels)
        codes = _codes(one[wanted], other[wanted], len(places))
        found.append((codes, np.full(len(codes), _MOST_VOTES, dtype=np.int32)))
    return found


def _of_wholes(prints: Gathered, image: NDArray[np.int32], labels: NDArray[np.int64] | None, number: int) -> _Counted:
    """Pairs whose hashes are near each other, in whatever way one of them is turned, with more votes than corners ever give."""
    values, hashed = prints.hashes()
    known = np.flatnonzero(hashed & (image >= 0))
    ways = values.shape[1]
    hashes = values[known].ravel()
    whose = np.repeat(image[known], ways)
    upright = np.tile(np.arange(ways) == 0, len(known))
    random = np.random.default_rng(0)
    bits = hashes[:, None].view(np.uint8)
    found = [np.zeros(0, dtype=np.int64)]
    for _ in range(_WHOLE_TABLES if len(known) else 0):
        for one, other in meetings(keys(bits, min(20, length_for(len(hashes), least=10)), random), random):
            near = upright[one] | upright[other]
            one, other = one[near], other[near]
            near = np.bitwise_count(hashes[one] ^ hashes[other]) <= _WHOLE_BITS
            near &= _compared(whose[one], whose[other], labels)
            found.append(_codes(whose[one[near]], whose[other[near]], number))
        found = [np.unique(np.concatenate(found))]
    [codes] = found
    return codes, np.full(len(codes), _MOST_VOTES, dtype=np.int32)


def _of_corners(prints: Gathered, image: NDArray[np.int32], labels: NDArray[np.int64] | None, number: int) -> _Counted:
    """Pairs that have met in several pairs of corners which could coincide, those of a mirrored image among them, with their number."""
    bits = prints.bits()
    whose = np.repeat(np.stack([2 * image, 2 * image + 1], axis=1).ravel(), prints.numbers().ravel())  # twice the image's number, and 1 for mirrored corners
    random = np.random.default_rng(1)
    counted: list[_Counted] = []
    waiting, most = 0, _HELD * max(number, _AT_ONCE // 4)
    for _ in range(_CORNER_TABLES if len(bits) else 0):
        length = length_for(len(bits))
        key = keys(bits, length, random)
        for part in parts(key, length):
            for one, other in meetings(key[part], random):
                for codes, votes in _met(bits, whose, labels, number, part[one], part[other]):
                    counted.append((codes, votes))
                    waiting += len(codes)
                if waiting > most // 2:
                    counted, waiting = [_counted(counted)], 0
                    if len(counted[0][0]) > most:
                        # What is held is bounded by the images, not by their pairs.
                        counted = [_foremost(*counted[0], number, _HELD)]
    codes, votes = _counted(counted)
    enough = votes >= (_VOTES if number <= _FEW else _VOTES * _NEAR)
    return codes[enough], votes[enough]


def _met(
    bits: NDArray[np.uint8], whose: NDArray[np.int32], labels: NDArray[np.int64] | None, number: int, one: NDArray[np.int64], other: NDArray[np.int64]
) -> Iterator[_Counted]:
    """The votes of some pairs of corners with one key, some at a time, where they are of images that are compared."""
    words = bits.view(np.uint64)
    for start in range(0, len(one), _AT_ONCE):
        first, second = one[start : start + _AT_ONCE], other[start : start + _AT_ONCE]
        here, there = whose[first], whose[second]
        wanted = (here & there & 1) == 0
        wanted &= (here >= 0) & (there >= 0)
        wanted &= _compared(here >> 1, there >> 1, labels)
        first, second = first[wanted], second[wanted]
        differ = np.bitwise_count(words[first] ^ words[second])
        near = differ[:, 0].astype(np.uint16) + differ[:, 1] + differ[:, 2] + differ[:, 3] <= BITS
        kept = slice(None) if number <= _FEW else near
        codes = _codes(whose[first[kept]] >> 1, whose[second[kept]] >> 1, number)
        yield codes, np.where(near[kept], _NEAR, 1).astype(np.int32)


def _compared(first: NDArray[np.integer], second: NDArray[np.integer], labels: NDArray[np.int64] | None) -> NDArray[np.bool_]:
    """Which pairs of images are compared: none of an image with itself, and none of one word."""
    wanted: NDArray[np.bool_] = first != second if labels is None else labels[first] != labels[second]
    return wanted


def _codes(first: NDArray[np.integer], second: NDArray[np.integer], number: int) -> NDArray[np.int64]:
    """Pairs as one number each."""
    one, other = first.astype(np.int64), second.astype(np.int64)
    codes: NDArray[np.int64] = np.minimum(one, other) * number + np.maximum(one, other)
    return codes


def _counted(found: Sequence[_Counted]) -> _Counted:
    """Each code once, in order, with the sum of its votes."""
    codes = np.concatenate([np.zeros(0, dtype=np.int64), *(code for code, _ in found)])
    votes = np.concatenate([np.zeros(0, dtype=np.int32), *(vote for _, vote in found)])
    order = np.argsort(codes)
    codes, votes = codes[order], votes[order]
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    return codes[first], np.add.reduceat(votes, first, dtype=np.int32) if len(first) else votes
