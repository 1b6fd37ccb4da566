"""A registered model behind `mlflow models serve`, in an environment of mlflow, onnxruntime, numpy and Pillow alone, asked over HTTP."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_parts import CLASSES, fresh_store, instance_onnx, model_folder, multilabel_onnx
from PIL import Image
from servers import model_server

from segline import registry
from segline_runtime.predictor import Predictor

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment that holds the four packages and what they need themselves."""
    folder = tmp_path_factory.mktemp("serving") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    pins = ["-c", str(ROOT / "constraints.txt")]
    subprocess.run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *pins, *registry.REQUIREMENTS], check=True, cwd=folder)
    return python


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A store whose `ramps-unet` is in staging, and the ONNX file that was registered."""
    root = tmp_path_factory.mktemp("registry")
    store = fresh_store(root)
    folder = model_folder(root / "models" / "unet", threshold=90)
    registry.register(store=store, folder=folder)
    registry.move(store=store, version=registry.find(store=store, name="ramps-unet", number=1), alias="staging", tags={})
    return store, folder.onnx


def settings(environment: Path, store: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PATH": os.pathsep.join([str(environment.parent), os.environ["PATH"]]), "MLFLOW_TRACKING_URI": store, "MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.fixture(scope="module")
def address(environment: Path, model: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running server."""
    away = tmp_path_factory.mktemp("away")
    with model_server("models:/ramps-unet@staging", away, settings(environment, model[0]), python=environment) as server:
        yield f"{server.address}/invocations"


def ask(address: str, content: Any) -> tuple[int, Any]:
    request = urllib.request.Request(address, json.dumps(content).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def encoded(image: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def test_neither_torch_nor_segline_is_there(environment: Path, model: tuple[str, Path], tmp_path: Path) -> None:
    code = "import importlib.util as u, sys; sys.exit(any(u.find_spec(n) for n in ('torch', 'torchvision', 'onnx', 'segline', 'segline_runtime')))"
    assert subprocess.run([str(environment), "-c", code], cwd=tmp_path, env=settings(environment, model[0]), check=False).returncode == 0


def test_the_server_answers_as_the_predictor_does(address: str, model: tuple[str, Path]) -> None:
    predictor = Predictor(model[1])
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, size, dtype=np.uint8) for size in ((37, 50, 3), (64, 48, 3))]
    files = [encoded(images[0], "png"), encoded(images[1], "jpeg")]
    texts = [base64.b64encode(file).decode() for file in files]
    status, answer = ask(address, {"inputs": {"image": texts}})
    assert status == 200, answer
    for found, file in zip(answer["predictions"], files, strict=True):
        expected = predictor(np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))).class_ids
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(found["mask"])))), expected)
        assert found["size"] == list(expected.shape)
    for content in ({"inputs": texts[:1]}, {"dataframe_records": [{"image": texts[0]}]}, {"inputs": images[0].tolist()}, {"instances": texts[:1]}):
        status, other = ask(address, content)
        assert (status, other) == (200, {"predictions": answer["predictions"][:1]}), content.keys()


def test_what_is_no_image_gets_a_sentence(address: str) -> None:
    for content, sentence in [
        ({"inputs": {"image": ["nothing"]}}, "Image 0: The "),
        ({"inputs": {"picture": ["x"]}}, 'has no \\"image\\"'),
        ({"inputs": {"image": ["/etc/hostname"]}}, "Image 0: The "),
        ({"instances": [{"image": "x"}, {"picture": "x"}]}, 'has picture besides \\"image\\"'),
        ({"inputs": [[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]]]}, "Images of several sizes"),
    ]:
        status, answer = ask(address, content)
        assert status == 400
        assert sentence in json.dumps(answer)


def test_nesting_without_end_is_refused_too(address: str) -> None:
    request = urllib.request.Request(address, b'{"inputs": ' + b"[" * 100_000, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    with caught.value as refusal:
        assert (refusal.code, "nested too deeply" in json.load(refusal)["message"]) == (400, True)


def test_too_many_megapixels_are_refused_before_they_are_decoded(address: str) -> None:
    status, answer = ask(address, {"inputs": [base64.b64encode(encoded(np.zeros((8000, 8001, 3), np.uint8), "png")).decode()]})
    assert (status, "64.01 megapixels" in answer["message"], "SEGLINE_MAX_MEGAPIXELS" in answer["message"]) == (413, True, True)


def test_the_command_of_the_readme_sends_a_large_photo(address: str, tmp_path: Path) -> None:
    """5 MB: more than a command line holds."""
    photo = np.random.default_rng(0).integers(0, 256, (2000, 2600, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.jpg", quality=95)
    assert (tmp_path / "photo.jpg").stat().st_size > 5e6
    [command] = [line for line in (ROOT / "README.md").read_text().splitlines() if "curl" in line and "/invocations" in line]
    command = command.replace("http://127.0.0.1:5001/invocations", address)
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    [found] = json.loads(done.stdout)["predictions"]
    assert found["size"] == [2000, 2600]


@pytest.mark.parametrize("write", [instance_onnx, multilabel_onnx])
def test_models_of_other_tasks_answer_as_their_predictors_do(write: Callable[[Path], None], environment: Path, tmp_path: Path) -> None:
    """The first model above is semantic; a task's answer is JSON that only a server has to write."""
    store = fresh_store(tmp_path)
    folder = model_folder(tmp_path / "models" / "other", write=write)
    registry.register(store=store, folder=folder)
    image = np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)
    predictor = Predictor(folder.onnx)
    with model_server("models:/ramps-other@candidate", tmp_path, settings(environment, store), python=environment) as server:
        status, answer = ask(f"{server.address}/invocations", {"inputs": [base64.b64encode(encoded(image, "png")).decode()]})
    assert status == 200, answer
    [found] = answer["predictions"]
    prediction = predictor(image)
    parts = found["objects"] if prediction.task == "instance" else found["classes"]
    assert (found["task"], found["size"]) == (predictor.specification.task, [37, 50])
    assert [part.get("class", part.get("name")) for part in parts] == (["bright"] * 2 if prediction.task == "instance" else list(CLASSES))
    for part, mask in zip(parts, prediction.masks, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(part["mask"])))) == 255, mask)
        assert mask.any()
        assert not mask.all()
