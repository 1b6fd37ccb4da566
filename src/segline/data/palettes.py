"""Masks of a source whose palettes differ: an index that has one colour here and another there may mean two classes, and no single mask shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from segline.data.findings import Finding
from segline_runtime.errors import InputError
from segline_runtime.images import UNNAMED, decoding, open_picture

_SHOWN = 3
"""Files that a sentence names."""

Colour = tuple[int, int, int]


def confusions(root: Path, files: Iterable[Path]) -> list[Finding]:
    """A finding for each index that has several colours in palette PNGs. `files`: those of the source that are no images, relative to the root.

    Palettes stand in the files' heads; pixels are decoded only where palettes differ, as an index that no pixel has may have any colour.
    """
    palettes = {file: palette for file in files if file.suffix.lower() == ".png" and (palette := _palette(root / file)) is not None}
    if len(set(palettes.values())) < 2:
        return []
    colours: dict[int, dict[Colour, list[str]]] = {}
    for file, palette in palettes.items():
        for index in _used(root / file):
            if index < len(palette):
                colours.setdefault(index, {}).setdefault(palette[index], []).append(file.as_posix())
    return [_finding(index, found) for index, found in sorted(colours.items()) if len(found) > 1]


def _finding(index: int, found: dict[Colour, list[str]]) -> Finding:
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    (usual, many), (odd, few) = ordered[0], ordered[-1]
    names = ", ".join(few[:_SHOWN]) + (", …" if len(few) > _SHOWN else "")
    sentence = f"The index {index} is {_hex(usual)} in {len(many)} masks, and {_hex(odd)} in {len(few)} ({names}): it may mean another class there."
    return Finding("palette", few[0], sentence, f"index {index}")


def _palette(file: Path) -> tuple[Colour, ...] | None:
    """None for what is no palette picture, or cannot be read: that is told when the truth is."""
    try:
        with decoding(UNNAMED), open_picture(file.read_bytes()) as picture:
            values: Sequence[int] = (picture.getpalette("RGB") or ()) if picture.mode == "P" else ()
    except (InputError, OSError):
        return None
    return tuple((values[i], values[i + 1], values[i + 2]) for i in range(0, len(values) - 2, 3)) or None


def _used(file: Path) -> list[int]:
    """Indices that some pixel has."""
    try:
        with decoding(UNNAMED), open_picture(file.read_bytes()) as picture:
            return [int(index) for index in np.unique(np.asarray(picture))]
    except (InputError, OSError):
        return []


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
