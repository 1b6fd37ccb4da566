"""Where an interrupted training can go on: a folder per key, outside DVC's outputs, with a lock that names its live owner.

The lock is the operating system's (`lockf`): it ends with the process that holds it, however that ends, and is not passed on to loader processes.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import torch

from segline.errors import LockedError
from segline.files import write_json
from segline.provenance import Provenance

CHECKPOINT = "last.ckpt"
_OWNER = "owner.lock"
_PROVENANCE = "provenance.json"


def folder_of(root: Path, model: str, provenance: Provenance) -> Path:
    """Where the resumable checkpoint of this training lies."""
    return root / f"{model}-{provenance.key}"


@contextmanager
def claimed(root: Path, model: str, provenance: Provenance) -> Iterator[Path]:
    """The resume folder of (model, provenance), held against other trainers while the block runs.

    Raises LockedError, naming the process that trains the same thing.
    """
    folder = folder_of(root, model, provenance)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _OWNER).open("a+") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise LockedError(f"The model '{model}' is already being trained with these parameters, data and code {_owner(lock.read())}.") from None
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now().astimezone().isoformat(timespec="seconds")}))
        lock.flush()
        write_json(folder / _PROVENANCE, asdict(provenance))
        yield folder


def checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from, if the training was interrupted."""
    file = folder / CHECKPOINT
    return file if file.is_file() else None


def finished_epochs(checkpoint: Path | None) -> int:
    """How many epochs a checkpoint has behind it."""
    return 0 if checkpoint is None else int(torch.load(checkpoint, map_location="cpu", weights_only=False, mmap=True)["epoch"]) + 1


def why_afresh(root: Path, model: str, provenance: Provenance) -> str | None:
    """A sentence when another interrupted training of this model lies there that cannot be continued; it says what differs."""
    others = [file for file in root.glob(f"{model}-*/{CHECKPOINT}") if not file.parent.name.endswith(provenance.key)]
    if not others:
        return None
    latest = max(others, key=lambda file: file.stat().st_mtime)
    then = Provenance(**json.loads((latest.parent / _PROVENANCE).read_text()))
    return f"An interrupted training of '{model}' is not continued, because its {' and '.join(provenance.differences(then))} differ; starting afresh."


def discard(folder: Path) -> None:
    """The training is done and its outputs are written: nothing is left to resume."""
    shutil.rmtree(folder)


def _owner(text: str) -> str:
    try:
        owner = json.loads(text)
    except ValueError:
        return "by another process that is just starting; wait for it or stop it"
    return f"by process {owner['pid']} on {owner['host']}, since {owner['since']}. Wait for it, or stop it (`kill {owner['pid']}`) and run again"
