"""Data sets whose classes are known: `data.classes` may call them otherwise, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from segline.data.check import name_list
from segline.data.formats.base import check_class_names
from segline.errors import DataError


def renamed(classes: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """Class names by id. Raises DataError where `classes` does not name as many as are known."""
    if classes is None:
        return tuple(known)
    check_class_names(classes)
    if len(classes) != len(known):
        raise DataError(f"data.classes has {len(classes)} names, and the data {len(known)} classes ({name_list(known)}); give one for each, or remove it.")
    return tuple(classes)
