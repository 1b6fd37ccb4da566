"""Where an interrupted training can go on: a folder per key, outside DVC's outputs, with a lock that names its live owner.

The lock is the operating system's, taken through filelock: it ends with the process that holds it, however that ends. Loader processes that are forked
while it is held close their copy of it at once, so that none of them holds it after their parent was killed.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from segline.errors import LockedError
from segline.files import write_json

CHECKPOINT = "last.ckpt"
_LOCK = "lock"
_OWNER = "owner.json"  # beside the lock: Windows lets nobody else read a locked file
_IDENTITY = "identity.json"
_VERSION = 1


def folder_of(root: Path, model: str, key: str) -> Path:
    """Where the resumable checkpoint of this training lies."""
    return root / f"{model}-{key}"


@contextmanager
def claimed(root: Path, model: str, key: str, parts: Mapping[str, str]) -> Iterator[Path]:
    """The resume folder of (model, key), held against other trainers while the block runs.

    key: stands for everything that makes two trainings the same; no hyphens. parts: hashes of what it is made of, by the word that people know it by
    (settings, data, code): `why_afresh` compares them.
    Raises LockedError, naming the process that trains the same thing.
    """
    folder = folder_of(root, model, key)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LockedError(f"The model '{model}' is already being trained with these parameters, data and code {_owner(folder / _OWNER)}.") from None
    try:
        write_json(
            folder / _OWNER,
            {"version": _VERSION, "pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now().astimezone().isoformat(timespec="seconds")},
        )
        write_json(folder / _IDENTITY, {"version": _VERSION, "key": key, "parts": dict(parts)})
        yield folder
    finally:
        if lock.is_locked:  # not so in a forked process that leaves the block
            (folder / _OWNER).unlink(missing_ok=True)
            lock.release()


def checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from, if the training was interrupted."""
    file = folder / CHECKPOINT
    return file if file.is_file() else None


def finished_epochs(checkpoint: Path | None) -> int:
    """How many epochs a checkpoint has behind it."""
    return 0 if checkpoint is None else int(torch.load(checkpoint, map_location="cpu", weights_only=False, mmap=True)["epoch"]) + 1


def why_afresh(root: Path, model: str, key: str, parts: Mapping[str, str]) -> str | None:
    """A sentence when another interrupted training of this model lies there that cannot be continued; it says what differs."""
    mine = folder_of(root, model, key)
    others = [file for file in root.glob(f"{model}-*/{CHECKPOINT}") if file.parent != mine and file.parent.name.rpartition("-")[0] == model]
    if not others:
        return None
    latest = max(others, key=lambda file: file.stat().st_mtime)
    return f"An interrupted training of '{model}' is not continued, because {_difference(latest.parent / _IDENTITY, parts)}; starting afresh."


def discard(folder: Path) -> None:
    """The training is done and its outputs are written: nothing is left to resume."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)  # Windows keeps open files, such as the lock; without a checkpoint they mean nothing


def _difference(identity: Path, parts: Mapping[str, str]) -> str:
    then = json.loads(identity.read_text()) if identity.is_file() else {}
    if then.get("version") != _VERSION:
        return "another version of Segline began it"
    differing = [part for part, value in parts.items() if then["parts"].get(part) != value]
    return f"its {' and '.join(differing)} differ"


def _owner(file: Path) -> str:
    try:
        owner = json.loads(file.read_text())
    except (OSError, ValueError):
        return "by another process that is just starting; wait for it or stop it"
    return f"by process {owner['pid']} on {owner['host']}, since {owner['since']}. Wait for it, or stop it (`kill {owner['pid']}`) and run again"
