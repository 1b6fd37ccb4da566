"""The images that are to be labelled, copied into a folder for the annotation tool. Nothing there is replaced."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from segline.data.check import fail
from segline.errors import DataError
from segline.files import unwritable, whole
from segline.labelling.rank import Choice


def require_apart(target: Path, source: Path) -> None:
    """Raises DataError where copies would be found as images without labels the next time, or cannot be written."""
    if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise DataError(f"{target} lies in {source}, so the copies would be ranked the next time; give --copy-to a folder outside of it.")
    if target.exists() and not target.is_dir():
        raise DataError(f"{target} is a file; give --copy-to a folder.")
    reason = unwritable(target)
    if reason is not None:
        raise DataError(f"{reason}; give --copy-to a place of your own.")


def copy(choices: Sequence[Choice], target: Path) -> int:
    """Copy images below `target`, by the names that they are called; returns how many were not there yet.

    Raises DataError, and copies none, where another file is in the place of one, or two would be in one place.
    """
    places = {choice.file: target / _below(choice.name) for choice in choices}
    times = Counter(places.values())
    problems = [
        f"{number} images would be copied to {place}; rename them, or name them in the list by other paths." for place, number in times.items() if number > 1
    ]
    for file, place in places.items():
        if place.exists() and not _same(file, place):
            problems.append(f"{place} is there already and is another file; remove it, or give --copy-to another folder.")
    fail(problems)
    new = {file: place for file, place in places.items() if not place.exists()}
    for file, place in new.items():
        with whole(place) as part:
            shutil.copyfile(file, part)
    return len(new)


def _below(name: str) -> Path:
    """A name as a path that stays below a folder: lists may name files anywhere."""
    path = Path(name)
    inside = not path.is_absolute() and ".." not in path.parts and not name.startswith("~")
    return path if inside else Path(path.name)


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and (one.samefile(other) or one.read_bytes() == other.read_bytes())
