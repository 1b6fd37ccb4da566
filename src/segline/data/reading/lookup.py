"""Where the files of a source are: annotations name images by paths of the machine that they were drawn on, and folders tell splits by their names."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from segline.data.check import IMAGE_SUFFIXES, brief, name_list
from segline.data.formats.base import is_text
from segline.data.reading.tree import Tree

_SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test", "testing": "test",
}  # fmt: skip
"""Names of folders and files that tell a split."""


def split_word(word: str) -> str | None:
    """`train`, `val` or `test`, where a word is one of their names or begins with it and a year (`train2017`)."""
    return _SPLIT_WORDS.get(word.lower().rstrip("0123456789"))


def split_of(file: PurePosixPath | Path) -> str | None:
    """The split of a file by the folders that it lies in, of which the last that tells one counts."""
    found = [split for part in file.parts[:-1] if (split := split_word(part)) is not None]
    return found[-1] if found else None


def settled(splits: Sequence[str | None]) -> list[str | None]:
    """The splits of all images; none where some have none, or where there is none to train on."""
    return [None] * len(splits) if None in splits or "train" not in splits else list(splits)


class Folders:
    """The files below a source's root, listed once, and the images among them as annotations name them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def files(self) -> tuple[PurePosixPath, ...]:
        """Relative to the root, sorted; a name that is not UTF-8 is left out, as nothing can name it."""
        return tuple(file for file in Tree(self.root).files if is_text(file.as_posix()))

    def of_type(self, *suffixes: str) -> tuple[PurePosixPath, ...]:
        """Files with one of these endings, given in lower case with the dot."""
        return tuple(file for file in self.files if file.suffix.lower() in suffixes)

    @cached_property
    def images(self) -> tuple[PurePosixPath, ...]:
        return tuple(file for file in self.files if file.suffix.lower() in IMAGE_SUFFIXES)

    @cached_property
    def _known(self) -> frozenset[PurePosixPath]:
        return frozenset(self.files)

    @cached_property
    def _by_name(self) -> dict[str, list[PurePosixPath]]:
        found: dict[str, list[PurePosixPath]] = {}
        for file in self.images:
            found.setdefault(file.name, []).append(file)
        return found

    def has(self, file: PurePosixPath) -> bool:
        return file in self._known

    def image(self, name: str, *near: PurePosixPath) -> PurePosixPath:
        """The image that an annotation names: relative to one of the folders `near` or to the root, else the image of that name anywhere, by as many of its
        folders as are the same. Raises ValueError, with a phrase, where there is none, or several are as like."""
        words = name.replace("\\", "/")
        for folder in (*near, PurePosixPath()):
            file = PurePosixPath(posixpath.normpath((folder / words).as_posix()))
            if file in self._known:
                return file
        parts = PurePosixPath(words).parts
        candidates = self._by_name.get(parts[-1], []) if parts else []
        if not candidates:
            raise ValueError(f"names the image '{brief(name)}', which is nowhere in the folder; add the image, or remove its annotation")
        alike = [_common_end(parts, file.parts) for file in candidates]
        best = [file for file, number in zip(candidates, alike, strict=True) if number == max(alike)]
        if len(best) > 1:
            raise ValueError(f"names the image '{brief(name)}', which may be any of {name_list(best, 4)}; write its path relative to the folder")
        return best[0]


def _common_end(first: Sequence[str], second: Sequence[str]) -> int:
    """How many of the last parts of two paths are the same."""
    number = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        number += 1
    return number


def paths(files: Iterable[PurePosixPath | Path]) -> tuple[Path, ...]:
    """Sorted, without repetition."""
    return tuple(sorted({Path(file) for file in files}))
