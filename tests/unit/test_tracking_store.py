"""Where the tracking store is, how SQLite stores are made, and that no failure is anything but a sentence."""

from __future__ import annotations

import base64
import gc
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from model_parts import checkout, fresh_store, model_folder

from segline import tracking
from segline.errors import TrackingError
from segline.layout import Checkout
from segline.tracking.address import redacted, shown
from segline.tracking.quick import quick


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


def test_who_only_asks_connects_once(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    with quick():
        client = tracking.connect(store)
        assert tracking.connect(store) is client
        assert tracking.connect(f"sqlite:///{tmp_path}/other.db") is not client
    assert tracking.connect(store) is not client
    assert gc.isenabled()


def test_the_default_store_keeps_artifacts_in_the_main_checkout_and_leaves_no_trace_in_the_environment(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "with space")
    store = tracking.store_uri(checkout, None)
    client = tracking.connect(store)
    experiment = tracking.experiment_id(client, "shapes")
    assert tracking.experiment_id(client, "shapes") == experiment
    assert client.get_experiment(experiment).artifact_location == (checkout.default_artifacts / "shapes").as_uri()
    assert tracking.run_id(store, "0123", "shapes") is None
    assert tracking.run_id(store, "0123", "no such data") is None
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


def test_a_kill_while_the_tables_are_made_leaves_nothing_half_made(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    command = [sys.executable, "-c", "import sys; from segline import tracking; tracking.connect(sys.argv[1])", f"sqlite:///{database}"]
    killed_in_the_middle = 0
    for size in (1, 100_000, 250_000, 400_000):  # of what is being made, in bytes
        process = subprocess.Popen(command)
        while process.poll() is None and not _grown(tmp_path, size):
            time.sleep(0.005)
        process.kill()
        killed_in_the_middle += process.wait() == -signal.SIGKILL and not database.exists()
        assert not database.exists() or _complete(database)
        database.unlink(missing_ok=True)
    assert killed_in_the_middle >= 2
    left = set(tmp_path.glob(".mlflow.db.*"))
    assert left
    pair = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(200) for process in pair] == [0, 0]
    assert _complete(database) and not left & set(tmp_path.iterdir())


def _grown(folder: Path, size: int) -> bool:
    with suppress(FileNotFoundError):  # it is moved to its place meanwhile
        return any(file.stat().st_size >= size for file in folder.glob("*mlflow.db*") if file.suffix in (".db", ".part"))
    return False


def _complete(database: Path) -> bool:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT name FROM experiments").fetchall() == [("Default",)]


@pytest.mark.parametrize("state", ["between two steps", "an earlier step"])
def test_a_database_that_was_half_made_is_named_with_the_remedy(state: str, tmp_path: Path) -> None:
    fresh_store(tmp_path)
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DELETE FROM experiments")
        connection.execute("UPDATE alembic_version SET version_num = 'bd07f7e963c5'")
        if state == "between two steps":
            connection.execute("DROP TABLE registered_model_aliases")
            connection.execute("CREATE TABLE _alembic_tmp_metrics (key TEXT)")
        connection.commit()
    with pytest.raises(TrackingError, match=r"mlflow\.db is half-made.*delete it and run the same command again"):
        tracking.connect(f"sqlite:///{database}")
    database.unlink()
    assert tracking.experiment_id(tracking.connect(f"sqlite:///{tmp_path}/other.db"), "shapes") == "1"


def test_a_full_store_of_another_mlflow_is_not_called_half_made(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'bd07f7e963c5'")
        connection.commit()
    with pytest.raises(TrackingError, match="out-of-date database schema"):
        tracking.connect(store)


@pytest.mark.parametrize(
    ("store", "for_people"),
    [
        ("http://tracker:5000/mlflow", "http://tracker:5000/mlflow"),
        ("http://u:s3cret@h:5000", "http://h:5000"),
        ("http://u:s3c@ret@h:5000/x", "http://h:5000/x"),
        ("https://s3cret@h", "https://h"),
        ("https://h/x?token=s3cret", "https://h/x"),
        ("https://h?token=s3cret#s3cret", "https://h"),
        ("postgresql+psycopg2://h:5432/db?user=u&password=s3cret", "postgresql+psycopg2://h:5432/db"),
        ("mysql://u:s3/cr?et#@h/db", "mysql://…"),
        ("http://h?token=s3@cret", "http://…"),
        ("u:s3cret@h:5000", "h:5000"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("databricks", "databricks"),
    ],
)
def test_an_address_is_shown_without_its_secrets(store: str, for_people: str) -> None:
    assert shown(store) == for_people
    for told in (store, f"'{store}' failed", f"({store}/api)", "no s3cret, s3c@ret, s3c%40ret, s3/cr?et#, s3@cret".replace("no", store)):
        sentence = redacted(told, store)
        for secret in ("s3cret", "s3c@ret", "s3/cr?et#", "s3@cret"):
            assert secret not in sentence or secret not in store


class _Talkative(BaseHTTPRequestHandler):
    """Refuses everything, and says with which credentials it was asked."""

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "Basic ")
        answer = f"no {self.path} for {given} ({base64.b64decode(given.removeprefix('Basic ')).decode()})".encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def talkative() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Talkative) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "address",
    [
        "http://u:s3c@ret@{there}",
        "http://{there}/?token=s3cret-token",
        "http://u:s3c@ret@127.0.0.1:9",
        "postgresql://127.0.0.1:9/db?user=u&password=s3cret-token",
        "postgresql://u:s3c@ret@127.0.0.1:9/db",
        "htp://u:s3c@ret@h",
        "u:s3c@ret@h",
    ],
)
def test_no_output_holds_a_secret_of_the_address(address: str, talkative: str, tmp_path: Path) -> None:
    """All that is said where a store is used: `segline store`, `status`, a training's run and a stage's."""
    root = checkout(tmp_path / "checkout")
    model_folder(root / "models" / "unet")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from segline import tracking\n"
        "from segline.cli import main\n"
        "from segline.layout import Checkout, ModelFolder\n"
        "folder = ModelFolder(Path('models/unet').resolve())\n"
        "try:\n"
        "    store = tracking.store_uri(Checkout(Path.cwd()), None)\n"
        "    tracking.LiveRun(store, folder, budget_s=4).close()\n"
        "    tracking.record(store, folder, budget_s=4)\n"
        "except tracking.store.TrackingError as error: print(error)\n"
        "for verb in ('store', 'status'):\n"
        "    sys.argv[1:] = [verb]\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
    )
    environment = os.environ | {"MLFLOW_TRACKING_URI": address.format(there=talkative)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root, env=environment)
    said = done.stdout + done.stderr
    assert "Traceback" not in said and len(said.splitlines()) >= 2
    assert not [line for line in said.splitlines() if any(secret in line for secret in ("s3c", "@ret", base64.b64encode(b"u:s3c@ret").decode()))]


def test_nothing_imports_mlflow_before_it_is_needed() -> None:
    script = "import sys; from segline import tracking; print('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "False"
