"""What is read from a local store's tables is what MLflow says of it, and where that is not sure, MLflow is asked."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from model_parts import fresh_store, model_folder

from segline import registry, tracking
from segline.errors import TrackingError
from segline.layout import Checkout
from segline.status import compare, model_folders
from segline.tracking import tables
from segline.tracking.store import one_client

NAME = "ramps-unet"
PROGRAM = """
import sys
sys.modules["mlflow"] = None
from pathlib import Path
from segline.layout import Checkout
from segline.status import compare, model_folders
checkout = Checkout(Path(sys.argv[1]))
print(compare(store=checkout.default_store, folders=model_folders(checkout.models)))
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with a registered model."""
    checkout = Checkout(tmp_path_factory.mktemp("tables") / "original")
    registry.register(store=fresh_store(checkout.root), folder=model_folder(checkout.models / "unet"))
    return checkout


@pytest.fixture
def checkout(original: Checkout, tmp_path: Path) -> Checkout:
    """A copy of it; the files of its versions stay with the original."""
    shutil.copytree(original.root, tmp_path / "check out", ignore=shutil.ignore_patterns("mlartifacts"))
    return Checkout(tmp_path / "check out")


def told(checkout: Checkout) -> tuple[Any, ...]:
    """All that `segline models` and `segline status` say of the store."""
    store = checkout.default_store
    names = registry.names(store=store)
    shown = {name: registry.versions(store=store, name=name) for name in (*names, NAME, "prompt", "no such model")}
    return names, shown, compare(store=store, folders=model_folders(checkout.models))


def by_mlflow(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """The same, asked of MLflow."""
    with monkeypatch.context() as patch, one_client():
        patch.setattr(tables, "REVISION", "of no MLflow")
        return told(checkout)


def change(checkout: Checkout, statement: str) -> None:
    with closing(sqlite3.connect(checkout.root / "mlflow.db")) as connection, connection:
        connection.execute(statement)


def test_they_are_read_in_the_state_that_the_installed_mlflow_makes(checkout: Checkout) -> None:
    with closing(sqlite3.connect(checkout.root / "mlflow.db")) as connection:
        made = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    assert made == [(tables.REVISION,)], "another MLflow: look whether these tables have changed, then write its revision"
    with tables.reading(checkout.default_store) as read:
        assert read is not None


def test_after_each_kind_of_change_they_say_what_mlflow_says(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    client = tracking.connect(checkout.default_store)
    first = client.get_model_version(NAME, "1")
    run = client.get_run(str(first.run_id))
    experiment = client.get_experiment(run.info.experiment_id)
    key = {"segline.key": run.data.tags["segline.key"]}
    changes: dict[str, Any] = {
        "an alias is given": lambda: client.set_registered_model_alias(NAME, "staging", "1"),
        "a version is registered": lambda: client.create_model_version(NAME, first.source, run_id=run.info.run_id),
        "a version is of no run": lambda: client.create_model_version(NAME, first.source),
        "an alias moves": lambda: client.set_registered_model_alias(NAME, "candidate", "2"),
        "an alias is taken back": lambda: client.delete_registered_model_alias(NAME, "staging"),
        "a tag is set": lambda: client.set_model_version_tag(NAME, "1", "segline.latency_ms", "7"),
        "a tag is deleted": lambda: client.delete_model_version_tag(NAME, "1", "segline.parity"),
        "a version is deleted": lambda: client.delete_model_version(NAME, "3"),
        "another model is made": lambda: client.create_registered_model("other"),
        "an earlier run of the same key": lambda: client.create_run(experiment.experiment_id, start_time=5, tags=key),
        "the run is deleted": lambda: client.delete_run(run.info.run_id),
        "the experiment is deleted": lambda: client.delete_experiment(experiment.experiment_id),
        "the model is deleted": lambda: client.delete_registered_model(NAME),
    }
    before = told(checkout)
    for what, make in changes.items():
        make()
        now = told(checkout)
        assert now == by_mlflow(checkout, monkeypatch), what
        assert (now == before) == (what in {"an earlier run of the same key", "the run is deleted"}), what
        before = now
    client.register_prompt("prompt", "Count the cells.")
    now = told(checkout)
    assert now == before == by_mlflow(checkout, monkeypatch), "it is no model"


def test_the_oldest_run_of_a_key_counts(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    client, store = tracking.connect(checkout.default_store), checkout.default_store
    experiment = tracking.experiment_id(client, "ramps")
    for start in (30, 10, 20):
        made = client.create_run(experiment, start_time=start, tags={"segline.key": "twice"})
        if start == 10:
            oldest = made.info.run_id
    assert tracking.run_id(store, "twice", "ramps") == oldest
    monkeypatch.setattr(tables, "REVISION", "of no MLflow")
    assert tracking.run_id(store, "twice", "ramps") == oldest
    assert tracking.run_id(store, "never", "ramps") is tracking.run_id(store, "twice", "no such data") is None


def test_they_need_no_mlflow(checkout: Checkout) -> None:
    surroundings = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-c", PROGRAM, str(checkout.root)]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(compare(store=checkout.default_store, folders=model_folders(checkout.models))), done.stderr
    change(checkout, "UPDATE alembic_version SET version_num = 'another'")
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert "MLflow cannot be imported" in done.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE alembic_version SET version_num = 'another'",
        "INSERT INTO alembic_version VALUES ('another')",
        "DROP TABLE alembic_version",
        "INSERT INTO registered_models (name, workspace) VALUES ('m', 'theirs')",
        "UPDATE experiments SET workspace = 'theirs'",
    ],
)
def test_a_store_in_another_state_is_left_to_mlflow(checkout: Checkout, statement: str) -> None:
    change(checkout, statement)
    with tables.reading(checkout.default_store) as read:
        assert read is None


def test_other_stores_are_left_to_mlflow(checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.db").write_text("no database, though it is longer than the sixteen bytes by which one begins")
    (tmp_path / "empty.db").touch()
    (tmp_path / "folder.db").mkdir()
    for store in ("http://127.0.0.1:9", *(f"sqlite:///{tmp_path}/{name}.db" for name in ("none", "text", "empty", "folder"))):
        with tables.reading(store) as read:
            assert read is None, store
    assert not (tmp_path / "none.db").exists()
    monkeypatch.setenv("MLFLOW_WORKSPACE", "theirs")
    with tables.reading(checkout.default_store) as read:
        assert read is None


def test_the_name_of_a_file_is_no_address(checkout: Checkout) -> None:
    (checkout.root / "mlflow.db").rename(checkout.root / "50%41 #1.db")
    with tables.reading(f"sqlite:///{checkout.root}/50%41 #1.db?timeout=5") as read:
        assert read is not None and read.models() == [NAME]


def test_while_somebody_writes_they_are_in_one_state(checkout: Checkout) -> None:
    client = tracking.connect(checkout.default_store)
    change(checkout, "PRAGMA journal_mode = WAL")
    with tables.reading(checkout.default_store) as read:
        assert read is not None
        client.create_registered_model("made meanwhile")
        assert read.models() == [NAME]
    assert registry.names(store=checkout.default_store) == ["made meanwhile", NAME]


def test_a_damaged_database_is_told_in_a_sentence(checkout: Checkout) -> None:
    database = checkout.root / "mlflow.db"
    content = bytearray(database.read_bytes())
    with closing(sqlite3.connect(database)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'model_versions'").fetchone()
    content[(page - 1) * size : page * size] = b"\xff" * size
    database.write_bytes(content)
    with pytest.raises(TrackingError, match="fails: database disk image is malformed"):
        registry.versions(store=checkout.default_store, name=NAME)
