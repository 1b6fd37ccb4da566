"""Data sets with labels of their own, of which some are classes: `data.classes` picks them by name, and what is no class is ignored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segline.choices import nearest
from segline.data.check import fail, name_list
from segline.data.formats.base import MOST_CLASSES, SourceClass, SourceObject, check_class_names
from segline.data.store import IGNORE
from segline.errors import DataError


@dataclass(frozen=True)
class Label:
    """One label of a data set."""

    value: int  # in its masks
    name: str
    thing: bool = False  # its objects are told apart


def chosen(labels: Sequence[Label], classes: Sequence[str] | None, default: Sequence[str]) -> tuple[Label, ...]:
    """The labels that are classes, in the order of their ids. Raises DataError for names that no label has, and where there is none."""
    names = list(default if classes is None else classes)
    if classes is not None:
        check_class_names(classes)
    by_name = {label.name: label for label in labels}
    problems = []
    for name in names:
        if name not in by_name:
            near = nearest(name, by_name)
            problems.append(f"data.classes: the data has no label '{name}'" + (f"; did you mean '{near}'?" if near else f"; it has {name_list(by_name)}."))
    fail(problems)
    if not names:
        raise DataError("Of the labels that the data names none is a class. Name those that you want in data.classes, or copy the file that lists them anew.")
    if len(names) > MOST_CLASSES:
        raise DataError(f"The data has {len(names)} labels; at most {MOST_CLASSES} classes fit in an 8-bit mask. Name those that you want in data.classes.")
    return tuple(by_name[name] for name in names)


def source_classes(labels: Sequence[Label]) -> tuple[SourceClass, ...]:
    return tuple(SourceClass(label.name, label.thing) for label in labels)


def class_ids(values: NDArray[np.integer], classes: Sequence[Label], known: Collection[int], shown: str) -> NDArray[np.uint8]:
    """Label values `(H, W)` as class ids, 255 for labels that are no classes. Raises DataError for values that no label has."""
    found = [int(value) for value in np.unique(values)]
    unknown = [value for value in found if value not in known]
    if unknown:
        share = float(np.isin(values, unknown).mean())
        plural = "s" if len(unknown) > 1 else ""
        raise DataError(
            f"{shown} holds the unknown label value{plural} {name_list(unknown)} in {_percent(share)} of its pixels; known are {name_list(sorted(known))}. "
            "Correct the mask, or set data.format to the layout that it is in.",
            kind="labels",
        )
    ids = {label.value: i for i, label in enumerate(classes)}
    mask = np.full(values.shape, IGNORE, dtype=np.uint8)
    for value in found:
        if value in ids:
            mask[values == value] = ids[value]
    return mask


def numbered(numbers: NDArray[np.integer], objects: dict[int, tuple[int, bool]]) -> tuple[SourceObject, ...]:
    """The objects of a mask `(H, W)` in which each has a number of its own; `objects` gives class id and whether it is a crowd by number, others are none."""
    present = [int(number) for number in np.unique(numbers)]
    return tuple(SourceObject(objects[n][0], numbers == n, objects[n][1]) for n in present if n in objects)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "less than 0.1 %"
