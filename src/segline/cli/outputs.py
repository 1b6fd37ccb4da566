"""Folders that a verb writes and replaces."""

from __future__ import annotations

from pathlib import Path

from segline.errors import DataError
from segline.files import unwritable


def require_replaceable(out: Path, mark: str, what: str) -> None:
    """Raises DataError where `out` holds something else than `what`, which the file `mark` tells, or cannot be written."""
    if out.exists() and not (out / mark).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} holds something else than {what}, and would be replaced; give --out a folder that is new or empty.")
    reason = unwritable(out.parent)
    if reason is not None:
        raise DataError(f"{reason}; give --out a place of your own.")
