"""A folder whose format is found out each time it is read; `segline init` finds it out once, and writes it down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import PrivateAttr

from segline.data.formats import catalog
from segline.data.formats.base import Format, Sighting, SourceData
from segline.data.formats.recognition import recognised
from segline.data.reading.tree import Tree
from segline.data.sources import Folder


class Settings(Folder):
    """A folder whose format is found out, and with it the keys by which it is read."""

    format: Literal["auto"] = "auto"
    _model: tuple[str, ...] = PrivateAttr(())

    def for_model(self, names: Sequence[str]) -> Self:
        known = self.model_copy()
        known._model = tuple(names)
        return known


class Auto:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        reader, found = _found(root, settings)
        return reader.files(root, found)

    def read(self, root: Path, settings: Settings) -> SourceData:
        reader, found = _found(root, settings)
        return reader.read(root, found)

    def recognise(self, tree: Tree) -> Sighting | None:  # noqa: ARG002
        return None  # it asks the others


FORMAT = Auto()


def _found(root: Path, settings: Settings) -> tuple[Format[Any], Folder]:
    """The format that is surest, and its settings with the keys that every folder has. Raises DataError where none is."""
    best, _ = recognised(Tree(root))
    given = {key: getattr(settings, key) for key in Folder.model_fields if key not in ("source", "format")}
    found = best.settings(root, **given)
    return catalog.get(best.word).FORMAT, found.for_model(settings._model) if settings._model else found
