"""The registry behind a real `mlflow server`, which keeps the artifacts itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_parts import fresh_store, model_folder

from segline import registry


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    where = ["--backend-store-uri", fresh_store(tmp_path / "store"), "--artifacts-destination", str(tmp_path / "artifacts")]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1", *where]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        end = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"the server did not start:\n{(tmp_path / 'server.log').read_text()}", pytrace=False)
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def test_a_model_goes_to_the_server_and_comes_back(server: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "models" / "unet")
    receipt = registry.register(store=server, folder=folder)
    assert registry.register(store=server, folder=folder) == receipt
    version = registry.resolve(store=server, uri="models:/ramps-unet@candidate")
    assert (version.number, version.metrics["miou"]) == (1, 0.9)
    with registry.onnx_file(store=server, version=version) as file:
        assert file.read_bytes() == folder.onnx.read_bytes()
    registry.move(store=server, version=version, alias="staging", tags={"segline.staging.0001": "{}"})
    assert registry.find(store=server, name="ramps-unet", alias="staging").aliases == ("candidate", "staging")
