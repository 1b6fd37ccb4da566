"""A part of the training images that steers the training, where the validation split is what is scored at the end."""

from __future__ import annotations

import numpy as np

BLOCK = 8
"""Images in a row, by name. Frames of one video are near-duplicates: single frames held out would be almost seen."""


def holdout(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices that are trained on and indices held out, from `count` images in the order of their names; blocks in a row, seeded."""
    wanted = max(1, round(count * share))
    block = max(1, min(BLOCK, wanted))
    starts = np.random.default_rng(seed).permutation(range(0, count, block))
    held: set[int] = set()
    for start in starts:
        held.update(range(start, min(start + block, count)))
        if len(held) >= wanted:
            break
    return [i for i in range(count) if i not in held], sorted(held)
