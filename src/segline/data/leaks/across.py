"""Leaks: images of one split that show what a split shows that was learnt from. A model's score on them is too good.

data/prepared/leaks.json    which of the scored images they are; `evaluate` tells the score with and without them
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from segline.data.findings import Finding
from segline.data.leaks.gathered import Gathered
from segline.data.leaks.known import LEAKS, VERSION
from segline.data.leaks.search import Pair, alike
from segline.data.leaks.verify import Relation
from segline.files import write_json

_BEFORE = ("train", "val", "test")
"""What a model sees of earlier splits, it is not to be scored on in later ones."""

How = Relation | Literal["identical"]
"""identical: byte for byte."""

_Seen = dict[int, list[tuple[int, How]]]
"""By the number of an image: images of earlier splits that are like it, and how."""

_SHOWS: dict[Relation, str] = {
    "copy": "is the picture of",
    "turned": "is the picture, mirrored or turned, of",
    "scene": "shows the scene, or a part of the picture, of",
}


@dataclass(frozen=True)
class Leak:
    """One image of a split, and one that shows the same in an earlier one."""

    file: str  # relative to the root
    split: str
    other: str
    other_split: str
    relation: How
    others: int = 0  # further images of earlier splits that show the same


def leaks(
    files: Sequence[str], splits: Sequence[str], prints: Gathered, contents: Mapping[str, str], *, told: bool = True, processes: int | None = 1
) -> list[Leak]:
    """One for each image that has its like in an earlier split. `contents` (a hash) by file; what has no print is compared by content alone."""
    order = _by_name(files)
    pairs = alike(prints, [files[i] for i in order], [splits[i] for i in order], told=told, processes=processes)
    found: _Seen = {}
    for pair in pairs:
        one, other = sorted((order[pair.first], order[pair.second]), key=lambda i: _BEFORE.index(splits[i]))
        found.setdefault(other, []).append((one, pair.relation))
    _add_identical(found, files, splits, contents)
    told_of = []
    for i in sorted(found, key=lambda i: files[i]):
        one, how = min(found[i], key=lambda seen: (seen[1] != "identical", seen[1] == "scene", _BEFORE.index(splits[seen[0]]), files[seen[0]]))
        others = len({earlier for earlier, _ in found[i]}) - 1
        told_of.append(Leak(files[i], splits[i], files[one], splits[one], how, others))
    return told_of


def near(
    names: Sequence[str], apart: Mapping[str, str] | None = None, *, prints: Gathered, told: bool = True, processes: int | None = 1
) -> list[tuple[str, str]]:
    """Names of images that show the same; `apart` as for `alike`, by name."""
    ordered = [names[i] for i in _by_name(names)]
    found: list[Pair] = alike(prints, ordered, None if apart is None else [apart[name] for name in ordered], told=told, processes=processes)
    return [(ordered[pair.first], ordered[pair.second]) for pair in found]


def to_drop(files: Sequence[str], splits: Sequence[str], prints: Gathered, contents: Mapping[str, str], *, processes: int | None = 1) -> dict[str, Finding]:
    """Images of train and val that show what a later split shows, by file, with what is told of each. None of test is among them."""
    dropped: dict[str, Finding] = {}
    while True:
        left = [i for i, file in enumerate(files) if file not in dropped]
        order = [left[i] for i in _by_name([files[i] for i in left])]
        pairs = [(order[p.first], order[p.second]) for p in alike(prints, [files[i] for i in order], [splits[i] for i in order], processes=processes)]
        identical: _Seen = {}
        _add_identical(identical, [files[i] for i in left], [splits[i] for i in left], contents)
        pairs += [(left[earlier], left[later]) for later, before in identical.items() for earlier, _ in before]
        if not pairs:
            return dropped
        for pair in pairs:
            one, other = sorted(pair, key=lambda i: _BEFORE.index(splits[i]))
            sentence = f"{files[one]} was dropped from {splits[one]}: it shows what {files[other]} in {splits[other]} shows."
            dropped.setdefault(files[one], Finding("dropped", files[one], sentence, beside=files[other]))


def findings(found: Iterable[Leak]) -> list[Finding]:
    """Byte-identical ones are told elsewhere."""
    told = []
    for leak in found:
        if leak.relation != "identical":
            more = f", and {leak.others} more are like it" if leak.others else ""
            sentence = f"{leak.file} in {leak.split} {_SHOWS[leak.relation]} {leak.other} in {leak.other_split}{more}."
            told.append(Finding("near_in_splits", leak.file, sentence, leak.relation, beside=leak.other))
    return told


def write(found: Sequence[Leak], names: Mapping[str, str], folder: Path) -> None:
    """Write leaks.json. names: of the prepared images, by file."""
    images: dict[str, list[str]] = {}
    for leak in found:
        images.setdefault(leak.split, []).append(names[leak.file])
    write_json(
        folder / LEAKS, {"version": VERSION, "images": {split: sorted(some) for split, some in images.items()}, "leaks": [asdict(leak) for leak in found]}
    )


def _add_identical(found: _Seen, files: Sequence[str], splits: Sequence[str], contents: Mapping[str, str]) -> None:
    """The first image of each earlier split that is byte for byte the same."""
    first: dict[tuple[str, str], int] = {}
    for i, (file, split) in enumerate(zip(files, splits, strict=True)):
        first.setdefault((contents[file], split), i)
    for i, (file, split) in enumerate(zip(files, splits, strict=True)):
        for earlier in _BEFORE[: _BEFORE.index(split)]:
            same = first.get((contents[file], earlier))
            if same is not None:
                found[i] = [(one, how) for one, how in found.get(i, []) if one != same] + [(same, "identical")]


def _by_name(files: Sequence[str]) -> list[int]:
    """Numbers of files in the order of their names, whatever folder they are in: frames that two splits divide stand behind each other."""

    def place(number: int) -> tuple[list[str], str]:
        """Numbers in a name count as such: frame 10 comes behind frame 9."""
        return [part.zfill(20) if part.isdecimal() else part for part in re.split("([0-9]+)", Path(files[number]).name)], files[number]

    return sorted(range(len(files)), key=place)
