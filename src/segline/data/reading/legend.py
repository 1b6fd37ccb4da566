"""What the values of masks mean: by the keys of params.yaml, and, where nobody said it, by the masks themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.check import brief, fail, name_list
from segline.data.formats.base import BACKGROUND, MOST_CLASSES, check_class_names
from segline.data.reading import class_files
from segline.data.reading.class_files import ClassFile
from segline.data.reading.pixel_values import PixelValues, is_colour, read_values, value_of, written_colour
from segline.data.reading.tree import Tree
from segline.data.store import IGNORE
from segline.errors import DataError

FOREGROUND = "foreground"
"""The class of 0/255 masks whose name nobody said."""

_WHITE = 0xFFFFFF
_SAMPLE = 400
"""Masks that are read to know their values."""

_SAMPLE_PIXELS = 100_000_000
_NEAR_ENDS = 24
"""How far from 0 or 255 the pixels of a black-and-white mask stray that was saved as JPEG, or with soft borders."""

_MOST_STRAYS = 0.25
"""Share of the masks that may be none: `prepare` names each of them."""

_MOST_IDS = 64
"""Up to it, values are taken for ids of classes though some between them do not occur."""


@dataclass(frozen=True)
class Legend:
    """Which class each value of a mask is."""

    colours: bool
    names: tuple[str, ...]  # by class id
    ids: Mapping[int, int]  # value → class id
    ignored: frozenset[int]
    nearest: bool = False  # a value that is none of them is taken for the nearest

    def classes_of(self, values: NDArray[np.int64], shown: str) -> NDArray[np.uint8]:
        """Class ids `(H, W)`, 255 = ignored. Raises DataError for values that mean nothing, with their share."""
        known = np.array(sorted({*self.ids, *self.ignored}), dtype=np.int64)
        meaning = np.array([IGNORE if int(value) in self.ignored else self.ids[int(value)] for value in known], dtype=np.uint8)
        found, which = np.unique(values, return_inverse=True)
        places = np.minimum(np.searchsorted(known, found), len(known) - 1)
        if self.nearest:
            places = self._nearest(found, known)
        elif (unknown := known[places] != found).any():
            raise DataError(self._about_unknown(values, [int(value) for value in found[unknown]], shown))
        return np.asarray(meaning[places][which].reshape(values.shape))

    def _nearest(self, found: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.intp]:
        def points(of: NDArray[np.int64]) -> NDArray[np.int64]:
            return np.stack([of >> 16 & 255, of >> 8 & 255, of & 255], axis=-1) if self.colours else of[:, None]

        nearest = np.empty(len(found), dtype=np.intp)
        for start in range(0, len(found), 4096):  # a photograph has a million colours
            part = points(found[start : start + 4096])
            nearest[start : start + 4096] = ((part[:, None] - points(known)[None]) ** 2).sum(axis=-1).argmin(axis=1)
        return nearest

    def _about_unknown(self, values: NDArray[np.int64], unknown: Sequence[int], shown: str) -> str:
        share = float(np.isin(values, unknown).mean())
        known = {value: self.names[i] for value, i in self.ids.items()}
        words = name_list(f"{self.written(value)} ({name})" for value, name in known.items())
        ignored = f", ignored {name_list(self.written(value) for value in sorted(self.ignored))}" if self.ignored else ""
        if not self.colours and {*unknown, *(value for value in known if (values == value).any())} <= {0, 255} and 255 in unknown:
            hint = "It looks like a mask saved as 0/255: say what its white is, as in `values: {255: person}`."
        elif len(unknown) > 16:
            hint = "So many values come of JPEG or of soft borders: save masks as PNG without smoothing, or set `nearest: true`."
        else:
            hint = "Correct the mask, or name them in data.values, data.classes or data.ignore."
        plural = "s" if len(unknown) > 1 else ""
        listed = name_list((self.written(value) for value in unknown), 6)
        return f"{shown} holds the unknown value{plural} {listed} ({_percent(share)} of its pixels); known are {words}{ignored}. {hint}"

    def written(self, value: int) -> str:
        """A value as params.yaml has it."""
        return written_colour(value) if self.colours else str(value)


def legend_of(
    *,
    values: Mapping[int | str, str] | None,
    classes: Sequence[str] | ClassFile | None,
    ignore: Collection[int | str],
    nearest: bool,
) -> Legend:
    """From the keys `values`, `classes` and `ignore`. Raises DataError with a sentence per problem.

    Where `values` does not name 0, or black, that is the background. Where it is not given, value i is class i.
    """
    named = _named(values, classes, ignore)
    problems = _mixed([*(values or {}), *ignore])
    colours = _by_colour(values, classes, ignore)
    ignored = frozenset(value for written in ignore if (value := value_of(written)) is not None)
    problems += [
        f"data.ignore: '{brief(written)}' is no value of a mask; write a number, or a colour as '#rrggbb'." for written in ignore if value_of(written) is None
    ]
    by_hand = values is not None or isinstance(classes, ClassFile)
    for value in sorted(ignored & set(named)) if not isinstance(classes, ClassFile) else ():
        shown = written_colour(value) if colours else value
        problems.append(f"data.ignore: {shown} is the class '{named[value]}'; a value is either a class or ignored.")
    fail(problems)
    if isinstance(classes, ClassFile):
        named = {value: name for value, name in named.items() if value not in ignored}
    if by_hand and 0 not in named and 0 not in ignored:
        named = {0: BACKGROUND, **named}
    names = tuple(dict.fromkeys(classes if isinstance(classes, Sequence) else named.values()))
    check_class_names(list(classes) if isinstance(classes, Sequence) else list(names))
    missing = sorted({name for name in named.values() if name not in names})
    if missing:
        raise DataError(f"data.values names {name_list(missing)}, which data.classes does not; add them there, or leave data.classes out.")
    ids = {value: names.index(name) for value, name in named.items()}
    return Legend(colours, names, ids, ignored, nearest)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "less than 0.1 %"


def _named(values: Mapping[int | str, str] | None, classes: Sequence[str] | ClassFile | None, ignore: Collection[int | str]) -> dict[int, str]:
    """Class names by value."""
    if values is not None:
        wrong = [written for written in values if value_of(written) is None]
        fail([f"data.values: '{brief(written)}' is no value of a mask; write a number, or a colour as '#rrggbb' in quotes." for written in wrong])
        if not values:
            raise DataError("data.values is empty; say which value of the masks is which class, as in {255: person}, or remove it.")
        return {int(value_of(written) or 0): name for written, name in values.items()}
    if isinstance(classes, ClassFile):
        return classes.named(colours=_by_colour(values, classes, ignore))
    return dict(enumerate(classes or ()))


def _by_colour(values: Mapping[int | str, str] | None, classes: Sequence[str] | ClassFile | None, ignore: Collection[int | str]) -> bool:
    if values is not None:
        return any(is_colour(written) for written in values)
    if isinstance(classes, ClassFile):
        numbers = any(not is_colour(written) for written in ignore)
        return classes.colours and not numbers
    return False


def _mixed(written: Sequence[int | str]) -> list[str]:
    colours = [is_colour(value) for value in written]
    if any(colours) and not all(colours):
        return [f"data.values and data.ignore mix numbers and colours ({name_list(written)}); a mask has either."]
    return []


@dataclass(frozen=True)
class Meaning:
    """What masks say of themselves."""

    keys: dict[str, Any]  # of the section `data`: values, classes, ignore, instances, nearest
    phrase: str
    reasons: dict[str, str] = field(default_factory=dict)
    things: bool = False  # whether each object has a number of its own


def meaning_of(tree: Tree, masks: Sequence[PurePosixPath], *, where: str = "") -> Meaning | None:
    """What the values of masks are, by a look at many of them; None where they are no masks of classes. `where`: the pattern of their files."""
    sample = sample_of(tree, masks)
    looked = [seen for file in sample if (seen := tree.values(file)) is not None]
    if not looked:
        return None
    kept = [seen for seen in looked if not _is_odd(seen, looked)]
    strays = len(looked) - len(kept)
    if strays > _MOST_STRAYS * len(looked):
        kept, strays = looked, 0
    looked = kept
    colours = any(seen.colour for seen in looked)
    counts = _summed(looked, colours=colours)
    note = "" if len(sample) == len(masks) else f" (in {len(sample)} of {len(masks)} masks that were read)"
    note += f", but for {strays} that look otherwise" if strays else ""
    if not counts or any(not seen.counts for seen in looked) or len(counts) > MOST_CLASSES * 4:
        return _soft(looked, colours=colours)
    if not colours and _numbered(tree, sample, looked, where):
        return Meaning(
            {"instances": True, "classes": [BACKGROUND, "object"]},
            f"each object with a number of its own{note}",
            {"classes": _RENAME, "instances": "1…n per mask, each in one piece"},
            things=True,
        )
    void = _void(counts, colours=colours)
    found = _class_file(tree, counts, void, colours=colours)
    if found is not None:
        return found
    if colours:
        return _coloured(counts, note)
    if set(counts) <= {0, 255} or (len(counts) <= 2 and max(counts) > 1 and 0 in counts):
        white = max(counts)
        if white == 0:
            return Meaning({"classes": [BACKGROUND]}, "nothing but 0")
        return Meaning(
            {"values": {white: FOREGROUND}},
            f"black-and-white masks of 0 and {white}{note}",
            {"values": f"0 is the background; what {white} shows is yours to name"},
        )
    soft = _soft(looked, colours=False)
    return soft if soft is not None else _ids(counts, void, note)


def _is_odd(seen: PixelValues, all_seen: Sequence[PixelValues]) -> bool:
    """Whether a mask is none among masks: a photograph in its place, or one that was saved as 0/255 among those of class ids."""
    if not seen.counts or (len(seen.counts) > MOST_CLASSES and seen.even < 0.5):
        return True
    if set(seen.counts) <= {0, 255} and 255 in seen.counts and not seen.colour:
        others = [other for other in all_seen if other.counts and not set(other.counts) <= {0, 255}]
        return bool(others) and not any(255 in other.counts for other in others)
    return False


_RENAME = "rename them as you like; the order is that of the ids"


def sample_of(tree: Tree, files: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """At most `_SAMPLE` files evenly from the list, fewer where they are large; the same ones each time."""
    first = next((seen for file in files[:3] if (seen := tree.values(file)) is not None), None)
    pixels = first.size[0] * first.size[1] if first is not None else 1_000_000
    most = max(24, min(_SAMPLE, _SAMPLE_PIXELS // pixels))
    if len(files) <= most:
        return list(files)
    return [files[i * len(files) // most] for i in range(most)]


def values_of(tree: Tree, masks: Sequence[PurePosixPath]) -> frozenset[int]:
    """The values that occur in a sample of masks; none where one of them cannot be counted."""
    looked = [tree.values(file) for file in sample_of(tree, masks)]
    return frozenset().union(*(seen.counts for seen in looked if seen is not None))


def _summed(looked: Iterable[PixelValues], *, colours: bool) -> Counter[int]:
    total: Counter[int] = Counter()
    for seen in looked:
        for value, number in seen.counts.items():
            total[value * 0x010101 if colours and not seen.colour else value] += number
    return total


def _void(counts: Counter[int], *, colours: bool) -> frozenset[int]:
    """255 beside several other values is what nobody labelled, as in Pascal VOC."""
    others = set(counts) - {255}
    return frozenset({255}) if not colours and 255 in counts and len(others) >= 2 and max(others) < 254 else frozenset()


def _numbered(tree: Tree, sample: Sequence[PurePosixPath], looked: Sequence[PixelValues], where: str) -> bool:
    """Whether the values are numbers of objects: 1…n in each mask, another n from mask to mask, and each number in one piece."""
    tops = {max(seen.counts) for seen in looked}
    numbered = sum(set(seen.counts) | {0} == set(range(max(seen.counts) + 1)) for seen in looked)
    said = "inst" in where.lower()
    if max(tops) > MOST_CLASSES and numbered > 0.5 * len(looked):
        return True
    if numbered < 0.9 * len(looked) or len(tops) < 2 or max(tops) < 3:
        return False
    pieces = [_in_one_piece(tree, file) for file in sample[:: max(1, len(sample) // 12)]]
    return sum(pieces) / len(pieces) > (0.5 if said else 0.85)


def _in_one_piece(tree: Tree, file: PurePosixPath) -> float:
    """Share of the values of a mask, 0 left out, that are in about one piece."""
    import cv2  # slow to import, and only ambiguous masks need it

    values = read_values(tree.root / file, file.as_posix(), colours=False)
    numbers = [int(value) for value in np.unique(values) if value > 0][:40]
    whole = 0
    for number in numbers:
        one = (values == number).astype(np.uint8)
        pieces, _, statistics, _ = cv2.connectedComponentsWithStats(one, connectivity=8)
        whole += pieces == 2 or int(statistics[1:, cv2.CC_STAT_AREA].max()) > 0.95 * int(one.sum())
    return whole / len(numbers) if numbers else 1.0


def _class_file(tree: Tree, counts: Counter[int], void: frozenset[int], *, colours: bool) -> Meaning | None:
    """A list of classes in the folder that names every value that occurs."""
    for file in sorted((f for f in tree.files if len(f.parts) <= 3 and class_files.looks_like_one(f.name)), key=lambda f: (len(f.parts), f)):
        text = tree.text(file)
        try:
            listed = class_files.parse(text or "", file.as_posix())
            by_colour = listed.colours and (colours or not set(counts) - void <= set(listed.named(colours=False)))
            named = listed.named(colours=by_colour)
        except DataError:
            continue
        seen = {value * 0x010101 for value in counts} if by_colour and not colours else set(counts)
        if colours and not by_colour:
            continue
        open_values = {value for value, name in named.items() if name.lower() in class_files.VOID}
        missing = seen - set(named) - (frozenset() if by_colour else void) - {0}
        if missing or len(named) - len(open_values) < 1:
            continue
        ignored = sorted(open_values | (frozenset() if by_colour else void - set(named)))
        keys: dict[str, Any] = {"classes": file.as_posix()}
        reasons = {"classes": f"it names every {'colour' if by_colour else 'value'} of the masks"}
        if ignored:
            keys["ignore"] = [written_colour(value) if by_colour else value for value in ignored]
            reasons["ignore"] = "what is void, or not labelled, is neither learnt nor scored"
        return Meaning(keys, f"{'colours' if by_colour else 'class ids'} that {file.as_posix()} names", reasons)
    return None


def _coloured(counts: Counter[int], note: str) -> Meaning | None:
    if len(counts) > MOST_CLASSES:
        return None
    named = {
        written_colour(value): BACKGROUND if value == 0 else FOREGROUND if set(counts) == {0, value} else f"colour_{value:06x}" for value in sorted(counts)
    }
    return Meaning({"values": named}, f"masks in {len(counts)} colours{note}", {"values": "no file names the colours: rename them as you like"})


def _ids(counts: Counter[int], void: frozenset[int], note: str) -> Meaning | None:
    ids = sorted(set(counts) - void)
    if not ids or ids[0] < 0 or len(ids) >= MOST_CLASSES:
        return None
    background = 0 in counts and (set(ids) == {0, 1} or counts[0] > 0.5 * sum(counts[value] for value in ids))
    keys: dict[str, Any] = {}
    reasons = {}
    if len(ids) > 0.7 * (ids[-1] + 1) or (ids[-1] < _MOST_IDS and len(ids) > 0.4 * (ids[-1] + 1)):
        names = [f"class_{value}" for value in range(ids[-1] + 1)]
        names[0] = BACKGROUND if background else names[0]
        keys["classes"] = names
        reasons["classes"] = f"the masks hold the ids 0…{ids[-1]}, and no file names them: {_RENAME}"
        phrase = f"class ids 0…{ids[-1]}{note}"
    else:
        keys["values"] = {value: BACKGROUND if value == 0 else f"class_{value}" for value in ids}
        reasons["values"] = "no file names the values: rename them as you like"
        phrase = f"the values {name_list(ids)}{note}"
    if void:
        keys["ignore"] = sorted(void)
        reasons["ignore"] = "255 beside class ids is what nobody labelled"
    return Meaning(keys, phrase, reasons)


def _soft(looked: Sequence[PixelValues], *, colours: bool) -> Meaning | None:
    """Black-and-white masks that were saved as JPEG or with soft borders: nearly all pixels are near 0 or 255."""
    if colours or any(not seen.counts for seen in looked):
        return None
    counts = _summed(looked, colours=False)
    if min(counts) < 0 or max(counts) > 255 or len(counts) < 8 or max(counts) < 255 - _NEAR_ENDS:
        return None
    near = sum(number for value, number in counts.items() if value <= _NEAR_ENDS or value >= 255 - _NEAR_ENDS)
    white = sum(number for value, number in counts.items() if value >= 255 - _NEAR_ENDS)
    if near < 0.9 * counts.total() or not white:
        return None
    reasons = {"values": "0 is the background; what 255 shows is yours to name", "nearest": "values between 0 and 255 come of JPEG or of soft borders"}
    return Meaning({"values": {255: FOREGROUND}, "nearest": True}, "black-and-white masks whose values were blurred", reasons)
