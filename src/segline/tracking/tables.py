"""What the database of a local store says, read from its tables: to import MLflow takes longer than all that `segline models` and `segline status` ask.

The tables are MLflow's own affair, and its migrations name each state of them. In the state `REVISION` they are read here, as MLflow would read them; a
database in any other, one that is divided into workspaces, a server: there `reading` gives None, and who asks must ask MLflow.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import quote

from segline import environment
from segline.errors import TrackingError
from segline.tracking.address import database, shown

REVISION = "dc11669786a5"
"""Of MLflow 3.17. A test compares what is read with what that MLflow answers."""

_PATIENCE_S = 20.0  # while another process writes
_WORKSPACE = "default"  # of all rows of a store that is not divided
_DIVIDED = "SELECT 1 FROM experiments WHERE workspace != ? UNION ALL SELECT 1 FROM registered_models WHERE workspace != ? LIMIT 1"

_PROMPT = "mlflow.prompt.is_prompt"
"""The tag of prompts of language models, and of their versions: MLflow keeps them in the same tables, and does not count them among the models."""

_NO_PROMPT = f"name NOT IN (SELECT name FROM registered_model_tags WHERE key = '{_PROMPT}' AND value = 'true')"

_VERSIONS = "SELECT version, creation_time, run_id FROM model_versions WHERE name = ? AND current_stage != 'Deleted_Internal'"

_RUNS = """
    SELECT run_uuid FROM runs JOIN experiments USING (experiment_id) JOIN tags USING (run_uuid)
    WHERE experiments.name = ? AND runs.lifecycle_stage = 'active' AND tags.key = ? AND tags.value = ?
    ORDER BY runs.start_time, run_uuid LIMIT 1
"""


@dataclass(frozen=True)
class Row:
    """One version of a registered model."""

    number: int
    created_ms: int  # since 1970, UTC
    run_id: str | None
    tags: dict[str, str]


class Tables:
    """A database in one state: what others write meanwhile is not seen."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def models(self) -> list[str]:
        """Names of the registered models, sorted."""
        return sorted(name for (name,) in self._connection.execute(f"SELECT name FROM registered_models WHERE {_NO_PROMPT}"))

    def versions(self, name: str) -> list[Row]:
        """Those of one model, in no order; none where there is no such model."""
        tags: dict[int, dict[str, str]] = {}
        for version, key, value in self._connection.execute("SELECT version, key, value FROM model_version_tags WHERE name = ?", (name,)):
            tags.setdefault(version, {})[key] = value
        found = [Row(number, created, run or None, tags.get(number, {})) for number, created, run in self._connection.execute(_VERSIONS, (name,))]
        return [row for row in found if row.tags.get(_PROMPT) != "true"]

    def aliases(self, name: str) -> dict[str, int]:
        """Which version holds an alias of a model."""
        return dict(self._connection.execute("SELECT alias, version FROM registered_model_aliases WHERE name = ?", (name,)))

    def run_id(self, experiment: str, tag: str, value: str) -> str | None:
        """The oldest run of an experiment that has a tag with this value, and was not deleted."""
        found = self._connection.execute(_RUNS, (experiment, tag, value)).fetchone()
        return None if found is None else str(found[0])


@contextmanager
def reading(store: str) -> Iterator[Tables | None]:
    """The tables of a store, as `store_uri` gives it; None where MLflow must be asked, which also says what is wrong with a store that cannot be opened.
    Raises TrackingError where a table cannot be read."""
    connection = _opened(store)
    if connection is None:
        yield None
        return
    with closing(connection):
        try:
            yield Tables(connection)
        except sqlite3.Error as error:
            raise TrackingError(f"The MLflow store {shown(store)} fails: {error}") from error


def _opened(store: str) -> sqlite3.Connection | None:
    file = database(store)
    if file is None or any(environment.tracking_workspace()):
        return None
    with suppress(sqlite3.Error, OSError):
        connection = sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=_PATIENCE_S)
        try:
            connection.execute("BEGIN")  # one state for all questions
            revisions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            if revisions == [(REVISION,)] and not connection.execute(_DIVIDED, (_WORKSPACE, _WORKSPACE)).fetchone():
                return connection
        except BaseException:
            connection.close()
            raise
        connection.close()
    return None
