"""`benchmarks/table`: two rows are trained, scored, exported and tabulated; killed and begun again, it goes on with what it lacks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

RUN = Path(__file__).resolve().parents[2] / "benchmarks" / "table" / "run.py"

LIST = """
steps: 4
validations: 1
shares: [0.25, 1]
shared: {input: {size: [32, 32]}, train: {batch_size: 4}}
data:
  shapes: {keys: {source: shapes, size: [32, 32], train: 16, val: 2, test: 4}}
architectures:
  unet: {entry: {arch: unet, encoder: resnet18}}
"""


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(RUN), str(folder / "tiny.yaml"), "--work", str(folder / "work"), *arguments]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("SEGLINE_HOME", "MLFLOW_TRACKING_URI")}


def again(folder: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(command(folder, *arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == code, done.stdout[-4000:]
    return done.stdout


def rows(folder: Path) -> dict[str, Any]:
    file = folder / "tiny.jsonl"
    found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return {one["row"]: one for one in found}


def test_it_goes_on_after_a_kill_and_does_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(LIST)
    process = subprocess.Popen(command(tmp_path), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 1200
    try:
        while not rows(tmp_path):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    [(first, before)] = rows(tmp_path).items()
    again(tmp_path)
    after = rows(tmp_path)
    assert list(after) == ["shapes-unet_scratch-25", "shapes-unet_scratch-100"] and after[first] == before
    for one, images in zip(after.values(), (4, 16), strict=True):
        assert (one["images_trained_on"], one["images"], one["split"]) == (images, 4, "test")
        assert one["low"] <= one["value"] <= one["high"] and one["torch_ms"] > 0 and one["onnx_ms"] > 0 and one["memory_bytes"] > 0
        assert one["code_licence"] and one["weights_licence"] and one["training_s"] > 0 and one["commit"]
    assert after["shapes-unet_scratch-25"]["split_hash"] == after["shapes-unet_scratch-100"]["split_hash"]
    assert (tmp_path / "tiny.html").read_text().count("<tr>") == 3
    weights = {file: file.stat().st_mtime_ns for file in (tmp_path / "work").glob("*/models/*/weights.pt")}
    again(tmp_path)
    assert len(weights) == 2 and weights == {file: file.stat().st_mtime_ns for file in weights}


def test_mistakes_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(LIST.replace("steps", "stepps"))
    assert "did you mean 'steps'?" in again(tmp_path, code=2)
    (tmp_path / "tiny.yaml").write_text(LIST)
    assert "Did you mean shapes-unet_scratch-25" in again(tmp_path, "shapes-unet_scratch-26", code=2)
    assert "--place ROADS lacks its path" in again(tmp_path, "--place", "ROADS", code=2)
    (tmp_path / "tiny.yaml").write_text(LIST.replace("encoder: resnet18", "encoder: resnet81"))
    assert "There is no encoder 'resnet81'" in again(tmp_path, code=2)
    assert not rows(tmp_path)
