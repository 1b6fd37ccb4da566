"""Which image belongs to train, val or test."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from segline.data.check import name_list
from segline.data.sources import Splits
from segline.errors import DataError


def assign(images: Sequence[Path], official: Sequence[str | None], contents: Mapping[str, str], settings: Splits) -> list[str]:
    """The split of each image, by its unique path.

    Official splits are honoured. Where the source has none (or only train), images are divided by the shares `val` and `test`; where it has train and test
    but no val, val is taken from train. `contents` is a hash of each image's content by its path.
    Raises DataError when a split that is needed would stay empty.
    """
    assert len(images) == len(official) == len(set(images)), "paths must be unique"
    given = {split for split in official if split is not None}
    assert not given or None not in official, "a source has splits for all images or for none"
    if given - {"train"} and "train" not in given:
        raise DataError(f"The data has images for {name_list(sorted(given))} but none for train; add training images, or remove the split names.")
    if {"val", "train"} <= given:
        return [str(split) for split in official]
    val_alone = "test" in given
    names = [image.as_posix() for image, split in zip(images, official, strict=True) if not val_alone or split == "train"]
    if settings.method == "every":
        drawn = _every(names, settings.val, 0.0 if val_alone else settings.test)
    else:
        drawn = _by_content({name: contents[name] for name in names}, settings.val, 0.0 if val_alone else settings.test, settings.seed)
    split = [drawn.get(image.as_posix(), "test") for image in images]
    if "train" not in split:
        raise DataError(f"With {len(images)} images, data.splits leaves none to train on; add images or make data.splits.val and data.splits.test smaller.")
    if not {"val", "test"} & set(split):
        hint = "add images (copies of one count as one)" if settings.val or settings.test else "set data.splits.val or data.splits.test above 0"
        raise DataError(f"The data has neither a val nor a test split, so no model could be scored; {hint}.")
    return split


def _by_content(contents: Mapping[str, str], val: float, test: float, seed: int) -> dict[str, str]:
    """The split of each name, by a number between 0 and 1 that is drawn from its content: `test` at the lower end, `val` at the upper, `train` between.

    An image's number depends on nothing but the image and the seed. So others that are added or removed move none, a new name or folder does not either,
    copies of an image are all on one side, and a larger share takes from train alone. The shares hold on average, not to the image.
    Where a split that is wanted would stay empty, it gets the nearest image: only then, among few images, may one be drawn another way later.
    """
    places = {content: _place(content, seed) for content in contents.values()}
    ordered = sorted(places, key=lambda content: (places[content], content))
    # Train's one comes first where there are fewer images than splits, then test's: it is what models are compared by.
    below = min(sum(place < test for place in places.values()), len(ordered) - 1)
    above = min(sum(place >= 1 - val for place in places.values()), len(ordered) - 1 - below)
    if test > 0 and not below and len(ordered) > 1:
        below = 1
        above = min(above, len(ordered) - 2)
    if val > 0 and not above and len(ordered) - below > 1:
        above = 1
    elif val > 0 and not above and below > 1:
        below, above = below - 1, 1
    split = {content: "test" if i < below else "val" if i >= len(ordered) - above else "train" for i, content in enumerate(ordered)}
    return {name: split[content] for name, content in contents.items()}


def _place(content: str, seed: int) -> float:
    """Between 0 and 1, evenly over contents."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{content}".encode()).digest()[:6]) / 2**48


def _every(names: Sequence[str], val: float, test: float) -> dict[str, str]:
    """Each n-th name in sorted order, n = 1 / share: first for test, then of the rest for val."""
    tests = _each_nth(sorted(names), test)
    rest = sorted(set(names) - set(tests))
    return dict.fromkeys(names, "train") | dict.fromkeys(tests, "test") | dict.fromkeys(_each_nth(rest, val), "val")


def _each_nth(names: Sequence[str], share: float) -> Sequence[str]:
    if share <= 0 or len(names) < 2:
        return []
    step = max(1, round(1 / share))
    return names[step - 1 :: step]
