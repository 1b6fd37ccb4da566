"""Which image belongs to train, val or test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from segline.data.check import name_list
from segline.data.groups import Near, groups_of, scenes_of
from segline.data.sources import AUTO, Splits
from segline.errors import DataError

_IN_NEED = ("train", "test", "val")
"""In which order splits get what is scarce."""

Present = Callable[[], Mapping[str, frozenset[int]]]
"""Asks for the classes that each image shows, by its path: their truth has to be read for it."""


def assign(
    images: Sequence[Path],
    official: Sequence[str | None],
    contents: Mapping[str, str],
    settings: Splits,
    *,
    root: Path | None = None,
    present: Present | None = None,
    near: Near | None = None,
) -> list[str]:
    """The split of each image, by its unique path.

    Official splits are honoured. Where the source has none (or one alone), images are divided by the shares `val` and `test`, or into folds; where it has train
    and test but no val, val is taken from train. `contents` is a hash of each image's content by its path. `root` is where a file of groups lies, and `present`
    is asked where `settings.stratify` wants every class in each split, `near` where `settings.group` is auto.
    Raises DataError when a split that is needed would stay empty.
    """
    assert len(images) == len(official) == len(set(images)), "paths must be unique"
    given = {split for split in official if split is not None}
    assert not given or None not in official, "a source has splits for all images or for none"
    if len(given) == 1 or not settings.official:
        official, given = [None] * len(images), set()
    if given and "train" not in given:
        raise DataError(f"The data has images for {name_list(sorted(given))} but none for train; add training images, or remove the split names.")
    if given and settings.folds is not None:
        raise DataError(
            f"data.splits.folds divides all images, and this data has splits of its own ({name_list(sorted(given))}); set data.splits.official to false, "
            "or remove folds."
        )
    if {"val", "train"} <= given:
        return [str(split) for split in official]
    val_alone = "test" in given
    names = [image.as_posix() for image, split in zip(images, official, strict=True) if not val_alone or split == "train"]
    test = 0.0 if val_alone else settings.test
    shown = present() if settings.stratify and present is not None else None
    if settings.group == AUTO:
        assert near is not None, "what shows the same has to be looked for"
        drawn, units = _by_scene(names, contents, near, lambda units: _drawn(names, units, settings, test, shown))
    else:
        units = groups_of(names, settings, root) if settings.group is not None else {name: contents[name] for name in names}
        drawn = _drawn(names, units, settings, test, shown)
    split = [drawn.get(image.as_posix(), "test") for image in images]
    if "train" not in split:
        raise DataError(f"With {len(images)} images, data.splits leaves none to train on; add images or make data.splits.val and data.splits.test smaller.")
    if not {"val", "test"} & set(split):
        of = (
            "copies of one count as one"
            if settings.group is None
            else f"those of one group count as one, and data.splits.group finds {len(set(units.values()))}"
        )
        hint = f"add images ({of})" if settings.val or settings.test else "set data.splits.val or data.splits.test above 0"
        raise DataError(f"The data has neither a val nor a test split, so no model could be scored; {hint}.")
    return split


def require_drawn(official: Sequence[str | None], settings: Splits) -> None:
    """Raises DataError where the data has splits of its own, which are not drawn."""
    given = {split for split in official if split is not None}
    if settings.official and len(given) > 1:
        raise DataError(
            f"data.on_leak: group draws splits so that images of one scene are in one, and this data has splits of its own ({name_list(sorted(given))}), which "
            "stay as they are. Set data.on_leak to drop, which leaves such images out of train, or data.splits.official to false, which draws other splits."
        )


def require_some_left(kept: Sequence[str], assigned: Sequence[str]) -> None:
    """Raises DataError where dropping images has emptied a split."""
    gone = sorted(set(assigned) - set(kept))
    if gone:
        raise DataError(
            f"data.on_leak: drop leaves {name_list(gone)} without images: all of them show what a later split shows. Set data.on_leak to report or group, "
            "or add images of other scenes."
        )


def _drawn(names: Sequence[str], units: Mapping[str, str], settings: Splits, test: float, present: Mapping[str, frozenset[int]] | None) -> dict[str, str]:
    """The split of each name; those of one unit are in one."""
    if settings.method == "every":
        return _every(names, settings.val, test)
    if settings.folds is not None:
        return _folds(units, settings)
    drawn = _by_content(units, settings.val, test, settings.seed)
    return drawn if present is None else _with_every_class(drawn, units, present, settings.seed)


def _by_scene(
    names: Sequence[str], contents: Mapping[str, str], near: Near, draw: Callable[[Mapping[str, str]], dict[str, str]]
) -> tuple[dict[str, str], dict[str, str]]:
    """Splits, and units of images that show the same. What still lies in two splits was not compared before: it is put together, and all is drawn again."""
    pairs = set(near(names, None))
    while True:
        units = scenes_of(names, contents, sorted(pairs))
        drawn = draw(units)
        left = set(near(names, drawn)) - pairs
        if not left:
            return drawn, units
        pairs |= left


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


def _folds(contents: Mapping[str, str], settings: Splits) -> dict[str, str]:
    """`test` is the fold that an image's content falls into; `val` is drawn of the others anew, so that it is a share of each of them."""
    assert settings.folds is not None
    split = {}
    for content in set(contents.values()):
        fold = int(_place(content, settings.seed) * settings.folds)
        later = _place(f"val/{content}", settings.seed) >= 1 - settings.val
        split[content] = "test" if fold == settings.fold else "val" if later else "train"
    if "test" not in split.values():
        raise DataError(f"Fold {settings.fold} of {settings.folds} holds none of {len(split)} images; set data.splits.folds to fewer, or add images.")
    return {name: split[content] for name, content in contents.items()}


def _with_every_class(drawn: Mapping[str, str], contents: Mapping[str, str], present: Mapping[str, frozenset[int]], seed: int) -> dict[str, str]:
    """As `drawn`, but a class that several images show is missing from no split, as far as its images go: rare classes first, the image nearest to the split.

    Images that are drawn well stay: so an added one moves none but those few that stand in for a class that it now brings itself.
    """
    shown: dict[str, set[int]] = {}
    split: dict[str, str] = {}
    for name, content in contents.items():
        shown.setdefault(content, set()).update(present.get(name, ()))
        split[content] = drawn[name]
    wanted = [word for word in _IN_NEED if word in split.values()]
    showing = {label: sorted(content for content, labels in shown.items() if label in labels) for label in set().union(*shown.values())}
    for label in sorted(showing, key=lambda label: (len(showing[label]), label)):
        for missing in wanted:
            if any(split[content] == missing for content in showing[label]):
                continue
            spare = [content for content in showing[label] if _can_be_spared(content, split, shown, label, missing)]
            if spare:
                split[min(spare, key=lambda content: (_distance(_place(content, seed), missing, split[content]), content))] = missing
    return {name: split[content] for name, content in contents.items()}


def _can_be_spared(content: str, split: Mapping[str, str], shown: Mapping[str, set[int]], label: int, missing: str) -> bool:
    """Whether all that this image shows is shown by another of its split; of a class with too few images for all splits, train comes first, then test."""
    others: set[int] = set()
    for other, labels in shown.items():
        if other != content and split[other] == split[content]:
            others |= labels
    if _IN_NEED.index(missing) < _IN_NEED.index(split[content]):
        others.add(label)
    return bool(others) and shown[content] <= others


def _distance(place: float, wanted: str, now: str) -> float:
    """How far a place lies from a split that it is not in: test is at the lower end, val at the upper."""
    if wanted == "test" or (wanted == "train" and now == "val"):
        return place
    return 1 - place


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
