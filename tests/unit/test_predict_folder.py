"""`segline predict` as a library: what is written for images and folders, and that it needs no torch."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from model_parts import instance_onnx, semantic_onnx
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from segline.errors import DataError, ModelError
from segline.inference.predict import load_predictor, predict_folder
from segline.tasks.instance.results import instance_index
from segline_runtime.images import to_array
from segline_runtime.predictions import InstancePrediction, SemanticPrediction
from segline_runtime.predictor import Predictor
from segline_runtime.specification import ImageKind

SOURCE = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture(scope="module")
def semantic_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    semantic_onnx(file)
    return file


@pytest.fixture(scope="module")
def instance_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    instance_onnx(file)
    return file


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two sub-folders, four kinds of files, two images that differ in their suffix alone."""
    rng = np.random.default_rng(0)
    images = {"one.png": (20, 30), "deep/two.JPG": (33, 17), "deep/three.png": (8, 8), "deep/three.bmp": (9, 7)}
    for name, size in images.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    return tmp_path / "in"


NAMES = {"one.png": "one", "deep/two.JPG": "deep/two", "deep/three.png": "deep/three.png", "deep/three.bmp": "deep/three.bmp"}


def written(folder: Path) -> set[str]:
    return {f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()}


def test_semantic_folder(semantic_file: Path, source: Path, tmp_path: Path) -> None:
    predictor = Predictor(semantic_file, threads=1)
    assert predict_folder(predictor, source, tmp_path / "out", progress=False) == 4
    assert written(tmp_path / "out") == {"classes.json"} | {f"{kind}/{name}.png" for kind in ("masks", "overlays") for name in NAMES.values()}
    for file, name in NAMES.items():
        image = to_array(source / file, ImageKind())
        with Image.open(tmp_path / "out" / "masks" / f"{name}.png") as mask:
            assert mask.mode == "L"
            prediction = predictor(image)
            assert isinstance(prediction, SemanticPrediction)
            np.testing.assert_array_equal(np.asarray(mask), prediction.class_ids)
        assert np.asarray(Image.open(tmp_path / "out" / "overlays" / f"{name}.png")).ndim == 3
    classes = json.loads((tmp_path / "out" / "classes.json").read_text())
    assert classes[1] == {"id": 1, "name": "bright", "color": [80, 200, 30], "thing": True}


def test_one_image_with_probabilities(semantic_file: Path, source: Path, tmp_path: Path) -> None:
    assert predict_folder(Predictor(semantic_file, threads=1), source / "one.png", tmp_path / "out", probabilities=True, progress=False) == 1
    assert written(tmp_path / "out") == {"classes.json", "masks/one.png", "overlays/one.png", "probabilities/one.npy"}
    probabilities = np.load(tmp_path / "out" / "probabilities" / "one.npy")
    assert probabilities.shape == (2, 20, 30)
    np.testing.assert_array_equal(probabilities.argmax(0), np.asarray(Image.open(tmp_path / "out" / "masks" / "one.png")))


def test_instance_folder_is_readable_by_coco_tools(instance_file: Path, source: Path, tmp_path: Path) -> None:
    predictor = Predictor(instance_file, threads=1)
    predict_folder(predictor, source, tmp_path / "out", progress=False)
    out = tmp_path / "out"
    results = json.loads((out / "predictions.json").read_text())
    listed = json.loads((out / "images.json").read_text())
    assert {i["file_name"] for i in listed["images"]} == set(NAMES)
    assert listed["categories"] == [{"id": 1, "name": "bright"}]
    truth = COCO()
    truth.dataset = listed
    truth.createIndex()
    loaded = truth.loadRes(str(out / "predictions.json"))
    assert len(loaded.anns) == len(results) == 8
    [one] = [i for i in listed["images"] if i["file_name"] == "one.png"]
    assert (one["height"], one["width"]) == (20, 30)
    prediction = predictor(to_array(source / "one.png", ImageKind()))
    assert isinstance(prediction, InstancePrediction)
    mine = [r for r in results if r["file_name"] == "one.png"]
    assert [r["score"] for r in mine] == prediction.scores.tolist()
    for result, mask, box in zip(mine, prediction.masks, prediction.boxes, strict=True):
        np.testing.assert_array_equal(rle.decode(result["segmentation"]), mask)
        assert result["bbox"] == pytest.approx([box[0], box[1], box[2] - box[0], box[3] - box[1]])
    np.testing.assert_array_equal(np.asarray(Image.open(out / "masks" / "one.png")), instance_index(prediction, (20, 30)))


def test_in_the_index_the_better_object_lies_on_top() -> None:
    masks = np.zeros((2, 1, 3), np.bool_)
    masks[0, 0, :2] = masks[1, 0, 1:] = True
    few = InstancePrediction(np.array([0.9, 0.8], np.float32), np.array([1, 1]), np.zeros((2, 4), np.float32), masks)
    assert instance_index(few, (1, 3)).tolist() == [[1, 1, 2]]
    many = InstancePrediction(np.ones(300, np.float32), np.ones(300, np.int64), np.zeros((300, 4), np.float32), np.eye(300, dtype=np.bool_)[:, None])
    assert instance_index(many, (1, 300))[0].tolist() == list(range(1, 301))


def test_unreadable_images_are_told_at_the_end_and_the_others_are_done(semantic_file: Path, source: Path, tmp_path: Path) -> None:
    (source / "a_broken.png").write_bytes(b"no image")
    whole = (source / "one.png").read_bytes()
    (source / "deep" / "cut.png").write_bytes(whole[:400])
    text = b"zTXta\0\0" + zlib.compress(bytes(100_000_000))  # a text of 100 MB
    bomb = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    (source / "deep" / "text.png").write_bytes(whole[:33] + bomb + whole[33:])
    with pytest.raises(DataError) as caught:
        predict_folder(Predictor(semantic_file, threads=1), source, tmp_path / "out", progress=False)
    broken, cut, text_too_long, total = caught.value.problems
    assert "text.png is damaged or not readable" in text_too_long
    assert "a_broken.png is not an image" in broken
    assert "cut.png is damaged" in cut
    assert total == f"3 of 7 images could not be read. The other 4 are in {tmp_path / 'out'}."
    assert len(list((tmp_path / "out" / "masks").rglob("*.png"))) == 4


def test_an_earlier_output_inside_the_source_is_no_input(semantic_file: Path, source: Path) -> None:
    predictor = Predictor(semantic_file, threads=1)
    for _ in range(2):
        assert predict_folder(predictor, source, source / "out", progress=False) == 4


def test_nothing_to_predict(semantic_file: Path, tmp_path: Path) -> None:
    predictor = Predictor(semantic_file, threads=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        predict_folder(predictor, tmp_path / "empty", tmp_path / "out", progress=False)
    with pytest.raises(DataError, match="does not exist"):
        predict_folder(predictor, tmp_path / "nowhere", tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("hello")
    with pytest.raises(ModelError, match="not a readable ONNX model"):
        load_predictor(tmp_path / "model.onnx")


def test_prediction_needs_neither_torch_nor_mlflow(semantic_file: Path, source: Path, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "sys.modules |= dict.fromkeys(['torch', 'torchvision', 'lightning', 'mlflow'])\n"
        "from segline.inference.predict import load_predictor, predict_folder\n"
        "predict_folder(load_predictor(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]), progress=True)\n"
    )
    command = [sys.executable, "-c", script, str(semantic_file), str(source), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)}, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out" / "masks").rglob("*.png"))) == 4
