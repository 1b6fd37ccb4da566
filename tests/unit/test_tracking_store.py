"""Where the tracking store is, how SQLite stores are made, and that no failure is anything but a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from segline import tracking
from segline.errors import TrackingError
from segline.layout import Checkout


@pytest.fixture(autouse=True)
def _no_wishes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "SEGLINE_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_the_environment_goes_before_params_and_params_before_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = Checkout(tmp_path)
    assert tracking.store_uri(checkout, None) == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking.store_uri(checkout, "http://tracker:5000") == "http://tracker:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mine:5000")
    assert tracking.store_uri(checkout, "http://tracker:5000") == "http://mine:5000"


def test_a_temporary_copy_uses_the_store_of_the_main_checkout(tmp_path: Path) -> None:
    copy = Checkout(tmp_path / ".dvc" / "tmp" / "exps" / "tmp1")
    assert tracking.store_uri(copy, None) == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking.store_uri(copy, "sqlite:///log/runs.db") == f"sqlite:///{tmp_path}/log/runs.db"


@pytest.mark.parametrize("store", ["./mlruns", "file:///tmp/mlruns", "mlruns"])
def test_a_file_store_is_refused_with_a_way_out(store: str, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"sqlite:///mlflow\.db"):
        tracking.store_uri(Checkout(tmp_path), store)


def test_the_default_store_keeps_artifacts_in_the_main_checkout_and_leaves_no_trace_in_the_environment(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "with space")
    store = tracking.store_uri(checkout, None)
    client = tracking.connect(store)
    experiment = tracking.experiment_id(client, "shapes")
    assert tracking.experiment_id(client, "shapes") == experiment
    assert client.get_experiment(experiment).artifact_location == (checkout.default_artifacts / "shapes").as_uri()
    assert tracking.run_id(client, "0123", "shapes") is None
    assert tracking.run_id(client, "0123", "no such data") is None
    assert "MLFLOW_TRACKING_URI" not in os.environ, "store_uri would take it for the user's wish"
    assert [file.name for file in checkout.root.iterdir()] == ["mlflow.db"]


def test_a_moved_checkout_is_told_instead_of_writing_to_the_old_place(tmp_path: Path) -> None:
    old, new = Checkout(tmp_path / "old"), Checkout(tmp_path / "new")
    tracking.experiment_id(tracking.connect(old.default_store), "shapes")
    old.root.rename(new.root)
    with pytest.raises(TrackingError, match=r"checkout has moved.*segline sync"):
        tracking.experiment_id(tracking.connect(new.default_store), "shapes")


def test_a_deleted_experiment_is_named(tmp_path: Path) -> None:
    client = tracking.connect(f"sqlite:///{tmp_path}/mlflow.db")
    client.delete_experiment(tracking.experiment_id(client, "shapes"))
    with pytest.raises(TrackingError, match=r"'shapes'.*was deleted"):
        tracking.experiment_id(client, "shapes")


@pytest.mark.parametrize("store", ["htp://nowhere", "postgresql://me:secret@127.0.0.1:9/db", "http://127.0.0.1:9"])
def test_what_is_no_store_gets_a_sentence_without_the_password(store: str) -> None:
    with pytest.raises(TrackingError) as caught:
        tracking.connect(store, timeout_s=4)
    assert "secret" not in str(caught.value)
    assert store.rsplit("@")[-1].removeprefix("http://") in str(caught.value)


def test_a_file_that_is_no_database_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to be read as one. " * 40)
    with pytest.raises(TrackingError, match=r"mlflow\.db cannot be opened"):
        tracking.connect(f"sqlite:///{tmp_path}/mlflow.db")


def test_processes_that_use_a_new_database_at_once_all_succeed(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys
        from segline import tracking
        client = tracking.connect(sys.argv[1])
        print(tracking.experiment_id(client, "shapes"))
    """)
    command = [sys.executable, "-c", script, f"sqlite:///{tmp_path}/mlflow.db"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], answers
    assert len({out for out, _ in answers}) == 1
    assert all("Traceback" not in err for _, err in answers)


def test_nothing_imports_mlflow_before_it_is_needed() -> None:
    script = "import sys; from segline import tracking; print('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "False"
