"""The servers of the tests, each a process group of its own that listens on 127.0.0.1 alone: `mlflow server` and `mlflow models serve`;
and a hub of pre-trained weights."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest

STARTS_WITHIN_S = 120
ENDS_WITHIN_S = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A command that serves HTTP on a port of its own. It can be killed and started again, on the same port.

    command: without the options for host and port. health: the path that answers once it is up. folder: where it runs and writes `server.log`.
    """

    def __init__(self, command: Sequence[str], *, health: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._command = [*command, "--host", "127.0.0.1", "--port", str(self.port)]
        self._health = f"{self.address}{health}"
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def group(self) -> int:
        """The process group of the server and its workers, while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = self.folder / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output, cwd=self.folder, env=self._environment, start_new_session=True)
        end = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < end and self._process.poll() is None:
            try:
                urllib.request.urlopen(self._health, timeout=5).close()
            except OSError:
                time.sleep(0.2)
            else:
                return
        self.kill()
        pytest.fail(f"{' '.join(self._command)} did not start:\n{log.read_text()[-3000:]}", pytrace=False)

    def stop(self) -> None:
        """End it as a user would, and by force when that takes too long."""
        if self._process is not None:
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(ENDS_WITHIN_S)
        self.kill()

    def kill(self) -> None:
        """End it and its workers at once."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _signal(self, number: int) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)  # its own session: the server and its workers


@contextmanager
def mlflow_server(folder: Path, store: str | None = None) -> Iterator[Server]:
    """A running `mlflow server` that keeps its artifacts in `folder`, and its database `server.db` too unless `store` names another."""
    where = ["--backend-store-uri", store or f"sqlite:///{folder / 'server.db'}", "--artifacts-destination", str(folder / "artifacts")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")} | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", *where]
    with _running(Server(command, health="/health", folder=folder, environment=environment)) as server:
        yield server


@contextmanager
def model_server(uri: str, folder: Path, environment: Mapping[str, str], python: str | Path = sys.executable) -> Iterator[Server]:
    """A running `mlflow models serve` of a registered model, in the environment of `python`. It answers at `<address>/invocations`."""
    command = [str(python), "-m", "mlflow", "models", "serve", "-m", uri, "--env-manager", "local"]
    with _running(Server(command, health="/ping", folder=folder, environment=environment)) as server:
        yield server


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


class ModelHub(BaseHTTPRequestHandler):
    """As much of a model hub as its client asks for: files by repository and revision, with the headers it wants."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        name = self.path.split("?")[0].rsplit("/", 1)[-1]
        self.asked.append(f"{self.command} {name}")
        if name not in self.files or "/smp-hub/mobilenet_v2.imagenet/resolve/" not in self.path:
            self.send_error(404)
            return
        content = self.files[name]
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.path.split("/")[4])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""
