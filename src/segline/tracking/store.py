"""The MLflow store: how it is made and reached within a time limit, and which experiment and run belong to a model.

MLflow is imported inside functions: the import takes seconds, and most commands do not need it.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from filelock import FileLock, Timeout

from segline import forks
from segline.errors import FULL, TrackingError
from segline.files import whole
from segline.tracking import tables
from segline.tracking.address import SQLITE, database, redacted, shown
from segline.tracking.patience import within

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KEY_TAG = "segline.key"
ARTIFACTS = "mlartifacts"
"""Folder of artifacts beside an SQLite store, as in `Checkout.default_artifacts`."""

TIMEOUT_S = 20.0
_LOCK_S = 120.0  # the tables take some seconds, on a busy machine a minute; a process that is killed lets go at once
_clients: dict[str, MlflowClient] | None = None
_import_less: Callable[[], None] | None = None
_UNREACHABLE = re.compile(r"timeout|timed out|failed with exception|Max retries|Connection", re.IGNORECASE)


def connect(store: str, *, timeout_s: float = TIMEOUT_S) -> MlflowClient:
    """A client of the store, checked by one call; MLflow's global tracking and registry addresses point there too.

    store: as `store_uri` gives it. timeout_s: how long one call to a server may take, in seconds, its one retry included.
    Raises TrackingError when the store refuses, does not answer in time, or is none, or when MLflow is not installed.
    """
    if _clients is None:
        return _connect(store, timeout_s)
    if store not in _clients:
        _clients[store] = _connect(store, timeout_s)
    return _clients[store]


@contextmanager
def one_client(import_less: Callable[[], None] | None = None) -> Iterator[None]:
    """In the block, which is short and only asks, all who connect to a store share one client, which was checked once.

    import_less: imports MLflow in another way, if it is imported at all.
    """
    global _clients, _import_less
    before, _clients, _import_less = (_clients, _import_less), {}, import_less
    try:
        yield
    finally:
        _clients, _import_less = before


def _connect(store: str, timeout_s: float) -> MlflowClient:
    mlflow = load_mlflow()
    # MLflow's own 7 retries with growing pauses make one refused call take minutes. MLflow reads these at each call; they hold for this process
    # and its children.
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
    os.environ["MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"] = "1"
    os.environ["MLFLOW_HTTP_REQUEST_BACKOFF_JITTER"] = "0"
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(max(1, int(timeout_s / 2)))
    _point_globals_at(store)

    def reach() -> MlflowClient:
        client: MlflowClient = mlflow.MlflowClient(tracking_uri=store, registry_uri=store)
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
        return client

    with told(store):
        file = database(store)
        if file is None:
            return within(timeout_s, reach, shown(store))
        with forks.held_off():
            _import_local_store()
        with creation_lock(store):
            _make_database(file)
            try:
                return reach()
            except Exception:
                _refuse_half_made(file)
                raise


def _import_local_store() -> None:
    """Else the first question imports it, half as much again as MLflow itself."""
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def experiment_id(client: MlflowClient, dataset: str) -> str:
    """The MLflow experiment of a data set, made when it is not there.

    In an SQLite store its artifacts go to `mlartifacts/<dataset>` beside the database. MLflow keeps that as an absolute path, in the experiment and in
    every run, so a store that was moved is refused. Servers choose their own place.

    Raises TrackingError when the experiment was deleted or its artifacts' place is gone.
    """
    store = str(client.tracking_uri)
    file = database(store)
    location = None if file is None else (file.resolve().parent / ARTIFACTS / dataset).as_uri()
    with told(store), creation_lock(store):
        experiment = client.get_experiment_by_name(dataset)
        if experiment is None:
            try:
                return str(client.create_experiment(dataset, artifact_location=location))
            except Exception as error:
                if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
                    raise
                experiment = client.get_experiment_by_name(dataset)  # another machine was faster
                assert experiment is not None
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"The MLflow experiment '{dataset}' in {shown(store)} was deleted. Restore it with "
            f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`, or remove it for good with `mlflow gc`."
        )
    place = urlsplit(experiment.artifact_location)
    if location not in (None, experiment.artifact_location) and place.scheme in ("", "file") and not Path(url2pathname(place.path)).parent.exists():
        raise TrackingError(
            f"The tracking store {shown(store)} keeps its artifacts in {experiment.artifact_location}, which is gone: the checkout has moved. "
            f"Move it back, or delete mlflow.db and {ARTIFACTS} and run `segline sync`, which builds all runs anew from the model folders."
        )
    return str(experiment.experiment_id)


def run_id(store: str, key: str, dataset: str) -> str | None:
    """The run of a trained model, by its key (`card.key`) and data set name (`card.dataset["name"]`); None when the store lacks it. Raises TrackingError."""
    with tables.reading(store) as read:
        if read is not None:
            return read.run_id(dataset, KEY_TAG, key)
    run = find_run(connect(store), key, dataset)
    return None if run is None else str(run.info.run_id)


def find_run(client: MlflowClient, key: str, dataset: str) -> Run | None:
    """As `run_id`, the run itself. Where two processes made a run for one key at once, the oldest active one counts, for everybody."""
    with told(str(client.tracking_uri)):
        experiment = client.get_experiment_by_name(dataset)
        if experiment is None:
            return None
        runs = list(client.search_runs([experiment.experiment_id], f"tags.`{KEY_TAG}` = '{key}'"))
    return min(runs, key=lambda run: (run.info.start_time, run.info.run_id), default=None)


def load_mlflow() -> Any:
    """The module mlflow, without its telemetry. Raises TrackingError when it is not installed."""
    global _import_less
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when mlflow is imported: it would call home from a thread
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # with the password, if there is one
    import_less, _import_less = _import_less, None
    if import_less is not None:
        import_less()
    with forks.held_off():
        try:
            import mlflow
        except ImportError as error:
            raise TrackingError(f"MLflow cannot be imported ({error}); install it with `make setup`, then run `segline sync`.") from None
    for name in ("alembic", "mlflow.store.db.utils"):  # tables and migrations of a new database
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it tells of each retry, with the whole address
    return mlflow


@contextmanager
def told(store: str) -> Iterator[None]:
    """Turn what MLflow and its libraries raise when a store fails into TrackingError."""
    import requests
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, requests.RequestException, sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, ImportError, OSError) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        reason = redacted(str(error).strip().split("\n")[0], store)[:300]
        if store.startswith("http") and _UNREACHABLE.search(reason):
            raise TrackingError(f"The MLflow server {shown(store)} cannot be reached or does not answer. Check MLFLOW_TRACKING_URI and the server.") from error
        raise TrackingError(f"The MLflow store {shown(store)} fails: {reason}") from error


@contextmanager
def creation_lock(store: str) -> Iterator[None]:
    """One process and thread at a time makes the tables, the experiment or a run of an SQLite store; other stores serve themselves."""
    file = database(store)
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(file.parent, os.W_OK):
        yield  # who may not write there makes nothing
        return
    lock = FileLock(file.with_name(f"{file.name}.lock"))
    try:
        lock.acquire(timeout=_LOCK_S)
    except Timeout:
        raise TrackingError(f"Another process has been making {file} for {_LOCK_S:.0f} s; try again when it has ended.") from None
    try:
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink()  # while it is held, so that nobody holds another file of that name; on Windows, `release` does it
        lock.release()


def _make_database(file: Path) -> None:
    """Make the tables of a new store beside its place, where a process that is killed leaves nothing that anybody takes for a store."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if file.exists() and file.stat().st_size:
        _open(file, file)
        return
    for left in file.parent.glob(f".{file.name}.*.part*"):  # by a killed process, with its journal
        left.unlink()
    with whole(file) as beside:
        _open(beside, file)
        made = SqlAlchemyStore(f"{SQLITE}{beside}", (file.parent / ARTIFACTS).as_uri())  # type: ignore[no-untyped-call]
        made.engine.dispose()


def _open(file: Path, store: Path) -> None:
    # MLflow tries ten times, over 100 s, to open a file that is no database.
    try:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.DatabaseError as error:
        raise TrackingError(
            f"The tracking store {store} cannot be opened ({error}). Check its permissions; if it is damaged, delete it and run `segline sync`."
        ) from None


def _refuse_half_made(file: Path) -> None:
    """Raises TrackingError where the making of the tables was cut off: then no experiment is there yet, not even MLflow's own one."""
    with closing(sqlite3.connect(file)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        there = tables & {"experiments", "_alembic_tmp_experiments"}
        if there and not any(connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() for name in there):
            raise TrackingError(
                f"The tracking store {file} is half-made: whoever made its tables was cut off. It holds no run; delete it and run the same command again."
            )


def _point_globals_at(store: str) -> None:
    # MLflow also writes the address into the environment, where `store_uri` would take it for the user's wish from then on.
    import mlflow

    before = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    mlflow.set_tracking_uri(store)
    mlflow.set_registry_uri(store)
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
