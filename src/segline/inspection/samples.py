"""Which images are shown: of each class some that show it in much, in middling and in little, and for the sheet some of each split."""

from __future__ import annotations

from collections.abc import Sequence

from segline.data.store import SPLITS
from segline.data.survey import Seen, Survey

_PER_CLASS = ((12, 4), (30, 3), (60, 2))
"""Up to so many classes, so many images of each; of more classes one."""

_SHARES = (0.9, 0.5, 0.1, 0.7)
"""Places in the order of how much an image shows of a class: from these, in this order."""

ON_SHEET = 12


def per_class(classes: int) -> int:
    return next((images for most, images in _PER_CLASS if classes <= most), 1)


def showing(survey: Survey) -> dict[int, list[Seen]]:
    """The images that show a class, by its id; those that show least of it first."""
    found: dict[int, list[tuple[float, str, Seen]]] = {}
    for seen in survey.images:
        for label, amount in _amounts(seen).items():
            found.setdefault(label, []).append((amount, seen.file, seen))
    return {label: [seen for _, _, seen in sorted(some, key=lambda one: one[:2])] for label, some in found.items()}


def spread(ordered: Sequence[Seen], number: int) -> list[Seen]:
    """Images from all over an order, without repetition."""
    if len(ordered) <= number:
        return list(reversed(ordered))
    places = {min(len(ordered) - 1, int(share * len(ordered))) for share in _SHARES[:number]}
    return [ordered[place] for place in sorted(places, reverse=True)]


def for_sheet(survey: Survey) -> list[Seen]:
    """Images of all splits, those of train most, evenly over their names."""
    counts = survey.counts()
    wanted = dict.fromkeys(counts, 2)
    if counts:
        first = next(split for split in SPLITS if split in counts)
        wanted[first] = ON_SHEET - 2 * (len(counts) - 1)
    chosen = []
    for split, number in wanted.items():
        own = [seen for seen in survey.images if seen.split == split]
        step = max(1.0, len(own) / number)
        chosen += [own[int(i * step)] for i in range(min(number, len(own)))]
    return chosen


def _amounts(seen: Seen) -> dict[int, float]:
    """Share of the image that each class fills, of those that it shows: of its mask, or of its objects where there is none."""
    size = seen.size[0] * seen.size[1]
    filled: dict[int, float] = dict(seen.pixels)
    if not filled:
        filled = {label: float(seen.areas[seen.labels == label].sum()) for label in set(seen.labels.tolist())}
    return {label: pixels / size for label, pixels in filled.items() if pixels > 0}
