"""Writing so that nothing half-written is ever seen: beside its place first, then moved there whole."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`, for a file or a folder; moved to `target` when the block ends well, removed when it does not.

    Raises IsADirectoryError when a file was made and `target` is a folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    _remove(beside)
    try:
        yield beside
        if target.is_dir():
            if not beside.is_dir():
                raise IsADirectoryError(errno.EISDIR, "a folder is in the place of the file", str(target))
            _remove(target)  # a folder cannot be replaced in one step; its absence says that the stage is not done
        beside.replace(target)
    finally:
        _remove(beside)


def write_json(target: Path, value: Any) -> None:
    with whole(target) as file:
        file.write_text(json.dumps(value, indent=2) + "\n")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
