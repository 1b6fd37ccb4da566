"""A real MLflow server that works, refuses, hangs, trickles, dies and comes back: the training goes on, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from segline import tracking
from segline.card import ModelCard
from segline.errors import TrackingError
from segline.layout import ModelFolder
from segline.provenance import Provenance
from segline_runtime.specification import ClassInfo, Specification

ROWS = [{"epoch": epoch, "train_loss": 1 / epoch, "val_miou": epoch / 10} for epoch in range(1, 6)]
BUDGET_S = 3.0
SLACK_S = 20.0
"""For a loaded machine; a call without a limit takes minutes."""


def card(key: str) -> ModelCard:
    return ModelCard(
        model="unet",
        task="semantic",
        parameters={"seed": 0, "image_size": [64, 64], "model": {"task": "semantic", "train": {"lr": 0.001}}},
        specification=Specification("semantic", "unet", "shapes", (ClassInfo(0, "ground", (0, 0, 0), False),), (64, 64), "stretch", (0.5,) * 3, (0.2,) * 3),
        provenance=Provenance(parameters=key, data="data", code="code"),
        dataset={"name": "shapes", "counts": {"train": 9, "test": 6}},
        versions={},
        commit=None,
        experiment=None,
        training={"seconds": 10.0},
    )


def folder(models: Path, key: str) -> ModelFolder:
    made = ModelFolder(models / "unet")
    made.plots.mkdir(parents=True)
    card(key).write(made.card)
    made.history.write_text("\n".join(["epoch,train_loss,val_miou", *(",".join(map(str, row.values())) for row in ROWS)]))
    made.metrics.write_text(json.dumps({"split": "test", "miou": 0.5}))
    (made.plots / "worst_1.png").write_bytes(b"png")
    return made


def contents(client: Any, run_id: str) -> dict[str, Any]:
    run = client.get_run(run_id)
    return {
        "parameters": run.data.params,
        "tags": run.data.tags,
        "history": {name: [(m.step, m.value) for m in client.get_metric_history(run_id, name)] for name in run.data.metrics},
        "files": sorted(a.path for a in [*client.list_artifacts(run_id), *client.list_artifacts(run_id, "plots")]),
        "inputs": len(run.inputs.dataset_inputs),
        "status": run.info.status,
    }


COMPLETE = {
    "train_loss": [(row["epoch"], row["train_loss"]) for row in ROWS],
    "val_miou": [(row["epoch"], row["val_miou"]) for row in ROWS],
    "test_miou": [(0, 0.5)],
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`mlflow server` on a port of its own, with its database and artifacts in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.store = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {
            "--backend-store-uri": f"sqlite:///{self.folder / 'server.db'}",
            "--artifacts-destination": str(self.folder / "artifacts"),
            "--host": "127.0.0.1",
            "--port": str(self.port),
            "--workers": "1",
        }
        command = [sys.executable, "-m", "mlflow", "server", *(text for option in options.items() for text in option)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")} | {"MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=environment, start_new_session=True)
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.store}/health", timeout=5).close()
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
            else:
                return
        pytest.fail(f"mlflow server did not start:\n{(self.folder / 'server.log').read_text()[-3000:]}")

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)  # its own session: the server and its worker
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("server"))
    started.start()
    yield started
    started.kill()


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
    with tracking.following(server.store) as follow:
        log = follow(card("works"))
        for row in ROWS:
            log(int(row["epoch"]), row)
    client = tracking.connect(server.store)
    live = tracking.run_id(client, card("works").provenance.key, "shapes")
    assert live is not None
    assert len(client.get_metric_history(live, "val_miou")) == len(ROWS)

    made = folder(tmp_path, "works")
    assert tracking.record(server.store, made) == live
    first = contents(client, live)
    assert first["history"] == COMPLETE
    assert first["parameters"]["train.lr"] == "0.001"
    assert (first["status"], first["inputs"]) == ("FINISHED", 1)
    assert "plots/worst_1.png" in first["files"]
    assert tracking.record(server.store, made) == live
    assert contents(client, live) == first

    (made.plots / "worst_1.png").rename(made.plots / "worst_2.png")
    tracking.record(server.store, made, strict=True)
    assert [a.path for a in client.list_artifacts(live, "plots")] == ["plots/worst_2.png"]


def test_a_refusing_server_costs_nothing_and_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = f"http://127.0.0.1:{free_port()}"
    start = time.monotonic()
    with tracking.following(store, budget_s=BUDGET_S) as follow:
        log = follow(card("refused"))
        for row in ROWS:
            log(int(row["epoch"]), row)
    made = folder(tmp_path, "refused")
    assert tracking.record(store, made, budget_s=BUDGET_S) is None
    assert time.monotonic() - start < BUDGET_S + SLACK_S
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("tracking: The MLflow server") and "`segline sync`" in line for line in lines] == [True, True]
    with pytest.raises(TrackingError, match="cannot be reached"):
        tracking.record(store, made, strict=True)


@pytest.mark.parametrize("answer", [b"", b"HTTP"], ids=["hangs", "trickles"])
def test_a_silent_server_costs_one_budget_in_all(answer: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = folder(tmp_path, "silent")
    with silent_server(answer) as store:
        start = time.monotonic()
        with tracking.following(store, budget_s=BUDGET_S) as follow:
            log = follow(card("silent"))
            for row in ROWS:
                log(int(row["epoch"]), row)
            assert time.monotonic() - start < SLACK_S
        for _ in range(5):
            assert tracking.record(store, made, budget_s=BUDGET_S) is None
        assert time.monotonic() - start < BUDGET_S + SLACK_S
    assert "`segline sync`" in capsys.readouterr().err


def test_a_server_lost_in_the_middle_is_caught_up_with_while_the_training_lasts(server: Server, tmp_path: Path) -> None:
    client = tracking.connect(server.store)
    key = card("middle").provenance.key

    def steps() -> list[int]:
        try:
            run_id = tracking.run_id(client, key, "shapes")
            return [] if run_id is None else [m.step for m in client.get_metric_history(run_id, "val_miou")]
        except TrackingError:
            return []

    with tracking.following(server.store) as follow:
        log = follow(card("middle"))
        log(1, ROWS[0])
        log(2, ROWS[1])
        until(lambda: steps() == [1, 2])
        server.kill()
        log(3, ROWS[2])
        log(4, ROWS[3])
        time.sleep(1)
        server.start()
        log(5, ROWS[4])
    run_id = tracking.run_id(client, key, "shapes")
    assert run_id is not None
    assert tracking.record(server.store, folder(tmp_path, "middle")) == run_id
    assert contents(client, run_id)["history"] == COMPLETE


def test_a_server_lost_for_good_costs_nothing_that_the_next_stage_does_not_bring_back(server: Server, tmp_path: Path) -> None:
    client = tracking.connect(server.store)
    key = card("lost").provenance.key
    made = folder(tmp_path, "lost")
    with tracking.following(server.store, budget_s=BUDGET_S) as follow:
        log = follow(card("lost"))
        log(1, ROWS[0])
        until(lambda: tracking.run_id(client, key, "shapes") is not None)
        server.kill()
        for row in ROWS[1:]:
            log(int(row["epoch"]), row)
    assert tracking.record(server.store, made, budget_s=BUDGET_S) is None

    (server.folder / "server.db").unlink()  # it comes back without its memory
    server.start()
    run_id = tracking.record(server.store, made, strict=True)
    first = contents(client, run_id)
    assert first["history"] == COMPLETE
    assert [str(done) for done in tracking.sync(server.store, tmp_path)] == ["unet: complete"]
    assert contents(client, run_id) == first


@pytest.mark.parametrize("end", ["exit", "terminate"])
def test_a_process_that_ends_does_not_wait_for_the_server(end: str, tmp_path: Path) -> None:
    script = (
        f"import sys, threading, time; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from segline import tracking\n"
        "from test_tracking_faults import ROWS, card\n"
        "run = tracking.LiveRun(sys.argv[1], card('ends'))\n"
        "run.log(1, ROWS[0])\n"
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
