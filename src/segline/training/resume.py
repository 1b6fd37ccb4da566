"""Where an interrupted training can go on: a folder per key, outside DVC's outputs, with a lock that names its live owner.

The lock is the operating system's, taken through filelock: it ends with the process that holds it, however that ends. Loader processes that are forked
while it is held close their copy of it at once, so that none of them holds it after their parent was killed.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from segline.errors import LockedError
from segline.files import sync_folder, whole, write_json
from segline_runtime.errors import reason

CHECKPOINT = "last.ckpt"
EARLIER = "earlier.ckpt"
DECODED = "decoded-"
"""Before the name of the machine that decoded (see `segline.training.decoded`)."""

_LOCK = "lock"
_OWNER = "owner.json"  # beside the lock: Windows lets nobody else read a locked file
_IDENTITY = "identity.json"
_VERSION = 1
_ABANDONED_S = 24 * 3600.0


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
        _remove_decoded(root, folder)
        yield folder
    finally:
        if lock.is_locked:  # not so in a forked process that leaves the block
            (folder / _OWNER).unlink(missing_ok=True)
            lock.release()


@dataclass(frozen=True)
class Begun:
    """What there is of an interrupted training."""

    checkpoint: Path | None = None  # None: start afresh
    epochs: int = 0  # that are finished
    unreadable: tuple[str, ...] = ()  # a sentence for each checkpoint that should be there and is damaged


def begun(folder: Path) -> Begun:
    """The newest checkpoint that is whole; the one before it where the newest is damaged."""
    unreadable: list[str] = []
    for file in (folder / CHECKPOINT, folder / EARLIER):
        if not file.is_file():
            continue
        try:
            return Begun(file, _finished_epochs(file), tuple(unreadable))
        except Exception as error:  # torch, zipfile and pickle have no common kind of error for a damaged file
            unreadable.append(f"The checkpoint {file} of an interrupted training cannot be read ({reason(error)}).")
    return Begun(unreadable=tuple(unreadable))


def forget_unreadable(folder: Path, found: Begun) -> None:
    """So that a damaged checkpoint is not taken for the last good one when the next is saved."""
    for file in (folder / CHECKPOINT, folder / EARLIER):
        if file == found.checkpoint:
            return
        file.unlink(missing_ok=True)


def _finished_epochs(file: Path) -> int:
    """Reads the whole file: a damaged byte is only seen by its checksum. Nothing in it is run: it holds plain values and tensors."""
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} in it is damaged")
    content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    missing = {"epoch", "state_dict", "optimizer_states", "loops", "callbacks"} - set(content)
    if missing:
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    return int(content["epoch"]) + 1


def save(value: Any, file: Path) -> None:
    """`torch.save`, on the disk when it returns. A full disk raises OSError; torch itself would raise a RuntimeError that says nothing of disks."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with file.open("wb") as stream:
        stream.write(buffer.getbuffer())
        stream.flush()
        os.fsync(stream.fileno())


def save_checkpoint(content: dict[str, Any], newest: Path) -> None:
    """Beside its place first, keeping the one before it as `earlier.ckpt`: one that is whole is there at any time."""
    earlier = newest.with_name(EARLIER)
    if newest.is_file():
        earlier.unlink(missing_ok=True)  # first, so that no more than two ever need room
    with whole(newest) as beside:
        save(content, beside)
        if newest.is_file():
            newest.replace(earlier)
    sync_folder(newest.parent)


def tell_start(root: Path, model: str, key: str, parts: Mapping[str, str], begun: Begun) -> None:
    """Say on stderr where a training goes on, or why it begins afresh although one was interrupted."""
    sentences = list(begun.unreadable)
    if begun.checkpoint:
        sentences.append(f"'{model}' goes on after epoch {begun.epochs}, where its training was interrupted.")
    elif begun.unreadable:
        sentences.append(f"'{model}' is trained afresh.")
    elif reason := why_afresh(root, model, key, parts):
        sentences.append(reason)
    for sentence in sentences:
        print(sentence, file=sys.stderr, flush=True)


def why_afresh(root: Path, model: str, key: str, parts: Mapping[str, str]) -> str | None:
    """A sentence when another interrupted training of this model lies there that cannot be continued; it says what differs."""
    mine = folder_of(root, model, key)
    found = [*root.glob(f"{model}-*/{CHECKPOINT}"), *root.glob(f"{model}-*/{EARLIER}")]
    others = [file for file in found if file.parent != mine and file.parent.name.rpartition("-")[0] == model]
    if not others:
        return None
    latest = max(others, key=lambda file: file.stat().st_mtime)
    return f"An interrupted training of '{model}' is not continued, because {_difference(latest.parent / _IDENTITY, parts)}; starting afresh."


def discard(folder: Path) -> None:
    """The training is done and its outputs are written: nothing is left to resume."""
    for file in (folder / EARLIER, folder / CHECKPOINT):
        file.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)  # Windows keeps open files, such as the lock; without a checkpoint they mean nothing


def _remove_decoded(root: Path, mine: Path) -> None:
    """What other trainings left that were killed and are not taken up again; one that still runs reads on, or decodes anew."""
    for file in root.glob(f"*/{DECODED}*"):
        with suppress(OSError):
            if file.parent != mine and time.time() - file.stat().st_mtime > _ABANDONED_S:
                file.unlink()


def _difference(identity: Path, parts: Mapping[str, str]) -> str:
    try:
        then = json.loads(identity.read_text()) if identity.is_file() else {}
        if then.get("version") != _VERSION:
            return "another version of Segline began it"
        differing = [part for part, value in parts.items() if then["parts"].get(part) != value]
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return f"what it was made of ({identity}) cannot be read"
    return f"its {' and '.join(differing)} differ" if differing else "its key differs"


def _owner(file: Path) -> str:
    try:
        owner = json.loads(file.read_text())
        return f"by process {owner['pid']} on {owner['host']}, since {owner['since']}. Wait for it, or stop it (`kill {owner['pid']}`) and run again"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "by another process that is just starting; wait for it or stop it"
