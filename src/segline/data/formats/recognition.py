"""Which format a folder is in: each is asked what it sees, and the surest is taken."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segline.data.formats import catalog
from segline.data.formats.base import Sighting
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.errors import DataError

LEAST = 0.3
"""What is less sure than this is told as what a folder is nearest to, and not taken."""

AT_HOME = 0.86
"""From it on nobody else need be asked who only sees images and masks."""

_TIE = 0.1
"""Formats that differ by less in how sure they are could both be meant."""


@dataclass(frozen=True)
class Found:
    """A format and what it sees."""

    word: str
    sighting: Sighting

    def settings(self, root: Path, **keys: Any) -> Folder:
        """The section `data` by which the folder is read so. `keys`: what a user says of it, which counts more."""
        kind = catalog.get(self.word).Settings
        seen = {key: value for key, value in self.sighting.keys.items() if key not in keys}
        return kind.model_validate({"source": str(root), "format": self.word, **seen, **keys})


def sightings(tree: Tree) -> list[Found]:
    """What each format sees, the surest first; what is equally sure in the catalogue's order."""
    found: list[Found] = []
    for word in [word for word in catalog.FORMATS if word != catalog.GENERAL] + [catalog.GENERAL]:
        if word == catalog.GENERAL and any(one.sighting.sure >= AT_HOME for one in found):
            continue  # it would look at every pair of folders
        seen = catalog.get(word).FORMAT.recognise(tree)
        if seen is not None:
            found.append(Found(word, seen))
    return sorted(found, key=lambda one: -one.sighting.sure)


def recognised(tree: Tree) -> tuple[Found, tuple[Found, ...]]:
    """The surest format, and those that could be meant as well. Raises DataError with what was seen and the nearest layouts where none is sure enough."""
    found = sightings(tree)
    if not found or found[0].sighting.sure < LEAST:
        raise DataError(_unknown(tree, found))
    best = found[0]
    return best, tuple(other for other in found[1:] if other.sighting.sure >= max(LEAST, best.sighting.sure - _TIE))


def _unknown(tree: Tree, found: list[Found]) -> str:
    near = "; ".join(f"{one.word} ({one.sighting.seen})" for one in found[:3])
    nearest = f"Nearest is {near}. " if near else ""
    words = ", ".join(word for word in catalog.FORMATS if word != catalog.AUTO)
    return (
        f"{tree.root} is in no layout that is known: it holds {contents(tree)}. {nearest}"
        f"Formats are {words}; where images and masks only have names of their own, say so by `format: masks` with image_files and mask_files."
    )


def contents(tree: Tree, most: int = 6) -> str:
    """What lies in a folder, as a phrase: how many files of which type, and in which folders."""
    if not tree.files:
        return "no file"
    types = Counter((f.parent.as_posix(), f.suffix.lower() or "no type") for f in tree.files)
    listed = [f"{number} {suffix} in {folder if folder != '.' else 'the folder itself'}" for (folder, suffix), number in types.most_common(most)]
    more = len(types) - most
    return ", ".join(listed) + (f" and {more} more kinds" if more > 0 else "")
