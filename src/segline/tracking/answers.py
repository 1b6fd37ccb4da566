"""What a local store answered, kept for as long as its database has not changed by a byte.

To import MLflow takes longer than all that `segline models` and `segline status` ask of it. So who only asks, within `kept`, asks a database of the checkout
once: the answers lie beside the hash of its content, in a file that may be deleted at any time. A server, a database that another process is writing, and
one that lies outside the checkout are asked anew each time. Size and time of a file are no proof that it is the same: a backup may have both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from segline import environment
from segline.files import write_json
from segline.provenance import digest, file_digest
from segline.tracking.address import SQLITE

VERSION = 2
"""Of the file: which questions there are, and the shape of their answers."""

_LARGEST = 256 * 2**20  # bytes; a larger database takes as long to hash as to ask
_keeper: _Keeper | None = None


def keeps(file: Path, store: str) -> bool:
    """Whether answers of this store are kept in `file`: it is a database of the same checkout."""
    return _database_beside(file, store) is not None


@contextmanager
def kept(file: Path) -> Iterator[None]:
    """For a block that only asks. file: where answers are kept, of a database that lies in the same checkout."""
    global _keeper
    before, keeper = _keeper, _Keeper(file)
    _keeper = keeper
    try:
        yield
    finally:
        _keeper = before
        keeper.close()  # of a block that failed, too: what was answered before is right


def answer(store: str, question: str, ask: Callable[[], Any]) -> Any:
    """What `ask` answers, as JSON has it; asked only where this is not known.

    store: as `store_uri` gives it. question: identifies `ask` among all questions to this store.
    """
    return ask() if _keeper is None else _keeper.answer(store, question, ask)


class _Keeper:
    """The answers of one database in one state: the first one that is asked about."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._database: Path | None = None
        self._state: dict[str, Any] | None = None
        self._answers: dict[str, Any] = {}
        self._asked = False

    def answer(self, store: str, question: str, ask: Callable[[], Any]) -> Any:
        database = _database_beside(self._file, store)
        if database is not None and self._database is None:
            self._open(database)
        if self._state is None or database != self._database:
            return ask()
        if question not in self._answers:
            self._answers[question] = ask()
            self._asked = True
        return self._answers[question]

    def close(self) -> None:
        """Keep the answers, if the database is still what it was before the first of them."""
        if self._asked and self._database is not None and _state(self._database) == self._state:
            with suppress(OSError):  # a folder that cannot be written, a full disk: asked anew next time
                write_json(self._file, {"state": self._state, "answers": self._answers, "sha256": _seal(self._state, self._answers)})

    def _open(self, database: Path) -> None:
        self._database, self._state = database, _state(database)
        with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):  # what is no such file is written anew
            found = json.loads(self._file.read_text(encoding="utf-8"))
            if found["state"] == self._state and found["sha256"] == _seal(found["state"], found["answers"]):
                self._answers = found["answers"]


def _database_beside(file: Path, store: str) -> Path | None:
    """The database file of a store, where it lies in the checkout whose answers are kept in `file`."""
    if not store.startswith(SQLITE):
        return None
    database = Path(store.removeprefix(SQLITE).split("?")[0])
    return database if database.is_relative_to(file.parents[1]) else None


def _seal(state: dict[str, Any] | None, answers: dict[str, Any]) -> str:
    """By which a file shows that it is whole and that nobody edited it."""
    return digest([state, answers])


def _state(database: Path) -> dict[str, Any] | None:
    """What the answers depend on; None while somebody writes, and where that cannot be told."""
    try:
        file = Path(os.path.realpath(database))  # SQLite's journals lie beside the file that a link means
        journals = [file.with_name(f"{file.name}-{ending}") for ending in ("journal", "wal")]
        if file.stat().st_size > _LARGEST or any(journal.exists() for journal in journals):
            return None
        return {
            "version": VERSION,
            "mlflow": metadata.version("mlflow"),
            "workspace": environment.tracking_workspace(),
            "database": str(database),
            "sha256": file_digest(file),
        }
    except (OSError, metadata.PackageNotFoundError):
        return None
