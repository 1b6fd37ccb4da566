"""A real MLflow server that works, refuses, hangs, trickles, dies and comes back: the training goes on, and nothing is lost."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from servers import Server, free_port, mlflow_server
from tracking_parts import ROWS, Training, card, contents, run_of, trained

from segline import tracking
from segline.errors import TrackingError

BUDGET_S = 3.0
SLACK_S = 20.0
"""For a loaded machine; a call without a limit takes minutes."""


COMPLETE = {
    "train_loss": [(row["epoch"], row["train_loss"]) for row in ROWS],
    "val_miou": [(row["epoch"], row["val_miou"]) for row in ROWS],
    "test_miou": [(0, 0.5)],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as started:
        yield started


@contextmanager
def silent_server(answer: bytes = b"") -> Iterator[str]:
    """A server that takes every connection and never answers, or only ever sends `answer`, again and again, slowly."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        held: list[socket.socket] = []

        def serve() -> None:
            while not over.wait(0.1):
                with suppress(TimeoutError):
                    held.append(listener.accept()[0])
                for connection in held:
                    try:
                        connection.sendall(answer)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        thread.join()
        for connection in held:
            connection.close()


def until(condition: Any) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited a minute in vain"
        time.sleep(0.1)


def test_a_run_on_a_server_is_complete_and_a_second_call_adds_nothing(server: Server, tmp_path: Path) -> None:
    training = Training(tmp_path / "resume", card(key="works"))
    with tracking.following(server.address) as follow:
        notify = follow(training.folder)
        for row in ROWS:
            training.add(row)
            notify()
    client = tracking.connect(server.address)
    live = run_of(client, card(key="works"))
    assert live is not None
    assert len(client.get_metric_history(live, "val_miou")) == len(ROWS)

    made = trained(tmp_path / "models", card(key="works"))
    assert tracking.record(server.address, made) == live
    first = contents(client, live)
    assert first["history"] == COMPLETE
    assert first["parameters"]["train.lr"] == "0.001"
    assert (first["status"], len(first["inputs"])) == ("FINISHED", 1)
    assert "plots/worst_1.png" in first["files"]
    assert tracking.record(server.address, made) == live
    assert contents(client, live) == first

    (made.plots / "worst_1.png").rename(made.plots / "worst_2.png")
    tracking.record(server.address, made, strict=True)
    assert [a.path for a in client.list_artifacts(live, "plots")] == ["plots/worst_2.png"]


def test_a_refusing_server_costs_nothing_and_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = f"http://127.0.0.1:{free_port()}"
    training = Training(tmp_path / "resume", card(key="refused"))
    start = time.monotonic()
    with tracking.following(store, budget_s=BUDGET_S) as follow:
        notify = follow(training.folder)
        for row in ROWS:
            training.add(row)
            notify()
    made = trained(tmp_path / "models", card(key="refused"))
    assert tracking.record(store, made, budget_s=BUDGET_S) is None
    assert time.monotonic() - start < BUDGET_S + SLACK_S
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("tracking: The MLflow server") and "`segline sync`" in line for line in lines] == [True, True]
    with pytest.raises(TrackingError, match="cannot be reached"):
        tracking.record(store, made, strict=True)


@pytest.mark.parametrize("answer", [b"", b"HTTP"], ids=["hangs", "trickles"])
def test_a_silent_server_costs_one_budget_in_all(answer: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = trained(tmp_path / "models", card(key="silent"))
    training = Training(tmp_path / "resume", card(key="silent"))
    with silent_server(answer) as store:
        start = time.monotonic()
        with tracking.following(store, budget_s=BUDGET_S) as follow:
            notify = follow(training.folder)
            for row in ROWS:
                training.add(row)
                notify()
            assert time.monotonic() - start < SLACK_S
        for _ in range(5):
            assert tracking.record(store, made, budget_s=BUDGET_S) is None
        assert time.monotonic() - start < BUDGET_S + SLACK_S
    assert "`segline sync`" in capsys.readouterr().err


def test_a_server_lost_in_the_middle_is_caught_up_with_while_the_training_lasts(server: Server, tmp_path: Path) -> None:
    client = tracking.connect(server.address)
    training = Training(tmp_path / "resume", card(key="middle"))

    def steps() -> list[int]:
        try:
            run_id = run_of(client, card(key="middle"))
            return [] if run_id is None else [m.step for m in client.get_metric_history(run_id, "val_miou")]
        except TrackingError:
            return []

    with tracking.following(server.address) as follow:
        notify = follow(training.folder)
        training.add(ROWS[0])
        notify()
        training.add(ROWS[1])
        notify()
        until(lambda: steps() == [1, 2])
        server.kill()
        training.add(ROWS[2])
        notify()
        training.add(ROWS[3])
        notify()
        time.sleep(1)
        server.start()
        training.add(ROWS[4])
        notify()
    run_id = run_of(client, card(key="middle"))
    assert run_id is not None
    assert steps() == [1, 2, 3, 4, 5], "what was missed is caught up with when the server is back"
    assert tracking.record(server.address, trained(tmp_path / "models", card(key="middle"))) == run_id
    assert contents(client, run_id)["history"] == COMPLETE


def test_a_server_lost_for_good_costs_nothing_that_the_next_stage_does_not_bring_back(server: Server, tmp_path: Path) -> None:
    client = tracking.connect(server.address)
    training = Training(tmp_path / "resume", card(key="lost"))
    made = trained(tmp_path / "models", card(key="lost"))
    with tracking.following(server.address, budget_s=BUDGET_S) as follow:
        notify = follow(training.folder)
        training.add(ROWS[0])
        notify()
        until(lambda: run_of(client, card(key="lost")) is not None)
        server.kill()
        for row in ROWS[1:]:
            training.add(row)
            notify()
    assert tracking.record(server.address, made, budget_s=BUDGET_S) is None

    (server.folder / "server.db").unlink()  # it comes back without its memory
    server.start()
    run_id = tracking.record(server.address, made, strict=True)
    first = contents(client, run_id)
    assert first["history"] == COMPLETE
    assert [str(done) for done in tracking.sync(server.address, tmp_path / "models")] == ["unet: complete"]
    assert contents(client, run_id) == first


def test_a_server_that_lost_its_database_gets_the_run_anew_while_the_training_lasts(server: Server, tmp_path: Path) -> None:
    client = tracking.connect(server.address)
    training = Training(tmp_path / "resume", card(key="amnesia"))
    with tracking.following(server.address) as follow:
        notify = follow(training.folder)
        training.add(*ROWS[:2])
        notify()
        until(lambda: run_of(client, card(key="amnesia")) is not None)
        server.kill()
        (server.folder / "server.db").unlink()
        server.start()
        training.add(*ROWS[2:])
        notify()
    run_id = run_of(client, card(key="amnesia"))
    assert run_id is not None
    assert contents(client, run_id)["history"] == {name: COMPLETE[name] for name in ("train_loss", "val_miou")}


@pytest.mark.parametrize("end", ["exit", "terminate"])
def test_a_process_that_ends_does_not_wait_for_the_server(end: str, tmp_path: Path) -> None:
    script = (
        f"import sys, threading, time; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from pathlib import Path\n"
        "from segline import tracking\n"
        "from tracking_parts import ROWS, Training, card\n"
        "training = Training(Path('resume'), card(key='ends'))\n"
        "run = tracking.LiveRun(sys.argv[1], training.folder)\n"
        "training.add(ROWS[0])\n"
        "run.notify()\n"
        "while not any(thread.name == 'segline-tracking-call' for thread in threading.enumerate()): time.sleep(0.05)\n"
        "time.sleep(1)\n"  # it now waits for an answer
        "print('training', flush=True)\n"
        "if sys.argv[2] == 'terminate': time.sleep(600)\n"
    )
    with silent_server() as store:
        process = subprocess.Popen([sys.executable, "-c", script, store, end], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
        assert process.stdout is not None
        assert process.stdout.readline() == b"training\n"
        if end == "terminate":
            process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == (0 if end == "exit" else -signal.SIGTERM)
