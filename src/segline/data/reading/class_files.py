"""Files that name classes, one per line, as tools and data sets write them: CamVid's `label_colors.txt` and `class_dict.csv`, `labels.txt`, `_classes.csv`.

A line is a name, alone or with a value (`3 car`, `car,3`), a colour (`64 0 128 car`, `car,64,0,128`, `car: #400080`), or both. `#` begins a comment
where no colour follows, and a first line of words alone above lines with numbers is a heading.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segline.data.check import brief, fail, read_bytes
from segline.data.reading.pixel_values import value_of, written_colour
from segline.errors import DataError

SUFFIXES = (".txt", ".csv", ".tsv")

VOID = frozenset({"void", "unlabelled", "unlabeled", "unknown", "ignore", "ignored", "__ignore__", "don't care", "dontcare"})
"""Names, in lower case, of what is no class but left open."""

_NAMES = re.compile(r"class|label|colou?r|code|categor|legend|palette|names")
"""In the name of a file that lists classes."""

_MOST_LINES = 4096
_HEADINGS = frozenset({"name", "names", "class", "classes", "label", "labels", "id", "index", "pixel value", "value", "r", "g", "b", "red", "green", "blue"})
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Line:
    """One class."""

    name: str
    value: int | None
    colour: int | None  # 0xRRGGBB


@dataclass(frozen=True)
class ClassFile:
    """The classes of a file. `by_colour`: their masks are colours; else numbers, those of the lines or, where they name none, the lines' positions."""

    lines: tuple[Line, ...]

    @property
    def colours(self) -> bool:
        return all(line.colour is not None for line in self.lines)

    def named(self, *, colours: bool) -> dict[int, str]:
        """Class names by the value of their pixels; by position where the file gives no values."""
        if colours:
            return {line.colour: line.name for line in self.lines if line.colour is not None}
        if all(line.value is not None for line in self.lines):
            return {line.value: line.name for line in self.lines if line.value is not None}
        first = 0
        if self.lines[0].name.lower() == "__ignore__":  # labelme counts from −1
            first = -1
        return {255 if i + first < 0 else i + first: line.name for i, line in enumerate(self.lines)}


def looks_like_one(name: str) -> bool:
    """Whether a file of this name is likely to list classes."""
    return Path(name).suffix.lower() in SUFFIXES and bool(_NAMES.search(Path(name).stem.lower()))


def read(file: Path, shown: str) -> ClassFile:
    """Raises DataError with a sentence per problem."""
    try:
        text = read_bytes(file, shown).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{shown} is no text in UTF-8; write one class per line.") from None
    return parse(text, shown)


def parse(text: str, shown: str) -> ClassFile:
    """As `read`, of the text itself."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not re.match(r"#(?![0-9a-fA-F]{6}\b)", line)]
    if not lines:
        raise DataError(f"{shown} names no class; write one per line.")
    if len(lines) > _MOST_LINES:
        raise DataError(f"{shown} has {len(lines)} lines; a list of classes has at most {_MOST_LINES}. Name another file in data.classes.")
    rows = _rows(lines)
    if len(rows) > 1 and {word.lower() for word in rows[0]} <= _HEADINGS:
        rows = rows[1:]
    found, problems = [], []
    for row in rows:
        line = _line(row)
        if line is None:
            problems.append(
                f"{shown}: '{brief(' '.join(row))}' is no class; write a name, with its value or its colour (three numbers, or #rrggbb) if need be."
            )
        else:
            found.append(line)
    problems += _differing(found, shown)
    fail(problems)
    return ClassFile(tuple(found))


def _rows(lines: Sequence[str]) -> list[list[str]]:
    """The words of each line. What separates them is what most lines have; without it, numbers at one end of every line are words of their own."""
    separators = [separator for separator in (",", ";", "\t", ":") if sum(separator in line for line in lines) > len(lines) / 2]
    if separators:
        return [_words(line, "".join(separators)) for line in lines]
    for numbers, rest in ((r"^((?:\d+\s+){1,4})(\S.*)$", 2), (r"^(\S.*?)((?:\s+\d+){1,4})$", 1)):
        found = [re.match(numbers, line) for line in lines]
        if all(found):
            return [[*m[3 - rest].split(), m[rest].strip()] for m in found if m]
    coloured = [re.match(r"^(?:(#[0-9a-fA-F]{6})\s+(\S.*)|(\S.*?)\s+(#[0-9a-fA-F]{6}))$", line) for line in lines]
    if all(coloured):
        return [[word for word in m.groups() if word] for m in coloured if m]
    return [[line] for line in lines]


def _words(line: str, separators: str) -> list[str]:
    """What stands between separators; several numbers with blanks between are several words."""
    found: list[str] = []
    for word in (word.strip().strip("\"'").strip() for word in re.split(f"[{separators}]", line)):
        if word:
            found += word.split() if re.fullmatch(r"[0-9\s]+", word) else [word]
    return found


def _line(row: Sequence[str]) -> Line | None:
    numbers = [int(word) for word in row if _NUMBER.fullmatch(word)]
    hexadecimal = [word for word in row if value_of(word) is not None and word.startswith("#")]
    words = [word for word in row if not _NUMBER.fullmatch(word) and word not in hexadecimal]
    colour = value_of(hexadecimal[0]) if hexadecimal else None
    if len(numbers) >= 3 and colour is None and max(numbers[-3:]) < 256:
        red, green, blue = numbers[-3:]
        colour, numbers = red << 16 | green << 8 | blue, numbers[:-3]
    if len(words) != 1 or len(numbers) > 1 or not words[0].isprintable():
        return None
    return Line(words[0], numbers[0] if numbers else None, colour)


def _differing(lines: Iterable[Line], shown: str) -> list[str]:
    problems: list[str] = []
    values: dict[int, str] = {}
    colours: dict[int, str] = {}
    for line in lines:
        for seen, value, word in ((values, line.value, str(line.value)), (colours, line.colour, written_colour(line.colour or 0))):
            if value is not None and seen.setdefault(value, line.name) != line.name:
                problems.append(f"{shown}: '{brief(line.name)}' and '{brief(seen[value])}' have one value ({word}); give each class its own.")
    return problems
