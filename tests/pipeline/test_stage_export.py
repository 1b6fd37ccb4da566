"""The stage `export` by its real entry point, on untrained networks and six tiny images."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TinyCheckout
from PIL import Image
from pycocotools import mask as rle

from segline import params
from segline.card import ModelCard
from segline.data.store import DatasetInfo, PreparedDataset
from segline.errors import DataError, ExportError, ModelError
from segline.export import stage
from segline.export.onnx import write_onnx
from segline.layout import Checkout, ModelFolder
from segline.provenance import Provenance, versions
from segline.tasks import registry as tasks
from segline.tasks.graphs import EvalGraph
from segline_runtime.predictor import Predictor
from segline_runtime.specification import ClassInfo, Specification

CLASSES = (ClassInfo(0, "background", (0, 0, 0), False), ClassInfo(1, "disc", (220, 60, 60), True), ClassInfo(2, "box", (60, 60, 220), True))
IMAGES = 3


def prepare(folder: Path) -> PreparedDataset:
    """A prepared data set with one split, `test`, of images with one box each."""
    rng = np.random.default_rng(0)
    (folder / "test" / "images").mkdir(parents=True)
    (folder / "test" / "masks").mkdir()
    images, annotations = [], []
    for i in range(IMAGES):
        size = (48 + 16 * i, 64)
        mask = np.zeros(size, np.uint8)
        mask[8:30, 10:40] = 2
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / "test" / "images" / f"{i}.png")
        Image.fromarray(mask).save(folder / "test" / "masks" / f"{i}.png")
        encoded = rle.encode(np.asfortranarray(mask > 0).astype(np.uint8))
        segmentation = {"size": encoded["size"], "counts": encoded["counts"].decode()}
        images.append({"id": i + 1, "file_name": f"{i}.png", "height": size[0], "width": size[1]})
        annotations.append({"id": i + 1, "image_id": i + 1, "category_id": 2, "bbox": [10, 8, 30, 22], "area": 660, "iscrowd": 0, "segmentation": segmentation})
    content = {"images": images, "annotations": annotations, "categories": [{"id": c.id, "name": c.name} for c in CLASSES if c.thing]}
    (folder / "test" / "instances.json").write_text(json.dumps(content))
    info = DatasetInfo(
        name="tiny",
        classes=CLASSES,
        axes="HWC",
        channels=3,
        dtype="uint8",
        mean=(0.5, 0.5, 0.5),
        std=(0.3, 0.3, 0.3),
        class_pixels=(1, 1, 1),
        class_image_pixels=(1, 1, 1),
        counts={"train": 0, "val": 0, "test": IMAGES},
        instance_counts={"test": IMAGES},
        truths=("index", "instances"),
        fingerprint="f",
        split_hashes={"test": "h" * 64},
        licence="none",
    )
    (folder / "dataset.json").write_text(json.dumps(info.to_dict()))
    return PreparedDataset(folder)


def untrained(folder: ModelFolder, settings: params.Params, info: DatasetInfo) -> None:
    """A model folder as `train` leaves it, with fresh weights."""
    model = settings.models[folder.name].model_dump(mode="json")
    task = tasks.get(model["task"])
    specification = Specification(task.name, folder.name, info.name, info.classes, settings.data.image_size, task.resize, mean=info.mean, std=info.std)
    torch.manual_seed(0)
    folder.path.mkdir(parents=True)
    torch.save(task.build(model, specification).state_dict(), folder.weights)
    training = {"metric": task.metric, "best_epoch": 0, "best": 0.0, "epochs": 1, "seconds": 1.0, "device": "cpu", "precision": "fp32", "parameter_count": 1}
    ModelCard(
        model=folder.name,
        task=task.name,
        parameters={"seed": 0, "image_size": list(settings.data.image_size), "model": model},
        specification=specification,
        provenance=Provenance("p", "d", "c"),
        dataset=info.to_dict(),
        versions=versions(),
        commit=None,
        experiment=None,
        training=training,
    ).write(folder.card)
    folder.history.write_text("epoch,train_loss\n0,1.0\n")


@pytest.fixture(scope="module")
def line(make_tiny_checkout) -> TinyCheckout:  # type: ignore[no-untyped-def]
    """A tiny checkout in which everything before export has run, so to speak."""
    checkout: TinyCheckout = make_tiny_checkout()
    dataset = prepare(checkout.root / "data" / "prepared")
    settings = params.read(checkout.params)
    for name in settings.models:
        untrained(Checkout(checkout.root).model(name), settings, dataset.info)
    return checkout


@pytest.mark.parametrize(("name", "metric"), [("unet", "miou"), ("maskrcnn", "mask_ap")])
def test_the_script_writes_the_model_and_its_proof(line: TinyCheckout, name: str, metric: str) -> None:
    line.run(sys.executable, "pipeline/export.py", name)
    folder = Checkout(line.root).model(name)
    proof = json.loads(folder.parity.read_text())
    assert proof["passed"] is True
    assert proof["metric"] == metric
    assert proof["difference"] <= proof["tolerance"] == 0.001
    assert proof["opset"] == 18
    assert proof["split"] == "test"
    assert proof["split_hash"] == "h" * 64
    assert proof["images"] == IMAGES
    assert proof["latency"]["runs"] == 2
    assert proof["sha256"] == hashlib.sha256(folder.onnx.read_bytes()).hexdigest()
    assert Predictor(folder.onnx, threads=1).specification == ModelCard.read(folder.card).specification
    assert sorted(f.name for f in folder.path.iterdir()) == ["history.csv", "model.json", "model.onnx", "parity.json", "weights.pt"]


def test_a_model_that_fails_parity_leaves_nothing(line: TinyCheckout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter is made to write a network whose last layer was lost on the way."""

    def write_something_else(graph: EvalGraph, specification: Specification, file: Path, opset: int) -> None:
        [bias] = [p for name, p in graph.network.named_parameters() if name.endswith("segmentation_head.0.bias")]
        kept = bias.detach().clone()
        with torch.no_grad():
            bias[2] += 100
            write_onnx(graph, specification, file, opset)
            bias.copy_(kept)

    monkeypatch.setattr(stage, "write_onnx", write_something_else)
    folder = Checkout(line.root).model("unet")
    folder.onnx.write_text("an earlier one")
    folder.parity.write_text("{}")
    with pytest.raises(ExportError, match=r"miou is 0\.\d+ trained and 0\.\d+ exported"):
        stage.export(folder, PreparedDataset(line.root / "data" / "prepared"), opset=18, tolerance=0.001, latency_runs=1, progress=False)
    assert sorted(f.name for f in folder.path.iterdir()) == ["history.csv", "model.json", "weights.pt"]


def test_mistakes_get_sentences(line: TinyCheckout, tmp_path: Path) -> None:
    done = line.run(sys.executable, "pipeline/export.py", "unett", check=False)
    assert done.returncode == 2
    assert "no model 'unett'" in done.stdout
    assert "Traceback" not in done.stdout
    dataset = PreparedDataset(line.root / "data" / "prepared")
    settings = {"opset": 18, "tolerance": 0.001, "latency_runs": 1, "progress": False}
    with pytest.raises(ModelError, match="no trained model"):
        stage.export(ModelFolder(tmp_path / "unet"), dataset, **settings)
    trained = Checkout(line.root).model("unet")
    content = json.loads((dataset.folder / "dataset.json").read_text())
    (tmp_path / "dataset.json").write_text(json.dumps(content | {"classes": content["classes"][:2]}))
    with pytest.raises(ModelError, match="was trained on the classes"):
        stage.export(trained, PreparedDataset(tmp_path), **settings)
    (tmp_path / "dataset.json").write_text(json.dumps(content | {"truths": ["instances"]}))
    with pytest.raises(DataError, match="learns from class masks"):
        stage.export(trained, PreparedDataset(tmp_path), **settings)
