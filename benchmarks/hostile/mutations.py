"""Seeded damage: bytes of a file, values of a JSON tree. The same random generator gives the same damage."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, -0.5, 1e308, -1e308, float("nan"), float("inf"), 10**400, 2**31, 2**64, "", " ", "a", "0", "NaN", "\x00", "é" * 300,
    "../../x", "/etc/passwd", "a" * 300_000, [], [[]], [None], {}, {"a": {}}, [0] * 10_000,
)  # fmt: skip
"""What a key may hold that nobody expected."""


def damaged_bytes(content: bytes, random: np.random.Generator) -> bytes:
    """Some bytes flipped, or a part cut off, left out, doubled or filled."""
    data = bytearray(content)
    start = int(random.integers(0, max(len(data), 1)))
    length = int(random.integers(1, 64))
    kind = int(random.integers(0, 6))
    if kind == 0:
        return bytes(data[:start])
    if kind == 1:
        del data[start : start + length]
    elif kind == 2:
        data[start:start] = data[start : start + length]
    elif kind == 3:
        data[start : start + length] = bytes([int(random.integers(0, 256))]) * length
    else:
        # Near the beginning stand the headers, where damage reaches furthest.
        end = min(len(data), 256) if kind == 4 else len(data)
        for position in random.integers(0, max(end, 1), size=int(random.integers(1, 9))):
            if position < len(data):
                data[position] = int(random.integers(0, 256))
    return bytes(data)


def damaged_tree(tree: Any, random: np.random.Generator) -> tuple[Any, str]:
    """A copy of a tree of dicts and lists with one place replaced, left out, doubled or renamed, and which place that was."""
    changed = copy.deepcopy(tree)
    places = list(_places(changed))
    if not places:
        return _odd(random), "the whole"
    holder, key, path = places[int(random.integers(0, len(places)))]
    kind = int(random.integers(0, 10))
    if kind == 0:
        del holder[key]
        return changed, f"{path} left out"
    if kind == 1 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
        return changed, f"{path} doubled"
    if kind == 1:
        holder[f"{key}x"] = holder.pop(key)
        return changed, f"{path} renamed"
    holder[key] = _odd(random)
    return changed, f"{path} = {str(holder[key])[:40]!r}"


def _odd(random: np.random.Generator) -> Any:
    return copy.deepcopy(ODD_VALUES[int(random.integers(0, len(ODD_VALUES)))])


def _places(tree: Any, path: str = "") -> Any:
    """(holder, key, path) of every value in a tree."""
    if isinstance(tree, dict):
        items = list(tree.items())
    elif isinstance(tree, list):
        items = list(enumerate(tree[:200]))
    else:
        return
    for key, value in items:
        yield tree, key, f"{path}.{key}" if path else str(key)
        yield from _places(value, f"{path}.{key}" if path else str(key))
