"""Parity: what agreement and disagreement look like, and that a model which fails leaves nothing behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle
from torch import nn

from segline.data.store import Split
from segline.errors import ExportError
from segline.export.disagreement import disagreement, match
from segline.export.onnx import write_onnx
from segline.export.parity import latency, prove
from segline.metrics.semantic import SemanticScorer
from segline.tasks.graphs import SemanticGraph
from segline_runtime.predictions import InstancePrediction, SemanticPrediction
from segline_runtime.predictor import Predictor
from segline_runtime.specification import ClassInfo, Specification

CLASSES = tuple(ClassInfo(i, f"class {i}", (40 * i, 90, 10), i > 0) for i in range(3))
SPECIFICATION = Specification("semantic", "m", "d", CLASSES, (32, 64), "stretch", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
SIZES = [(32, 64), (40, 30), (64, 64)]


def graph(seed: int, specification: Specification = SPECIFICATION) -> SemanticGraph:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, len(CLASSES), 3, padding=1))
    return SemanticGraph(network, specification)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Three images of different sizes, one without objects, with both kinds of truth."""
    folder = tmp_path_factory.mktemp("prepared") / "test"
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    images, annotations = [], []
    for i, (height, width) in enumerate(SIZES):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / "images" / f"{i}.png")
        mask = np.zeros((height, width), np.uint8)
        if i:
            mask[5:20, 6:25] = i
            encoded = rle.encode(np.asfortranarray(mask > 0).astype(np.uint8))
            segmentation = {"size": encoded["size"], "counts": encoded["counts"].decode()}
            annotations.append({"id": i, "image_id": i, "category_id": i, "bbox": [6, 5, 19, 15], "area": 285, "iscrowd": 0, "segmentation": segmentation})
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "height": height, "width": width})
    (folder / "instances.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    return Split(folder, ("index", "instances"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(graph(0), SPECIFICATION, file, 18)
    return file


def proved(trained: SemanticGraph, file: Path, split: Split, tolerance: float = 0.001) -> dict:
    return prove(trained, file, split, lambda: SemanticScorer(CLASSES), metric="miou", tolerance=tolerance, latency_runs=3, opset=18, progress=False)


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
    assert proof["worst"]["probability"]["image"] in {"0", "1", "2"}
    assert [case["size"] for case in proof["other_sizes"]] == [[24, 48], [48, 96], [64, 32], [32, 64], [32, 64]]
    assert proof["latency"]["runs"] == 3
    assert 0 < proof["latency"]["median_ms"] <= proof["latency"]["p95_ms"]
    assert proof["latency"]["provider"] == "CPUExecutionProvider"
    assert proof["onnx_bytes"] == file.stat().st_size
    assert set(proof["versions"]) == {"torch", "torchvision", "onnx", "onnxruntime"}


def test_another_model_fails_with_both_figures(file: Path, split: Split) -> None:
    other = graph(1)
    scorer = SemanticScorer(CLASSES)
    for sample in split:
        scorer.add(SemanticPrediction(other.run(sample.image[None])["class_ids"][0]), sample)
    with pytest.raises(ExportError, match="not the trained model") as caught:
        proved(other, file, split)
    first = caught.value.problems[0]
    assert f"{scorer.metrics()['miou']:.6f} trained" in first
    assert f"{proved(graph(0), file, split)['onnx']:.6f} exported" in first


def test_a_graph_that_computes_something_else_fails_however_lenient_the_tolerance(file: Path, split: Split) -> None:
    with pytest.raises(ExportError, match="differing_pixels is"):
        proved(graph(1), file, split, tolerance=1.0)


def test_latency_is_of_the_whole_way_from_image_to_prediction(file: Path) -> None:
    figures = latency(Predictor(file, threads=1), np.zeros((20, 30, 3), np.uint8), 5)
    assert figures["image_size"] == [20, 30]
    assert figures["batch"] == 1


def semantic(ids: list[list[int]], probability: float | None = None) -> SemanticPrediction:
    array = np.array(ids, np.uint8)
    return SemanticPrediction(array, None if probability is None else np.full((2, *array.shape), probability, np.float32))


def test_semantic_disagreement() -> None:
    figures = disagreement(semantic([[0, 1], [1, 1]], 0.5), semantic([[0, 1], [1, 0]], 0.75))
    assert figures == {"differing_pixels": 0.25, "probability": 0.25}
    assert disagreement(semantic([[0, 1]]), semantic([[0, 1]], 0.5)) == {"differing_pixels": 0.0}


def instances(boxes: list[list[float]], labels: list[int], scores: list[float]) -> InstancePrediction:
    masks = np.zeros((len(boxes), 40, 40), np.bool_)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[int(y0) : int(y1), int(x0) : int(x1)] = True
    return InstancePrediction(np.array(scores, np.float32), np.array(labels, np.int64), np.array(boxes, np.float32).reshape(-1, 4), masks)


def test_detections_are_matched_not_compared_by_place() -> None:
    boxes = [[0, 0, 10, 10], [20, 20, 30, 30], [0, 20, 10, 30]]
    first = instances(boxes, [1, 1, 2], [0.9, 0.8, 0.7])
    swapped = instances([boxes[1], boxes[0], boxes[2]], [1, 1, 2], [0.8, 0.9, 0.7])
    assert sorted(match(first, swapped)) == [(0, 1), (1, 0), (2, 2)]
    assert set(disagreement(first, swapped).values()) == {0.0}


def test_instance_disagreement() -> None:
    first = instances([[0, 0, 10, 10], [20, 20, 30, 30], [0, 20, 10, 30]], [1, 1, 2], [0.9, 0.8, 0.7])
    second = instances([[0, 0, 10, 8], [20, 20, 30, 30]], [1, 2], [0.6, 0.8])
    figures = disagreement(first, second)
    assert figures["box_px"] == 2
    assert figures["score"] == pytest.approx(0.3)
    assert figures["mask_iou_loss"] == pytest.approx(0.2)
    assert figures["unmatched"] == 3
    assert figures["unmatched_confident"] == pytest.approx(3 / 5)
    weak = instances([[0, 20, 10, 30], [30, 0, 40, 10]], [2, 1], [0.3, 0.2])
    assert disagreement(weak, instances([], [], []))["unmatched"] == 2
    assert disagreement(weak, instances([], [], []))["unmatched_confident"] == 0


def test_no_detections_agree() -> None:
    nothing, something = instances([], [], []), instances([[0, 0, 5, 5]], [1], [0.5])
    assert set(disagreement(nothing, nothing).values()) == {0.0}
    assert disagreement(nothing, something)["unmatched_confident"] == 1


def test_two_detections_of_one_object_need_two_partners() -> None:
    twice, once = instances([[0, 0, 10, 10], [0, 0, 10, 9]], [1, 1], [0.9, 0.8]), instances([[0, 0, 10, 9]], [1], [0.9])
    assert match(twice, once) == [(1, 0)]


def test_equal_graphs_of_other_preprocessing_are_not_equal(file: Path, split: Split) -> None:
    with pytest.raises(ExportError):
        proved(graph(0, replace(SPECIFICATION, mean=(0.0, 0.0, 0.9))), file, split)
