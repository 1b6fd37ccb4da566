"""Writing so that nothing half-written is ever seen: beside its place first, then moved there whole."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

_PART = ".part"
_FORGOTTEN_S = 24 * 3600.0
"""Age at which an unfinished file of another machine, whose processes cannot be asked for, has no writer any more."""


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`, for a file or a folder; moved to `target` when the block ends well, removed when it does not.

    What killed processes left of earlier attempts is removed first. Raises IsADirectoryError when a file was made and `target` is a folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target.parent)
    beside = target.with_name(f".{target.name}.{socket.gethostname()}.{os.getpid()}{_PART}")
    _remove(beside)
    try:
        yield beside
        if target.is_dir():
            if not beside.is_dir():
                raise IsADirectoryError(errno.EISDIR, "a folder is in the place of the file", str(target))
            _remove(target)  # a folder cannot be replaced in one step; its absence says that the stage is not done
        beside.replace(target)
    except OSError as error:
        if error.filename is None:
            error.filename = str(target)  # a write that fails does not say where
        raise
    finally:
        _remove(beside)


def write_json(target: Path, value: Any) -> None:
    with whole(target) as file:
        file.write_text(json.dumps(value, indent=2) + "\n")


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder as durable as the files are; where a system cannot, it does so by itself."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(folder: Path) -> str | None:
    """Why nothing can be made in a folder, or, where it is not there yet, in the nearest one above it; None where it can."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return None
    except OSError as error:
        return f"{there} cannot be written to ({error.strerror})"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@cache
def _remove_leftovers(folder: Path) -> None:
    """Once per process and folder: what killed processes left there."""
    for path in folder.glob(f".*{_PART}"):
        attempt, _, pid = path.name.removesuffix(_PART).rpartition(".")
        if pid.isdecimal():
            with suppress(OSError, OverflowError):  # another process clears up as well, or the leftover is somebody else's
                if not _being_written(path, attempt, int(pid)):
                    _remove(path)


def _being_written(path: Path, attempt: str, pid: int) -> bool:
    if os.name != "posix" or not attempt.endswith(f".{socket.gethostname()}"):  # elsewhere `os.kill` is no question
        return path.exists() and time.time() - path.stat().st_mtime < _FORGOTTEN_S
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's process
    return pid != os.getpid()
