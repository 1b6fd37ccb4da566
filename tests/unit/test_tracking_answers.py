"""What a store answered is known as long as its database is the same, and not a byte longer."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import pytest
from model_parts import fresh_store, model_folder

from segline import registry, tracking
from segline.card import ModelCard
from segline.errors import TrackingError
from segline.layout import Checkout
from segline.status import ask_ahead, compare, model_folders
from segline.tracking.answers import VERSION, answer, keeps, kept

WITHOUT_MLFLOW = """
import sys
sys.modules["mlflow"] = None
from pathlib import Path
from segline.layout import Checkout
from segline.status import compare, model_folders
from segline.tracking.quick import quick
checkout = Checkout(Path(sys.argv[1]))
with quick(checkout.answers):
    print(compare(store=checkout.default_store, folders=model_folders(checkout.models)))
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "checkout" / "mlflow.db"
    file.parent.mkdir()
    write(file, "CREATE TABLE runs (name TEXT)")
    return file


class Writer(threading.Thread):
    """Counts up in a database, in commits of many pages. Whoever asks is told no less than was `committed` before, and no more than was `begun` after."""

    def __init__(self, database: Path) -> None:
        super().__init__()
        self.begun = self.committed = 0
        self._database = database
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.005 * (self.begun % 4)):
            with closing(sqlite3.connect(self._database, timeout=20)) as connection, connection:
                self.begun += 1
                connection.execute("UPDATE runs SET name = ?", (self.begun,))
                connection.execute("UPDATE pages SET content = randomblob(3000)")
                connection.commit()
            self.committed = self.begun

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with a registered model."""
    checkout = Checkout(tmp_path_factory.mktemp("answers") / "original")
    registry.register(store=fresh_store(checkout.root), folder=model_folder(checkout.models / "unet"))
    return checkout


@pytest.fixture
def checkout(original: Checkout, tmp_path: Path) -> Checkout:
    """A copy of it; the files of its versions stay with the original."""
    shutil.copytree(original.root, tmp_path / "checkout", ignore=shutil.ignore_patterns("mlartifacts"))
    return Checkout(tmp_path / "checkout")


def write(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


def asked(database: Path, question: str = "how many?", value: object = 7) -> bool:
    """Whether this question reached the store."""
    heard: list[str] = []

    def ask() -> object:
        heard.append(question)
        return value

    with kept(database.parent / ".segline" / "answers.json"):
        assert answer(f"sqlite:///{database}", question, ask) == value
        assert answer(f"sqlite:///{database}", question, ask) == value
    assert len(heard) <= 1, "within a block nothing is asked twice"
    return bool(heard)


def test_a_question_is_asked_once_until_the_database_changes(database: Path) -> None:
    assert asked(database)
    assert not asked(database)
    assert asked(database, "how large?", None)
    assert not asked(database, "how large?", None)
    write(database, "INSERT INTO runs VALUES ('a')")
    assert asked(database)
    write(database, "UPDATE runs SET name = 'b'")  # no longer, no shorter
    assert asked(database)
    assert not asked(database)


def test_a_block_that_fails_keeps_what_was_answered_before(database: Path) -> None:
    def fails() -> None:
        raise TrackingError("it fails")

    def ask_both() -> None:
        with kept(database.parent / ".segline" / "answers.json"):
            answer(f"sqlite:///{database}", "how many?", lambda: 7)
            answer(f"sqlite:///{database}", "how large?", fails)

    for _ in range(2):
        with pytest.raises(TrackingError, match="it fails"):
            ask_both()
    assert not asked(database)
    assert asked(database, "how large?")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": {}, "answers": {}}', "[" * 100_000])
def test_a_file_that_holds_no_answers_is_written_anew(database: Path, content: str) -> None:
    asked(database)
    (database.parent / ".segline" / "answers.json").write_text(content)
    assert asked(database)
    assert not asked(database)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_no_answer_is_older_than_what_was_committed_before_it_was_asked_for(database: Path, journal: str) -> None:
    write(database, "INSERT INTO runs VALUES (0)")
    write(database, "CREATE TABLE pages AS WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n WHERE i < 60) SELECT i, NULL AS content FROM n")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
    store, heard, known = f"sqlite:///{database}", 0, 0

    def ask() -> int:
        nonlocal heard
        heard += 1
        with closing(sqlite3.connect(database, timeout=20)) as connection:
            return int(connection.execute("SELECT name FROM runs").fetchone()[0])

    with Writer(database) as writer:
        end = time.monotonic() + 60
        while writer.committed < 30 or (journal == "delete" and known < 3):  # while a log lies beside it, nothing is known
            assert time.monotonic() < end
            least, before = writer.committed, heard
            with kept(database.parent / ".segline" / "answers.json"):
                found = answer(store, "how many?", ask)
            assert least <= found <= writer.begun
            known += heard == before


@pytest.mark.parametrize("damage", ["an answer", "a later version", "half of it", "no seal"])
def test_a_file_that_was_edited_or_cut_off_is_written_anew(database: Path, damage: str) -> None:
    asked(database)
    file = database.parent / ".segline" / "answers.json"
    found = json.loads(file.read_text())
    if damage == "an answer":
        found["answers"]["how many?"] = 8
    elif damage == "a later version":
        found["state"]["version"] += 1
    elif damage == "no seal":
        del found["sha256"]
    file.write_text(json.dumps(found)[: 60 if damage == "half of it" else None])
    assert asked(database)
    assert not asked(database)


@pytest.mark.parametrize("in_the_way", [".segline", ".segline/answers.json/"])
def test_where_nothing_can_be_kept_each_question_is_asked_without_a_word(database: Path, in_the_way: str, capfd: pytest.CaptureFixture[str]) -> None:
    place = database.parent / in_the_way
    if in_the_way.endswith("/"):
        place.mkdir(parents=True)
    else:
        place.touch()  # no folder can be made there, not even by root, whom no permissions stop
    assert asked(database)
    assert asked(database)
    assert capfd.readouterr() == ("", "")


def test_a_workspace_of_the_store_has_answers_of_its_own(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(database)
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    monkeypatch.setenv("MLFLOW_WORKSPACE", "theirs")
    assert asked(database, value=3)


def test_the_journal_of_a_linked_database_lies_beside_the_file_itself(database: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    database.rename(elsewhere)
    database.symlink_to(elsewhere)
    assert asked(database)
    assert not asked(database)
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:  # whose journal is the real one, whatever its place
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO runs VALUES ('a')")
        assert elsewhere.with_name("elsewhere.db-journal").exists()
        with kept(database.parent / ".segline" / "answers.json"):
            assert answer(f"sqlite:///{database}", "how many?", lambda: 8) == 8
        writer.execute("ROLLBACK")
    assert not asked(database)


def test_what_lies_in_a_log_beside_the_database_is_seen(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
    assert asked(database)
    assert not asked(database)
    before = database.read_bytes()
    with closing(sqlite3.connect(database)) as writer:
        writer.execute("INSERT INTO runs VALUES ('a')")
        writer.commit()
        assert database.read_bytes() == before
        with kept(database.parent / ".segline" / "answers.json"):
            assert answer(f"sqlite:///{database}", "how many?", lambda: 8) == 8


def test_who_writes_meanwhile_or_lies_elsewhere_is_asked_each_time(database: Path, tmp_path: Path) -> None:
    journal = database.with_name("mlflow.db-journal")
    journal.touch()
    heard: list[int] = []
    for _ in range(2):
        with kept(database.parent / ".segline" / "answers.json"):
            answer(f"sqlite:///{database}", "?", lambda: heard.append(1))
    assert len(heard) == 2
    journal.unlink()

    before = database.read_bytes()
    with kept(database.parent / ".segline" / "answers.json"):
        answer(f"sqlite:///{database}", "?", lambda: write(database, "INSERT INTO runs VALUES ('c')"))
    database.write_bytes(before)
    assert asked(database, "?"), "the answer may be of before or of after"

    for store in (f"sqlite:///{tmp_path}/elsewhere.db", "http://127.0.0.1:9"):
        with kept(database.parent / ".segline" / "answers.json"):
            assert answer(store, "?", lambda: 1) == 1
            assert answer(store, "?", lambda: 2) == 2


def test_after_a_registration_status_needs_no_mlflow_and_says_the_same(checkout: Checkout) -> None:
    store, folder = checkout.default_store, checkout.model("unet")
    ask_ahead(checkout, store)
    expected = compare(store=store, folders=model_folders(checkout.models))
    command = [sys.executable, "-c", WITHOUT_MLFLOW, str(checkout.root)]
    surroundings = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(expected), done.stderr

    folder.onnx.unlink()
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(compare(store=store, folders=model_folders(checkout.models))), "folders are looked at each time"

    registry.move(store=store, version=registry.find(store=store, name="ramps-unet", number=1), alias="staging", tags={})
    assert "MLflow cannot be imported" in subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False).stderr


def test_the_questions_and_the_shape_of_the_answers_go_with_the_version_of_the_file(checkout: Checkout) -> None:
    """Whoever changes them raises `VERSION`: the files that earlier code has kept are of the same databases."""
    ask_ahead(checkout, checkout.default_store)
    kept_answers = json.loads(checkout.answers.read_text())["answers"]
    key = ModelCard.read(checkout.model("unet").card).key
    assert VERSION == 2
    assert kept_answers.keys() == {"registered models", "versions of ramps-unet", f"run {key} of ramps"}
    assert kept_answers["registered models"] == ["ramps-unet"]
    [version] = kept_answers["versions of ramps-unet"]
    kinds = {"name": str, "number": int, "aliases": list, "tags": dict, "created": str, "run_id": str}
    assert {field: type(value) for field, value in version.items()} == kinds
    assert kept_answers[f"run {key} of ramps"] == version["run_id"]


def told(checkout: Checkout) -> tuple[Any, ...]:
    """All that `segline models` and `segline status` say of the store."""
    store = checkout.default_store
    shown = [registry.versions(store=store, name=name) for name in registry.names(store=store)]
    return shown, compare(store=store, folders=model_folders(checkout.models))


def test_after_each_kind_of_change_the_store_is_asked_again(checkout: Checkout) -> None:
    client, name = tracking.connect(checkout.default_store), "ramps-unet"
    first = client.get_model_version(name, "1")
    run = str(first.run_id)
    changes: dict[str, Any] = {
        "an alias is given": lambda: client.set_registered_model_alias(name, "staging", "1"),
        "a version is registered": lambda: client.create_model_version(name, first.source, run_id=run),
        "an alias moves": lambda: client.set_registered_model_alias(name, "candidate", "2"),
        "an alias is taken back": lambda: client.delete_registered_model_alias(name, "staging"),
        "a tag is set": lambda: client.set_model_version_tag(name, "1", "segline.latency_ms", "7"),
        "a tag is deleted": lambda: client.delete_model_version_tag(name, "1", "segline.parity"),
        "a metric is logged": lambda: client.log_metric(run, "loss", 0.5),
        "a version is deleted": lambda: client.delete_model_version(name, "2"),
        "another model is made": lambda: client.create_registered_model("other"),
        "a run is deleted": lambda: client.delete_run(run),
        "the model is deleted": lambda: client.delete_registered_model(name),
    }
    unseen = {"a metric is logged"}  # no answer says it
    with kept(checkout.answers):
        before = told(checkout)
    for change, make in changes.items():
        make()
        now = told(checkout)
        assert (now == before) == (change in unseen), change
        for _ in range(2):  # by the store, and by what was kept
            with kept(checkout.answers):
                assert told(checkout) == now, change
        before = now


def test_a_backup_of_the_same_size_and_time_is_another_store(checkout: Checkout, tmp_path: Path) -> None:
    store, database, backup = checkout.default_store, checkout.root / "mlflow.db", tmp_path / "backup.db"
    before = told(checkout)
    shutil.copy(database, backup)
    registry.move(store=store, version=registry.find(store=store, name="ramps-unet", number=1), alias="staging", tags={})
    ask_ahead(checkout, store)
    times = database.stat()
    assert backup.stat().st_size == times.st_size
    shutil.copyfile(backup, database)
    os.utime(database, ns=(times.st_atime_ns, times.st_mtime_ns))
    with kept(checkout.answers):
        assert told(checkout) == before


def test_nothing_is_asked_ahead_of_a_server_whose_answers_are_not_kept(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    model_folder(checkout.models / "unet")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        store = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert not keeps(checkout.answers, store) and keeps(checkout.answers, checkout.default_store)
        ask_ahead(checkout, store)
        with pytest.raises(BlockingIOError):
            server.accept()
