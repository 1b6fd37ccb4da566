"""Which of many things may be alike: locality-sensitive hashing (Indyk and Motwani 1998). Some bits of each, chosen at random, are its key in one table; what
is alike has a key in common in one of the tables. Each thing meets a bounded number of others in each table, so that the cost grows as the things do.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 6
"""Others with the same key that a thing meets in a table: another few in each, so that of a long row all meet some."""

_CHUNK = 1 << 14
"""Things whose bits are looked at at a time: they stay in the processor's cache."""

_AT_ONCE = 1 << 20
"""Things, about, that are brought into the order of their keys at a time."""


def keys(bits: NDArray[np.uint8], length: int, random: np.random.Generator) -> NDArray[np.uint32]:
    """The keys of one table: `length` (up to 32) bits of each thing, the same ones of all. `bits` (N, bytes), packed → (N,)."""
    chosen = random.choice(8 * bits.shape[1], length, replace=False)
    found = np.zeros(len(bits), dtype=np.uint32)
    for start in range(0, len(bits), _CHUNK):
        part = bits[start : start + _CHUNK]
        for place, bit in enumerate(chosen):
            found[start : start + _CHUNK] |= ((part[:, bit // 8] >> (7 - bit % 8)) & 1).astype(np.uint32) << np.uint32(place)
    return found


def parts(key: NDArray[np.uint32], length: int) -> Iterator[NDArray[np.int64]]:
    """The numbers of all things in parts of bounded size: what has one key of `length` bits is in one part."""
    cut = max(0, int(np.ceil(np.log2(max(len(key), 1) / _AT_ONCE))))
    if not cut:
        yield np.arange(len(key))
        return
    first = (key >> np.uint32(length - cut)).astype(np.uint8 if cut <= 8 else np.uint32)
    for value in range(1 << cut):
        yield np.flatnonzero(first == value)


def meetings(key: NDArray[np.uint32], random: np.random.Generator) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of things with one key, as two arrays of their numbers, in NEIGHBOURS parts."""
    shuffled = random.permutation(len(key))
    # Sorted together with the places, which is several times as quick as a stable sort of the keys.
    ordered = np.sort(key[shuffled].astype(np.uint64) << np.uint64(32) | np.arange(len(key), dtype=np.uint64))
    order = shuffled[(ordered & np.uint64(0xFFFFFFFF)).astype(np.int64)]
    ordered >>= np.uint64(32)
    for distance in range(1, NEIGHBOURS + 1):
        same = np.flatnonzero(ordered[distance:] == ordered[:-distance])
        yield order[same], order[same + distance]


def length_for(things: int, *, least: int = 12, most: int = 24) -> int:
    """Bits of a key with which a thing meets few of so many others by chance."""
    return int(np.clip(np.ceil(np.log2(max(things, 1))), least, most))
