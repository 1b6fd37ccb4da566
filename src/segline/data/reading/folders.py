"""Where within a folder a data set begins: archives unpack into folders of their own, and people name the one around it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from segline.data.check import name_list
from segline.data.reading.tree import Tree
from segline.errors import DataError

_DEEPEST = 2
"""Folders that may lie around the data set."""


def base_of(root: Path, *names: str) -> Path:
    """The folder, relative to `root`, that holds folders of all these names: the root, or one up to two levels below it.

    Raises DataError where there are several on one level; the root itself where there is none.
    """
    level = [root]
    for _ in range(_DEEPEST + 1):
        found = [folder for folder in level if all((folder / name).is_dir() for name in names)]
        if len(found) > 1:
            places = name_list(sorted(folder.relative_to(root).as_posix() for folder in found))
            raise DataError(f"{root} holds several data sets of one layout ({places}); name one of these folders in data.source.")
        if found:
            return found[0].relative_to(root)
        level = [inner for folder in level for inner in _folders(folder)]
    return Path()


def base_in(tree: Tree, *names: str) -> PurePosixPath | None:
    """As `base_of`, as far as one can be seen: None where there is none, or several."""
    folders = set(tree.folders)
    found = [base for base in (PurePosixPath(), *tree.folders) if len(base.parts) <= _DEEPEST and all(base / name in folders for name in names)]
    shallowest = [base for base in found if len(base.parts) == min(len(other.parts) for other in found)]
    return shallowest[0] if len(shallowest) == 1 else None


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(inner for inner in folder.iterdir() if inner.is_dir() and not inner.name.startswith("."))
    except OSError:
        return []
