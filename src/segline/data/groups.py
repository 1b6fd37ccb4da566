"""Images that belong together (frames of one drive, slices of one patient): those of a group are never in two splits."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from segline.data.check import brief, fail, name_list, read_bytes
from segline.data.leaks.search import together
from segline.data.sources import AUTO, FOLDERS, Splits
from segline.errors import DataError

Near = Callable[[Sequence[str], Mapping[str, str] | None], Sequence[tuple[str, str]]]
"""Asks which images show the same, by their paths; given the splits by path, only those of different splits."""

_IMAGE = ("image", "file", "filename", "file_name", "path", "name")
_GROUP = ("group", "patient", "patient_id", "case", "scene", "sequence")


def group_files(root: Path, settings: Splits) -> list[Path]:
    """The files below `root` that the groups are read from, relative to it. Raises DataError where they are not there."""
    file = settings.group_file
    if file is None:
        return []
    path = PurePosixPath(file.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"data.splits.group: '{file}' lies outside the folder; copy the file into it.")
    if not (root / path).is_file():
        raise DataError(f"data.splits.group: the folder {root} has no file '{file}'; give a CSV file with a line per image and the columns image and group.")
    return [Path(path)]


def groups_of(names: Sequence[str], settings: Splits, root: Path | None) -> dict[str, str]:
    """The group of each image, by its path relative to `root`. Raises DataError with the images that have none."""
    assert settings.group not in (None, AUTO)
    if settings.group == FOLDERS:
        return {name: PurePosixPath(name).parent.as_posix() for name in names}
    found = _by_file(names, settings, root) if settings.group_file is not None else _by_expression(names, str(settings.group))
    without = [name for name in names if not found.get(name)]
    if without:
        raise DataError(f"data.splits.group '{settings.group}' gives no group to {len(without)} of {len(names)} images ({name_list(without, 4)}); correct it.")
    return found


def scenes_of(names: Sequence[str], contents: Mapping[str, str], pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The group of each image where those of a pair belong together, also over others: the content of the first one by name.

    So an image that is like no other is drawn as if there were no groups; one that is added moves others only where it comes before those that it is like, or
    joins two groups.
    """
    ordered = sorted(names)
    place = {name: i for i, name in enumerate(ordered)}
    first_of = {contents[name]: place[name] for name in reversed(ordered)}  # copies, byte for byte, belong together as well
    tied = [*((first_of[contents[name]], place[name]) for name in ordered), *((place[one], place[other]) for one, other in pairs)]
    least = together(len(ordered), tied)
    return {name: contents[ordered[least[place[name]]]] for name in names}


def _by_expression(names: Sequence[str], expression: str) -> dict[str, str]:
    compiled = re.compile(expression)
    found = {name: compiled.search(name) for name in names}
    return {name: match[1] or "" for name, match in found.items() if match is not None}


def _by_file(names: Sequence[str], settings: Splits, root: Path | None) -> dict[str, str]:
    """A line's image is a path, or a name with or without its ending that one image alone has."""
    assert settings.group_file is not None and root is not None
    [file] = group_files(root, settings)
    column = (settings.group or "").partition(":")[2]
    listed = _read(root / file, file.as_posix(), column)
    found = {}
    for name in names:
        path = PurePosixPath(name)
        group = next((listed[key] for key in (name, path.with_suffix("").as_posix(), path.name, path.stem) if key in listed), None)
        if group is not None:
            found[name] = group
    return found


def _read(file: Path, shown: str, column: str) -> dict[str, str]:
    """Groups by what the file calls the images. Raises DataError with a sentence per problem."""
    try:
        lines = read_bytes(file, shown).decode("utf-8-sig").splitlines()
        rows = list(csv.reader(lines, delimiter=";" if lines and ";" in lines[0] and "," not in lines[0] else ","))
    except (UnicodeDecodeError, csv.Error):
        raise DataError(f"{shown} is no CSV file in UTF-8; write a line per image, with the columns image and group.") from None
    heads = [word.strip() for word in rows[0]] if rows else []
    image = _column(heads, "", _IMAGE, 0)
    group = _column(heads, column, _GROUP, 1 if image == 0 else 0)
    if image is None or group is None or image == group or len(heads) < 2:
        wanted = f"a column '{column}'" if column else "the columns image and group"
        raise DataError(f"{shown} needs a first line that names its columns, and {wanted}; it has {name_list(heads) or 'none'}.")
    found: dict[str, str] = {}
    problems = []
    for number, row in enumerate(rows[1:], start=2):
        if not any(word.strip() for word in row):
            continue
        if len(row) <= max(image, group) or not row[image].strip() or not row[group].strip():
            problems.append(f"{shown}, line {number}, lacks its image or its group; complete it.")
            continue
        name = PurePosixPath(row[image].strip().replace("\\", "/")).as_posix()
        if found.setdefault(name, row[group].strip()) != row[group].strip():
            problems.append(f"{shown}, line {number}, puts '{brief(name)}' into a second group; an image has one.")
    fail(problems)
    return found


def _column(heads: Sequence[str], wanted: str, words: Sequence[str], place: int) -> int | None:
    """Where a column is: that of the wanted name, else the first with one of the words, else that in its usual place."""
    lower = [head.lower() for head in heads]
    if wanted:
        return lower.index(wanted.lower()) if wanted.lower() in lower else None
    return next((lower.index(word) for word in words if word in lower), place if place < len(heads) else None)
