"""What a store answered is known as long as its database is the same, and not a byte longer."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from model_parts import model_folder

from segline import registry
from segline.layout import Checkout
from segline.status import ask_ahead, compare, model_folders
from segline.tracking.answers import answer, kept

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


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": {}, "answers": {}}', "[" * 100_000])
def test_a_file_that_holds_no_answers_is_written_anew(database: Path, content: str) -> None:
    asked(database)
    (database.parent / ".segline" / "answers.json").write_text(content)
    assert asked(database)
    assert not asked(database)


def test_who_writes_meanwhile_or_lies_elsewhere_is_asked_each_time(database: Path, tmp_path: Path) -> None:
    journal = database.with_name("mlflow.db-journal")
    journal.touch()
    heard: list[int] = []
    for _ in range(2):
        with kept(database.parent / ".segline" / "answers.json"):
            answer(f"sqlite:///{database}", "?", lambda: heard.append(1))
    assert len(heard) == 2
    journal.unlink()

    with kept(database.parent / ".segline" / "answers.json"):
        answer(f"sqlite:///{database}", "?", lambda: write(database, "INSERT INTO runs VALUES ('c')"))
    assert asked(database, "?"), "the answer may be of before or of after"

    for store in (f"sqlite:///{tmp_path}/elsewhere.db", "http://127.0.0.1:9"):
        with kept(database.parent / ".segline" / "answers.json"):
            assert answer(store, "?", lambda: 1) == 1
            assert answer(store, "?", lambda: 2) == 2


def test_after_a_registration_status_needs_no_mlflow_and_says_the_same(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout")
    store = checkout.default_store
    folder = model_folder(checkout.models / "unet")
    registry.register(store=store, folder=folder)
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
