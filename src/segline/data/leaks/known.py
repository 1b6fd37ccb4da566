"""`data/prepared/leaks.json`: which of the scored images were seen before. `prepare` writes it, and `evaluate` tells the score with and without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segline import written
from segline.errors import DataError

LEAKS = "leaks.json"
VERSION = 1
"""Of `leaks.json`."""


def leaked_images(prepared: Path, split: str) -> frozenset[str]:
    """Names of the prepared images of a split that an earlier split shows, too; none where nobody looked. Raises DataError."""
    file = prepared / LEAKS
    try:
        with written.reading(file, DataError, "run `dvc repro -f prepare` to write it anew"):
            values: dict[str, Any] = written.mapping(file)
            written.refuse_later(file, written.version_of(values), VERSION, DataError)
            return frozenset(str(name) for name in values["images"].get(split, ()))
    except FileNotFoundError:
        return frozenset()
