"""Model files on ONNX Runtime, those of earlier days too, by themselves and behind MLflow, and with nothing of Segline beside them."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as state
from PIL import Image

import segline_runtime
from segline_runtime.errors import InputError
from segline_runtime.predictions import InstancePrediction, SemanticPrediction
from segline_runtime.predictor import Predictor
from segline_runtime.specification import METADATA_KEY

CLASSES = [{"color": [0, 0, 0], "id": 0, "name": "dark", "thing": False}, {"color": [255, 0, 0], "id": 1, "name": "red", "thing": True}]
VERSION_1: dict[str, Any] = {
    "classes": CLASSES,
    "dataset": "old",
    "image_size": [8, 8],
    "mean": [0.5, 0.5, 0.5],
    "model": "unet",
    "resize": "stretch",
    "std": [0.2, 0.2, 0.2],
}
VERSION_2: dict[str, Any] = {
    "classes": CLASSES,
    "dataset": "deep",
    "geometry": {"fit": "native", "size": None, "tile": {"size": [16, 16], "overlap": 4}},
    "image": {"axes": "HWC", "channels": 4, "dtype": "uint16", "scale": 1000.0},
    "mean": [0.0] * 4,
    "model": "unet",
    "std": [1.0] * 4,
    "task": "semantic",
    "version": 2,
}
IMAGE = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)


def write(file: Path, specification: dict[str, Any], graph: onnx.GraphProto) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: json.dumps(specification)})
    onnx.checker.check_model(model)
    onnx.save(model, file)
    return file


def semantic(file: Path, specification: dict[str, Any], channels: int = 3, scale: float = 255.0) -> Path:
    """Class 1 with the probability that the first channel says."""
    kind = TensorProto.UINT8 if scale == 255.0 else TensorProto.FLOAT
    constants = {"first": np.array([0]), "scale": np.array(scale, np.float32), "one": np.array(1, np.float32)}
    nodes = [
        helper.make_node("Gather", ["images", "first"], ["channel"], axis=3),
        helper.make_node("Cast", ["channel"], ["value"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["value", "scale"], ["red"]),
        helper.make_node("Sub", ["one", "red"], ["dark"]),
        helper.make_node("Concat", ["dark", "red"], ["last"], axis=3),
        helper.make_node("Transpose", ["last"], ["probabilities"], perm=[0, 3, 1, 2]),
        helper.make_node("ArgMax", ["probabilities"], ["ids"], axis=1, keepdims=0),
        helper.make_node("Cast", ["ids"], ["class_ids"], to=TensorProto.UINT8),
    ]
    inputs = [helper.make_tensor_value_info("images", kind, ["batch", "height", "width", channels])]
    outputs = [
        helper.make_tensor_value_info("class_ids", TensorProto.UINT8, ["batch", "height", "width"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2, "height", "width"]),
    ]
    return write(file, specification, helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(v, k) for k, v in constants.items()]))


def instance(file: Path, specification: dict[str, Any]) -> Path:
    """The same two detections for every image."""
    values = {
        "boxes": np.array([[2, 3, 10, 12], [0, 0, 30, 5]], np.float32),
        "labels": np.array([1, 1]),
        "scores": np.array([0.4, 0.8], np.float32),
        "masks": np.ones((2, 28, 28), np.float32),
    }
    nodes = [helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value)) for name, value in values.items()]
    outputs = [helper.make_tensor_value_info(k, TensorProto.INT64 if k == "labels" else TensorProto.FLOAT, list(v.shape)) for k, v in values.items()]
    return write(file, specification, helper.make_graph(nodes, "g", [helper.make_tensor_value_info("images", TensorProto.UINT8, [1, "h", "w", 3])], outputs))


def test_a_semantic_model_of_version_1_goes_on_working(tmp_path: Path) -> None:
    predictor = Predictor(semantic(tmp_path / "model.onnx", {**VERSION_1, "task": "semantic"}))
    assert predictor.provider.endswith("ExecutionProvider")
    found = predictor(IMAGE, probabilities=True)
    assert isinstance(found, SemanticPrediction)
    np.testing.assert_array_equal(found.class_ids, IMAGE[:, :, 0] >= 128)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities[1], IMAGE[:, :, 0] / 255, atol=1e-6)
    first, second = predictor.predict([IMAGE, IMAGE[:5]])
    assert isinstance(first, SemanticPrediction)
    assert isinstance(second, SemanticPrediction)
    assert first.probabilities is None
    assert second.class_ids.shape == (5, 24)
    assert set(predictor.run(np.stack([IMAGE, IMAGE]))) == {"class_ids", "probabilities"}
    assert predictor.run(np.stack([IMAGE, IMAGE]), probabilities=False)["class_ids"].shape == (2, 20, 24)


def test_an_instance_model_of_version_1_goes_on_working(tmp_path: Path) -> None:
    found = Predictor(instance(tmp_path / "model.onnx", {**VERSION_1, "task": "instance", "resize": "shorter_side"}))(IMAGE)
    assert isinstance(found, InstancePrediction)
    assert found.scores.tolist() == pytest.approx([0.8, 0.4])
    assert found.boxes.tolist() == [[0, 0, 24, 5], [2, 3, 10, 12]]
    assert found.masks[0, 1:4, 1:23].all()


def test_a_model_of_another_kind_of_images_is_given_raw_values_by_windows(tmp_path: Path) -> None:
    predictor = Predictor(semantic(tmp_path / "model.onnx", VERSION_2, channels=4, scale=1000.0))
    image = np.random.default_rng(0).integers(0, 1001, (40, 35, 4), dtype=np.uint16)
    found = predictor(image, probabilities=True)
    assert isinstance(found, SemanticPrediction)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities[1], image[:, :, 0] / 1000, atol=1e-6)
    with pytest.raises(InputError, match=r"must be uint16 of shape \(height, width, 4\)"):
        predictor(IMAGE)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"version": 6}, "model.onnx cannot be used: .* version 6"), ({"task": "depth"}, "model.onnx cannot be used: The model's task is 'depth'")],
)
def test_a_model_of_tomorrow_gets_a_sentence(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Predictor(semantic(tmp_path / "model.onnx", {**VERSION_2, **change}, channels=4, scale=1000.0))


def test_a_file_that_onnx_runtime_refuses_without_a_word_gets_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: Any, **_named: Any) -> None:
        raise state.Fail("")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refused)
    with pytest.raises(InputError, match=r"model.onnx is not a readable ONNX model \(Fail\); export the model anew"):
        Predictor(semantic(tmp_path / "model.onnx", VERSION_2, channels=4, scale=1000.0))


def png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    return base64.b64encode(file.getvalue()).decode()


def pixels(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def served(file: Path) -> Any:
    from segline_runtime.pyfunc import SegmentationModel

    model = SegmentationModel()
    model.predictor = Predictor(file)
    return model


def test_the_registered_semantic_models_answer(tmp_path: Path) -> None:
    model = served(semantic(tmp_path / "model.onnx", {**VERSION_1, "task": "semantic"}))
    [answer] = model.predict({"image": [png(IMAGE)]})
    assert model.predict(IMAGE.tolist()) == model.predict(IMAGE) == [answer]
    assert json.loads(json.dumps(answer)) == answer
    share = float((IMAGE[:, :, 0] >= 128).mean())
    assert {key: answer[key] for key in ("task", "size", "classes")} == {
        "task": "semantic",
        "size": [20, 24],
        "classes": [
            {"id": 0, "name": "dark", "color": [0, 0, 0], "share": pytest.approx(1 - share)},
            {"id": 1, "name": "red", "color": [255, 0, 0], "share": pytest.approx(share)},
        ],
    }
    np.testing.assert_array_equal(pixels(answer["mask"]), IMAGE[:, :, 0] >= 128)


def test_the_registered_instance_models_answer(tmp_path: Path) -> None:
    [answer] = served(instance(tmp_path / "model.onnx", {**VERSION_1, "task": "instance"})).predict([png(IMAGE)])
    assert json.loads(json.dumps(answer)) == answer
    assert (answer["task"], answer["size"]) == ("instance", [20, 24])
    best, other = answer["objects"]
    assert {key: best[key] for key in ("label", "class", "score", "box")} == {"label": 1, "class": "red", "score": pytest.approx(0.8), "box": [0, 0, 24, 5]}
    assert other["box"] == [2, 3, 10, 12]
    assert set(np.unique(pixels(other["mask"]))) == {0, 255}


def test_the_registered_model_takes_its_own_kind_of_images(tmp_path: Path) -> None:
    from mlflow.exceptions import MlflowException

    model = served(semantic(tmp_path / "model.onnx", VERSION_2, channels=4, scale=1000.0))
    image = np.random.default_rng(0).integers(0, 1001, (40, 35, 4), dtype=np.uint16)
    file = io.BytesIO()
    np.save(file, image)
    answers = model.predict([base64.b64encode(file.getvalue()).decode()]) + model.predict(image.tolist()) + model.predict(image[None])
    for answer in answers:
        np.testing.assert_array_equal(pixels(answer["mask"]), image[:, :, 0] > 500)
    with pytest.raises(MlflowException, match=r"Image 1: The base64 text has the shape .* with 4 channels"):
        model.predict([base64.b64encode(file.getvalue()).decode(), png(IMAGE)])


def test_it_works_alone(tmp_path: Path) -> None:
    """The package beside a model, in an interpreter that finds nothing else but numpy, Pillow and ONNX Runtime."""
    shutil.copytree(Path(segline_runtime.__file__).parent, tmp_path / "code" / "segline_runtime", ignore=shutil.ignore_patterns("__pycache__"))
    Image.fromarray(IMAGE).save(tmp_path / "image.png")
    semantic(tmp_path / "model.onnx", {**VERSION_2, "image": {}}, channels=3)
    program = """
import sys
from pathlib import Path
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "segline", "mlflow", "onnx", "cv2", "scipy", "pandas", "tifffile", "pydantic"):
            raise ModuleNotFoundError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
sys.path.insert(0, "code")
import segline_runtime
assert segline_runtime.__file__.startswith(str(Path.cwd())), segline_runtime.__file__
from segline_runtime.images import InputError, to_array
from segline_runtime.predictor import Predictor
from segline_runtime.specification import ImageKind
print(Predictor("model.onnx")(to_array(Path("image.png"), ImageKind())).class_ids.sum())
try:
    to_array(b"II*" + bytes(40), ImageKind(channels=5))
except InputError as error:
    print(error)
"""
    home = tmp_path / "home"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | {"HOME": str(home), "XDG_CACHE_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not home.exists(), "ONNX Runtime keeps an id of this machine and sends it with what is run"
    count, sentence = done.stdout.splitlines()
    assert int(count) == (IMAGE[:, :, 0] >= 128).sum()
    assert "only the package tifffile reads in full; install it" in sentence
