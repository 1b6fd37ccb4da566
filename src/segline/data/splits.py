"""Which image belongs to train, val or test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from segline.data.check import name_list
from segline.data.sources import Method
from segline.data.store import SPLITS
from segline.errors import DataError


def assign(names: Sequence[str], official: Sequence[str | None], method: Method, val: float, test: float, seed: int) -> list[str]:
    """The split of each image, by its unique name.

    Official splits are honoured. Where the source has none (or only train), images are divided by `val` and `test`, shares of all images; where it has train
    and test but no val, val is taken from train. Raises DataError when a split that is needed would stay empty.
    """
    assert len(names) == len(official) == len(set(names)), "names must be unique"
    given = {split for split in official if split is not None}
    assert not given or None not in official, "a source has splits for all images or for none"
    if given - {"train"}:
        if "train" not in given:
            raise DataError(f"The data has images for {name_list(sorted(given))} but none for train; add training images, or remove the split names.")
        split = [str(s) for s in official]
        if "val" not in given:
            train = [name for name, s in zip(names, split, strict=True) if s == "train"]
            taken = set(choose(train, method, val, seed))
            split = ["val" if name in taken else s for name, s in zip(names, split, strict=True)]
    else:
        tests = set(choose(names, method, test, seed))
        rest = [name for name in names if name not in tests]
        vals = set(choose(rest, method, min(1.0, val * len(names) / max(1, len(rest))) if method == "random" else val, seed))
        split = ["test" if name in tests else "val" if name in vals else "train" for name in names]
    if "train" not in split:
        raise DataError(f"With {len(names)} images, data.splits leaves none to train on; add images or make data.splits.val and data.splits.test smaller.")
    if not {"val", "test"} & set(split):
        raise DataError("The data has neither a val nor a test split, so no model could be scored; set data.splits.val or data.splits.test above 0.")
    return split


def choose(names: Sequence[str], method: Method, share: float, seed: int) -> list[str]:
    """A share of the names, at least one where the share is above 0 and there are two or more.

    `every`: each n-th in sorted order, n = 1 / share.
    `random`: the first ones in the order of a seeded hash of each name, so that a new image moves few others.
    """
    if share <= 0 or len(names) < 2:
        return []
    if method == "every":
        step = max(1, round(1 / share))
        return sorted(names)[step - 1 :: step]
    shuffled = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    return shuffled[: max(1, round(len(names) * share))]


def counts(split: Sequence[str]) -> dict[str, int]:
    """Images per split; splits without images are left out."""
    return {name: split.count(name) for name in SPLITS if name in split}
