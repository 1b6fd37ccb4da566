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


def of_class(survey: Survey, label: int, number: int) -> list[Seen]:
    """Images that show a class, at most `number`."""
    showing = sorted((seen for seen in survey.images if _amount(seen, label) > 0), key=lambda seen: (_amount(seen, label), seen.file))
    return spread(showing, number)


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


def _amount(seen: Seen, label: int) -> float:
    """Share of the image that a class fills: of its mask, or of its objects where there is none."""
    if seen.pixels:
        return seen.pixels.get(label, 0) / (seen.size[0] * seen.size[1])
    return float(seen.areas[seen.labels == label].sum()) / (seen.size[0] * seen.size[1])
