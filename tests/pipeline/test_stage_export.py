"""The stage `export` by its real entry point, on untrained networks and six tiny images."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import factories
import numpy as np
import pytest
import torch
from conftest import TinyCheckout

from segline.card import ModelCard
from segline.data.formats.base import SourceObject
from segline.data.images import png
from segline.data.store import DatasetInfo, PreparedDataset
from segline.data.writer import SplitWriter
from segline.errors import DataError, ExportError, ModelError
from segline.export import stage
from segline.export.onnx import write_onnx
from segline.layout import Checkout, ModelFolder
from segline.plan import plans
from segline.tasks.graph import EvalGraph
from segline_runtime.predictor import Predictor
from segline_runtime.specification import ClassInfo, ImageKind, Specification

CLASSES = (ClassInfo(0, "background", (0, 0, 0), False), ClassInfo(1, "disc", (220, 60, 60), True), ClassInfo(2, "box", (60, 60, 220), True))
IMAGES = 3


def prepare(folder: Path) -> PreparedDataset:
    """A prepared data set of which one split, `test`, is there: images with one box each."""
    rng = np.random.default_rng(0)
    writer = SplitWriter(folder / "test", ("index", "instances"))
    for i in range(IMAGES):
        size = (48 + 16 * i, 64)
        mask = np.zeros(size, np.uint8)
        mask[8:30, 10:40] = 2
        writer.add(f"{i}", ".png", png(rng.integers(0, 256, (*size, 3), dtype=np.uint8)), size, mask, [SourceObject(2, mask > 0)])
    writer.finish()
    info = DatasetInfo(
        name="tiny",
        classes=CLASSES,
        image=ImageKind(),
        mean=(0.5, 0.5, 0.5),
        std=(0.3, 0.3, 0.3),
        class_pixels=(1, 1, 1),
        class_image_pixels=(1, 1, 1),
        counts={"train": IMAGES, "test": IMAGES},
        instance_counts={"test": IMAGES},
        truths=("index", "instances"),
        fingerprint="f",
        split_hashes={"train": "t" * 64, "test": "h" * 64},
        licence="none",
    )
    (folder / "dataset.json").write_text(json.dumps(info.to_dict()))
    return PreparedDataset(folder)


@pytest.fixture(scope="module")
def line(make_tiny_checkout) -> TinyCheckout:  # type: ignore[no-untyped-def]
    """A tiny checkout in which everything before export has run, so to speak."""
    checkout: TinyCheckout = make_tiny_checkout()
    dataset = prepare(checkout.root / "data" / "prepared")
    checkout.run("python", "pipeline/plan.py")
    place = Checkout(checkout.root)
    for name in ("unet", "maskrcnn"):
        factories.untrained(place.model(name), plans.read(plans.TrainPlan, place.plan(name).train), dataset)
    return checkout


def plan_of(line: TinyCheckout, name: str) -> plans.ExportPlan:
    return plans.read(plans.ExportPlan, Checkout(line.root).plan(name).export)


@pytest.mark.parametrize(("name", "metric"), [("unet", "miou"), ("maskrcnn", "mask_ap")])
def test_the_script_writes_the_model_and_its_proof(line: TinyCheckout, name: str, metric: str) -> None:
    line.run("python", "pipeline/export.py", name)
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
    assert sorted(f.name for f in folder.path.iterdir()) == ["history.csv", "model.json", "model.onnx", "parity.json", "trained_on.json", "weights.pt"]


def test_a_model_that_fails_parity_leaves_nothing(line: TinyCheckout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter is made to write a network whose last layer was lost on the way."""

    def write_something_else(graph: EvalGraph, specification: Specification, file: Path, opset: int, *, exporter: str) -> None:
        [bias] = [p for name, p in graph.network.named_parameters() if name.endswith("segmentation_head.0.bias")]
        kept = bias.detach().clone()
        with torch.no_grad():
            bias[2] += 100
            write_onnx(graph, specification, file, opset, exporter=exporter)
            bias.copy_(kept)

    monkeypatch.setattr(stage, "write_onnx", write_something_else)
    folder = Checkout(line.root).model("unet")
    folder.onnx.write_text("an earlier one")
    folder.parity.write_text("{}")
    with pytest.raises(ExportError, match=r"miou is 0\.\d+ trained and 0\.\d+ exported"):
        stage.export(plan_of(line, "unet"), folder, PreparedDataset(line.root / "data" / "prepared"), progress=False)
    assert sorted(f.name for f in folder.path.iterdir()) == ["history.csv", "model.json", "trained_on.json", "weights.pt"]


def test_mistakes_get_sentences(line: TinyCheckout, tmp_path: Path) -> None:
    done = line.run("python", "pipeline/export.py", "unett", check=False)
    assert done.returncode == 2
    assert "no model 'unett'" in done.stdout
    assert "Traceback" not in done.stdout
    dataset = PreparedDataset(line.root / "data" / "prepared")
    plan = plan_of(line, "unet")
    with pytest.raises(ModelError, match="no trained model"):
        stage.export(plan, ModelFolder(tmp_path / "unet"), dataset, progress=False)
    trained = Checkout(line.root).model("unet")
    with pytest.raises(ModelError, match="was trained on the classes"):
        stage.export(replace(plan, classes=plan.classes[:2]), trained, dataset, progress=False)
    content = json.loads((dataset.folder / "dataset.json").read_text())
    (tmp_path / "dataset.json").write_text(json.dumps(content | {"truths": ["instances"]}))
    with pytest.raises(DataError, match="has no class masks"):
        stage.export(plan, trained, PreparedDataset(tmp_path), progress=False)
    (tmp_path / "dataset.json").write_text(json.dumps(content | {"split_hashes": {"train": "t" * 64, "test": "other"}}))
    with pytest.raises(DataError, match="is not the one that the plan was made for"):
        stage.export(plan, trained, PreparedDataset(tmp_path), progress=False)
    assert not trained.onnx.exists() and not trained.parity.exists()


def test_a_missing_plan_is_told(line: TinyCheckout) -> None:
    file = Checkout(line.root).plan("unet").export
    kept = file.read_text()
    try:
        file.unlink()
        done = line.run("python", "pipeline/export.py", "unet", check=False)
    finally:
        file.write_text(kept)
    assert done.returncode == 2
    assert "run `dvc repro plan` (or `python pipeline/plan.py`) to make it" in done.stdout
    assert "Traceback" not in done.stdout
