"""Parity: what the proof of an equal model holds, that another model fails, and that a model which fails leaves nothing behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
import torch
from torch import nn

from segline import progress
from segline.data.store import PreparedDataset, Split
from segline.errors import DataError, ExportError, ModelError
from segline.export import stage
from segline.export.onnx import write_onnx
from segline.export.parity import latency, prove
from segline.export.stage import export
from segline.layout import ModelFolder
from segline.metrics import catalog
from segline.metrics.figures import figures
from segline.models.semantic import SemanticNetwork
from segline.tasks import catalog as tasks
from segline.tasks.graph import EvalGraph
from segline_runtime.predictions import SemanticPrediction
from segline_runtime.predictor import Predictor
from segline_runtime.specification import Geometry, ImageKind, Specification, Tile

CLASSES = factories.SQUARES
SPECIFICATION = Specification("semantic", "m", "d", CLASSES, Geometry("stretch", (32, 64)), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
SIZES = [(48, 64), (64, 50), (80, 80)]
TASK = tasks.get("semantic")
METRICS = [catalog.get(word) for word in TASK.metrics]


def graph(seed: int, specification: Specification = SPECIFICATION) -> EvalGraph:
    torch.manual_seed(seed)
    channels = specification.image.channels
    layers = nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, len(CLASSES), 3, padding=1))
    return tasks.learning("semantic").graph(SemanticNetwork(layers, stride=2), specification)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """Three images of different sizes, one without objects."""
    return factories.squares_dataset(tmp_path_factory.mktemp("squares"), SIZES)


@pytest.fixture(scope="module")
def split(dataset: PreparedDataset) -> Split:
    return dataset.split("test", ["index"])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(graph(0), SPECIFICATION, file, 18)
    return file


def proved(trained: EvalGraph, file: Path, split: Split, tolerance: float = 0.001) -> dict[str, Any]:
    return prove(trained, file, split, TASK, metrics=METRICS, tolerance=tolerance, latency_runs=3, opset=18, progress=False)


def test_the_proof_of_an_equal_model(file: Path, split: Split) -> None:
    proof = proved(graph(0), file, split)
    assert json.loads(json.dumps(proof, allow_nan=False)) == proof
    assert proof["passed"] is True
    assert proof["metric"] == "miou"
    assert 0 < proof["trained"] < 1
    assert proof["difference"] == abs(proof["trained"] - proof["onnx"]) <= 0.001
    assert proof["images"] == 3
    assert proof["worst"]["differing_pixels"]["value"] <= 0.001
    assert 0 < proof["worst"]["probability"]["value"] < 1e-4
    assert proof["worst"]["probability"]["image"] in {"image0", "image1", "image2"}
    assert [case["size"] for case in proof["other_sizes"]] == [[36, 48], [72, 96], [64, 48], [48, 64], [48, 64]]
    assert [case["input"] for case in proof["other_sizes"]] == ["scaled by 0.75", "scaled by 1.5", "transposed", "dark", "batch of two"]
    assert proof["latency"]["runs"] == 3
    assert 0 < proof["latency"]["median_ms"] <= proof["latency"]["p95_ms"]
    assert proof["latency"]["provider"] == "CPUExecutionProvider"
    assert proof["onnx_bytes"] == file.stat().st_size
    assert set(proof["versions"]) == {"torch", "torchvision", "onnx", "onnxruntime"}


def test_a_log_is_told_how_far_the_proof_is(file: Path, split: Split, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PAUSE_S", 0.0)
    prove(graph(0), file, split, TASK, metrics=METRICS, tolerance=0.001, latency_runs=1, opset=18)
    assert "ONNX parity: 1 of 3" in capsys.readouterr().err


def test_another_model_fails_with_both_figures(file: Path, split: Split) -> None:
    other = graph(1)
    scorer = TASK.scorer(CLASSES)
    for sample in split:
        scorer.add(SemanticPrediction(other.run(sample.image[None])["class_ids"][0]), sample)
    with pytest.raises(ExportError, match="not the trained model") as caught:
        proved(other, file, split)
    first = caught.value.problems[0]
    assert f"{figures(scorer.counts(), METRICS, CLASSES)['miou']:.6f} trained" in first
    assert f"{proved(graph(0), file, split)['onnx']:.6f} exported" in first


def test_what_shows_nothing_proves_nothing(file: Path, split: Split, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="Nothing is proved: test has no images"):
        proved(graph(0), file, split.part([]))
    ignored = factories.squares_dataset(tmp_path, [(2, 50)]).split("test", ["index"])  # its two topmost rows are ignored, and it has no others
    with pytest.raises(ExportError, match="Nothing is proved: miou is undefined on the 1 images of test"):
        proved(graph(0), file, ignored)


def test_a_graph_that_computes_something_else_fails_however_lenient_the_tolerance(file: Path, split: Split) -> None:
    with pytest.raises(ExportError, match="differing_pixels is"):
        proved(graph(1), file, split, tolerance=1.0)


def test_equal_graphs_of_other_preprocessing_are_not_equal(file: Path, split: Split) -> None:
    with pytest.raises(ExportError):
        proved(graph(0, replace(SPECIFICATION, mean=(0.0, 0.0, 0.9))), file, split)


@pytest.mark.parametrize("geometry", [Geometry("letterbox", (32, 64)), Geometry("native", None, Tile((32, 32), 8))], ids=lambda g: g.fit)
def test_other_fits_are_proved_too(tmp_path: Path, split: Split, geometry: Geometry) -> None:
    trained = graph(0, replace(SPECIFICATION, geometry=geometry))
    write_onnx(trained, trained.specification, tmp_path / "m.onnx", 18)
    proof = proved(trained, tmp_path / "m.onnx", split)
    assert proof["difference"] <= 0.001
    assert max(case["differing_pixels"] for case in proof["other_sizes"]) < 0.001


@pytest.mark.parametrize("kind", [ImageKind(channels=1), ImageKind(channels=5, dtype="float32", scale=1.0), ImageKind(dtype="uint16", scale=65535.0)])
def test_other_kinds_of_images_are_proved_too(tmp_path: Path, kind: ImageKind) -> None:
    data = factories.squares_dataset(tmp_path / "data", SIZES, image=kind)
    specification = replace(SPECIFICATION, image=kind, mean=(0.4,) * kind.channels, std=(0.2,) * kind.channels)
    write_onnx(graph(0, specification), specification, tmp_path / "m.onnx", 18)
    proof = proved(graph(0, specification), tmp_path / "m.onnx", data.split("test", ["index"]))
    assert 0 < proof["worst"]["probability"]["value"] < 1e-4
    assert max(case["differing_pixels"] for case in proof["other_sizes"]) < 0.001


def test_latency_is_of_the_whole_way_from_image_to_prediction(file: Path) -> None:
    found = latency(Predictor(file, threads=1), np.zeros((20, 30, 3), np.uint8), 5)
    assert found["image_size"] == [20, 30]
    assert found["batch"] == 1


@pytest.mark.parametrize("arch", ["unet", "maskrcnn"])
def test_the_stage(dataset: PreparedDataset, tmp_path: Path, arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ModelFolder(tmp_path / "models" / "m")
    plans = factories.plans("m", factories.settings(arch), dataset)
    with pytest.raises(ModelError, match="holds no trained model"):
        export(plans.export, folder, dataset, progress=False)
    factories.untrained(folder, plans.train, dataset)
    export(plans.export, folder, dataset, progress=False)
    proof = json.loads(folder.parity.read_text())
    assert proof["passed"] and proof["split_hash"] == plans.export.scored.hash and proof["opset"] == plans.export.opset
    assert Predictor(folder.onnx, threads=1).specification.geometry == plans.export.geometry
    state = torch.load(folder.weights, weights_only=True)
    learnt = sum(value.numel() for name, value in state.items() if not name.endswith(("running_mean", "running_var", "num_batches_tracked")))
    assert proof["cost"]["parameters"] == learnt and proof["cost"]["memory_bytes"] > 4 * learnt and proof["cost"]["multiply_adds"] > 1e6
    assert proof["cost"]["latency"]["median_ms"] > 0 and "Apache-2.0 (segline)" in proof["licences"]["code"]
    assert proof["licences"]["weights"] == "none needed: trained from scratch"

    def another(graph: EvalGraph, specification: Specification, file: Path, opset: int, **_: Any) -> None:
        """A file of other weights: what a broken exporter would leave."""
        for weight in graph.network.parameters():
            weight.data.mul_(-1.5)
        write_onnx(graph, specification, file, opset)
        for weight in graph.network.parameters():
            weight.data.div_(-1.5)

    if arch == "unet":
        monkeypatch.setattr(stage, "write_onnx", another)
        with pytest.raises(ExportError, match="not the trained model"):
            export(plans.export, folder, dataset, progress=False)
    else:
        with pytest.raises(DataError, match="is not the one that the plan was made for"):
            export(replace(plans.export, scored=replace(plans.export.scored, hash="other")), folder, dataset, progress=False)
    assert not folder.onnx.exists()
    assert not folder.parity.exists()
    assert not list(folder.path.glob(".*"))
