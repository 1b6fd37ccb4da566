"""Groups of test images, each of which is compared for itself: by facts of the images, and by the columns of a user's table."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from segline.comparison.facts import Facts
from segline.errors import DataError

SMALL_MEDIUM_LARGE = ("small", "medium", "large")
DARK_MEDIUM_BRIGHT = ("dark", "medium", "bright")
LOW_MEDIUM_HIGH = ("low", "medium", "high")

NAMES = ("image", "name", "file", "filename", "file_name", "path")
"""Headings under which a table may have the images' names."""

_MOST_WORDS = 20  # groups of a column that holds words; more would be no groups
_FEW_NUMBERS = 3  # a column with so many different numbers has a group for each
_TOLD = 5  # names in a sentence


@dataclass(frozen=True)
class Slice:
    """Some of the images."""

    by: str  # what the images were grouped by
    name: str
    images: NDArray[np.int64]  # indices of the images


@dataclass(frozen=True)
class Slices:
    """All groups, and sentences on what could not be grouped."""

    found: tuple[Slice, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Slices) -> Slices:
        return Slices(self.found + other.found, self.notes + other.notes)


def by_facts(hashes: Sequence[str], facts: Mapping[str, Facts]) -> Slices:
    """Three groups each by image size, brightness and object size, with equally many images as far as that goes."""
    known = [facts.get(key) for key in hashes]
    lacking = known.count(None)
    if lacking == len(known):
        return Slices(notes=("The prepared data does not hold these images, so they are not grouped by size, brightness and objects.",))
    pixels = np.array([math.nan if one is None else one.height * one.width for one in known], dtype=np.float64)
    brightness = np.array([math.nan if one is None else one.brightness for one in known], dtype=np.float64)
    objects = np.array([math.nan if one is None or one.object_pixels is None else one.object_pixels for one in known], dtype=np.float64)
    found = in_thirds("image size", pixels, SMALL_MEDIUM_LARGE, unit=" px")
    found += in_thirds("object size", objects, SMALL_MEDIUM_LARGE, unit=" px", unknown="no objects" if not lacking else None)
    found += in_thirds("brightness", brightness, DARK_MEDIUM_BRIGHT)
    return found + Slices(notes=(f"{lacking} images are not in the prepared data, and in no group.",) if lacking else ())


def in_thirds(by: str, values: NDArray[np.float64], words: tuple[str, str, str], *, unit: str = "", unknown: str | None = None) -> Slices:
    """Groups of images by a number each `(N,)`, NaN where it is unknown. Few different numbers have a group each; equal numbers are never parted.

    unknown: name of the group of those without a number; None: they are in no group.
    """
    known = values[~np.isnan(values)]
    different = np.unique(known)
    if not len(different):
        return Slices()
    rest = np.flatnonzero(np.isnan(values))
    others = (Slice(by, unknown, rest),) if unknown is not None and len(rest) else ()
    if len(different) == 1:
        note = f"All images are alike by {by} ({_number(float(different[0]))}{unit}), so they are not grouped by it."
        return Slices(others, () if others else (note,))
    if len(different) <= _FEW_NUMBERS:
        groups = [(f"{_number(float(value))}{unit}", np.flatnonzero(values == value)) for value in different]
    else:
        # The cuts are values of images, so that both sides of each have some.
        cuts = np.unique(np.quantile(known, [1 / 3, 2 / 3], method="lower"))
        place = np.searchsorted(cuts, np.nan_to_num(values), side="left")
        place[np.isnan(values)] = -1
        names = words if len(cuts) == 2 else (words[0], words[2])
        groups = []
        for i, name in enumerate(names):
            images = np.flatnonzero(place == i)
            if len(images):
                groups.append((f"{name}, {_range(values[images])}{unit}", images))
    return Slices((*(Slice(by, name, images) for name, images in groups), *others))


def of_table(file: Path, images: Sequence[str]) -> Slices:
    """Groups by each column of a user's CSV table that has a row for each image: numbers in thirds, words by word.

    images: names, as the prepared data has them (a file's name without its ending). Raises DataError with all that is wrong in the table.
    """
    header, rows = _rows(file)
    column = next((i for i, title in enumerate(header) if title.strip().lower() in NAMES), None)
    if column is None:
        raise DataError(f"{file} has no column of image names: head one of its columns ({', '.join(header) or 'it has none'}) with `image`.")
    if len(header) < 2:
        raise DataError(f"{file} has the images' names and nothing else; add a column by which they are to be grouped.")
    by_image, problems = _by_image(file, header, rows, column, images)
    if problems:
        raise DataError(*problems)
    told = [name for name in images if name in by_image]
    if not told:
        some = ", ".join(row[column] for _, row in rows[:_TOLD])
        raise DataError(f"{file} names none of the compared images: it has {some or 'no rows'}, and they are called {', '.join(images[:_TOLD])}, …")
    found = Slices(notes=(f"{file.name} has no row for {len(images) - len(told)} of {len(images)} images.",) if len(told) < len(images) else ())
    for i, title in enumerate(header):
        if i != column:
            found += _of_column(title.strip() or f"column {i + 1}", [by_image[name][i].strip() if name in by_image else "" for name in images])
    if not found.found:
        raise DataError(f"{file} has no column by which images can be grouped.", *found.notes)
    return found


def _rows(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The headings, and the rows with their lines."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            sample = stream.read(4096)
            stream.seek(0)
            delimiter = max(",;\t", key=sample.partition("\n")[0].count)
            reader = csv.reader(stream, delimiter=delimiter)
            lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except FileNotFoundError:
        raise DataError(f"There is no file {file}; give --slices a CSV table with the columns `image` and what the images are to be grouped by.") from None
    except IsADirectoryError:
        raise DataError(f"{file} is a folder; give --slices a CSV table.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as a CSV table in UTF-8 ({error}). Save it as one.") from None
    if not lines:
        raise DataError(f"{file} is empty; its first line names the columns: `image,weather`, for example.")
    return lines[0][1], lines[1:]


def _by_image(
    file: Path, header: Sequence[str], rows: Sequence[tuple[int, list[str]]], column: int, images: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """The row of each image, and sentences on rows that are wrong."""
    known = set(images)
    by_image: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    problems = []
    for line, row in rows:
        if len(row) != len(header):
            problems.append(f"{file}, line {line}: {len(row)} cells, and the first line has {len(header)} columns. Give each row all cells; empty ones may be.")
            continue
        given = PurePosixPath(row[column].strip().replace("\\", "/"))
        name = given.name if given.name in known else given.stem
        if name in by_image and by_image[name] != row:
            problems.append(f"{file}, line {line}: '{name}' stands in line {lines[name]} already, with other values. Keep one of them.")
            continue
        by_image[name], lines[name] = row, line
    return by_image, problems


def _of_column(title: str, cells: Sequence[str]) -> Slices:
    """Images by their cells; an empty cell says nothing."""
    given = [cell for cell in cells if cell]
    if not given:
        return Slices(notes=(f"The column '{title}' says nothing of these images.",))
    numbers = [_as_number(cell) for cell in given]
    if all(number is not None for number in numbers):
        values = np.array([math.nan if not cell else _as_number(cell) for cell in cells], dtype=np.float64)
        return in_thirds(title, values, LOW_MEDIUM_HIGH)
    words = Counter(given)
    if len(words) > _MOST_WORDS:
        return Slices(notes=(f"The column '{title}' has {len(words)} different words; up to {_MOST_WORDS} make groups.",))
    if len(words) == 1:
        return Slices(notes=(f"The column '{title}' says '{given[0]}' of all images, so they are not grouped by it.",))
    of = np.array(cells, dtype=np.str_)
    return Slices(tuple(Slice(title, word, np.flatnonzero(of == word)) for word in sorted(words)))


def _as_number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _range(values: NDArray[np.float64]) -> str:
    low, high = (_number(float(value)) for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:.3g}"
