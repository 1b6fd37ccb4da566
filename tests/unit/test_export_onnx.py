"""Graphs and their ONNX files: equal to torch at any size, for every fit, kind of image and exporter; small real networks with seeded random weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import factories
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from segline.export.onnx import write_onnx
from segline.models import catalog
from segline.models.semantic import SemanticNetwork
from segline.tasks import catalog as tasks
from segline.tasks.graph import EvalGraph
from segline.tasks.predictor import GraphPredictor
from segline_runtime.errors import InputError
from segline_runtime.predict import predict
from segline_runtime.predictions import InstancePrediction, Prediction, SemanticPrediction
from segline_runtime.predictor import Predictor
from segline_runtime.specification import METADATA_KEY, ClassInfo, Geometry, ImageKind, Specification, Tile

CLASSES = tuple(ClassInfo(i, f"class {i}", (40 * i, 90, 10), i > 0) for i in range(4))
OPSET = 18
SIZES = [(64, 96), (33, 20), (50, 130), (131, 50), (101, 103), (200, 300), (1, 1)]
"""As large as the network's input, smaller (enlarged), larger (shrunk, antialiased), of other proportions, odd."""

GEOMETRIES = [
    Geometry("stretch", (64, 96)),
    Geometry("shorter_side", (64, 96)),
    Geometry("letterbox", (64, 96)),
    Geometry("native", None),
    Geometry("native", None, Tile((48, 64), 16)),
]
KINDS = [ImageKind(channels=1), ImageKind(channels=5, dtype="float32", scale=1.0), ImageKind(channels=3, dtype="uint16", scale=65535.0)]
ARCHITECTURES = ("unet", "maskrcnn")


def name_of(value: Any) -> str:
    if isinstance(value, Geometry):
        return value.fit + ("-tile" if value.tile else "")
    return f"{value.dtype}x{value.channels}" if isinstance(value, ImageKind) else str(value)


def picture(height: int, width: int, seed: int = 0, kind: ImageKind | None = None) -> NDArray[Any]:
    """Smooth blobs of any kind: noise alone shows a network nothing."""
    kind = kind or ImageKind()
    small = torch.from_numpy(np.random.default_rng(seed).random((1, kind.channels, 6, 6), dtype=np.float32))
    large = nn.functional.interpolate(small, size=(height, width), mode="bilinear")
    return (large[0].permute(1, 2, 0).numpy() * kind.scale).astype(kind.dtype)


def specification(arch: str, geometry: Geometry, kind: ImageKind | None = None) -> Specification:
    kind = kind or ImageKind()
    mean, std = (tuple(values[i % 3] for i in range(kind.channels)) for values in ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))
    return Specification(factories.settings(arch).task, arch, "d", CLASSES, geometry, mean, std, kind)


def network(arch: str, channels: int = 3) -> nn.Module:
    """A detector shows all it has: with random weights nothing is certain. Of a smaller encoder's weights, near ties would let rounding pick the detections."""
    changes: dict[str, Any] = {}
    if arch == "maskrcnn":
        proposals = {"test_before_nms": 100, "test_after_nms": 50}
        changes = {"encoder": "resnet18", "proposals": proposals, "predict": {"score_threshold": 0.0, "max_detections": 15}}
    torch.manual_seed(0)
    return catalog.build(factories.settings(arch, **changes), channels=channels, classes=len(CLASSES))


def graph_of(arch: str, geometry: Geometry, kind: ImageKind | None = None) -> EvalGraph:
    spec = specification(arch, geometry, kind)
    return tasks.learning(spec.task).graph(network(arch, spec.image.channels), spec)


def exported(graph: EvalGraph, folder: Path, exporter: Literal["torchscript", "dynamo"] = "torchscript") -> Predictor:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an unexpected warning of the exporter is news
        write_onnx(graph, graph.specification, folder / "model.onnx", OPSET, exporter=exporter)
    return Predictor(folder / "model.onnx", threads=1)


def trained(graph: EvalGraph, image: NDArray[Any]) -> Prediction:
    return predict(graph.run, graph.specification, image, probabilities=True)


def assert_same(ours: Prediction, theirs: Prediction) -> None:
    """Up to rounding: a detection whose score is nearly another's, or an object at the edge of joining, may go either way."""
    figures = tasks.get(ours.task).disagreement(ours, theirs)
    if isinstance(ours, SemanticPrediction):
        assert figures["probability"] < 1e-3
        assert figures["differing_pixels"] < 0.005
        return
    assert isinstance(ours, InstancePrediction) and isinstance(theirs, InstancePrediction)
    assert len(ours.scores) > 0
    assert figures["unmatched"] == 0
    assert figures["box_px"] < 1e-2
    assert figures["score"] < 1e-4


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[EvalGraph, Predictor]]:
    """A graph and the predictor of its file, each made once."""
    made: dict[Any, tuple[EvalGraph, Predictor]] = {}

    def get(arch: str, geometry: Geometry = GEOMETRIES[0], kind: ImageKind | None = None) -> tuple[EvalGraph, Predictor]:
        key = (arch, geometry, kind)
        if key not in made:
            graph = graph_of(arch, geometry, kind)
            made[key] = graph, exported(graph, tmp_path_factory.mktemp(arch))
        return made[key]

    return get


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=name_of)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_onnx_equals_torch_at_several_sizes_in_one_session(exports: Any, arch: str, geometry: Geometry) -> None:
    graph, predictor = exports(arch, geometry)
    for size in SIZES:
        if geometry.tile is not None and size == (200, 300):
            continue  # forty windows
        image = picture(*size)
        theirs = predictor(image, probabilities=True)
        if isinstance(theirs, SemanticPrediction):
            assert theirs.class_ids.shape == size
            assert theirs.class_ids.dtype == np.uint8
            assert theirs.probabilities is not None
            assert theirs.probabilities.shape == (len(CLASSES), *size)
            np.testing.assert_allclose(theirs.probabilities.sum(0), 1, atol=1e-5)
        else:
            assert isinstance(theirs, InstancePrediction)
            assert theirs.masks.shape == (len(theirs.scores), *size)
        assert_same(trained(graph, image), theirs)


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_other_kinds_of_images(exports: Any, arch: str, kind: ImageKind) -> None:
    graph, predictor = exports(arch, GEOMETRIES[0], kind)
    assert predictor.specification == graph.specification
    for size in SIZES[:5]:
        image = picture(*size, kind=kind)
        assert_same(trained(graph, image), predictor(image, probabilities=True))
    with pytest.raises(InputError, match=f"must be {kind.dtype}"):
        predictor(picture(20, 30, kind=replace(kind, channels=kind.channels + 1)))


def test_deep_images_keep_their_depth(exports: Any) -> None:
    """Two pictures that are alike with 8 bits are different with 16."""
    _, predictor = exports("unet", GEOMETRIES[0], KINDS[2])
    image = picture(64, 96, kind=KINDS[2]) // 256 * 256
    first, second = (predictor(some, probabilities=True).probabilities for some in (image, image + 255))
    assert np.abs(first - second).max() > 1e-4


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_by_windows_graph_and_file_say_the_same(exports: Any, arch: str) -> None:
    graph, predictor = exports(arch, GEOMETRIES[4])
    images = [picture(*size, seed=seed) for seed, size in enumerate([(100, 150), (48, 64), (90, 30), (131, 97)])]
    ours = GraphPredictor(graph, graph.specification)(images)
    for one, other in zip(ours, predictor.predict(images), strict=True):
        figures = tasks.get(one.task).disagreement(one, other)
        assert figures.get("differing_pixels", 0.0) < 0.005
        assert figures.get("unmatched", 0.0) == 0


def test_the_fits_show_the_network_different_things(exports: Any) -> None:
    """Or the parity of the ones above would prove little."""
    image = picture(101, 203)
    shown = [exports("unet", geometry)[1](image, probabilities=True).probabilities for geometry in GEOMETRIES[:4]]
    for i, one in enumerate(shown):
        for other in shown[:i]:
            assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("geometry", [Geometry("stretch", (45, 70)), Geometry("native", None)], ids=name_of)
def test_a_small_network_by_both_exporters(tmp_path: Path, geometry: Geometry, exporter: Any) -> None:
    """The network's input is no multiple of its stride: it is padded, and cut again."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 4, stride=4), nn.Conv2d(8, len(CLASSES), 1))
    spec = specification("unet", geometry)
    graph = tasks.learning(spec.task).graph(SemanticNetwork(layers, stride=8), spec)
    predictor = exported(graph, tmp_path, exporter)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    for size in SIZES:
        image = picture(*size)
        assert_same(trained(graph, image), predictor(image, probabilities=True))
    batch = np.stack([picture(40, 60, seed) for seed in range(3)])
    np.testing.assert_allclose(graph.run(batch)["logits"], predictor.run(batch)["logits"], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("geometry", [GEOMETRIES[0], GEOMETRIES[3]], ids=name_of)
def test_the_unet_by_the_newer_exporter(tmp_path: Path, geometry: Geometry) -> None:
    graph = graph_of("unet", geometry)
    predictor = exported(graph, tmp_path, "dynamo")
    assert predictor.specification == graph.specification
    for size in SIZES:
        image = picture(*size)
        assert_same(trained(graph, image), predictor(image, probabilities=True))


def test_a_network_input_that_is_no_multiple_of_the_stride(tmp_path: Path) -> None:
    graph = graph_of("unet", Geometry("stretch", (45, 70)))
    predictor = exported(graph, tmp_path)
    for size in SIZES[:3]:
        image = picture(*size)
        assert_same(trained(graph, image), predictor(image, probabilities=True))


def test_semantic_batches_in_onnx(exports: Any) -> None:
    _, predictor = exports("unet")
    images = [picture(40, 60, seed) for seed in range(3)]
    together = predictor.run(np.stack(images))
    assert together["class_ids"].shape == (3, 40, 60)
    for i, image in enumerate(images):
        np.testing.assert_allclose(together["logits"][i], predictor.run(image[None])["logits"][0], atol=1e-5)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_export_leaves_the_networks_mode_alone(arch: str, tmp_path: Path) -> None:
    graph = graph_of(arch, GEOMETRIES[0])
    graph.network.train()
    modes = {name: module.training for name, module in graph.network.named_modules()}
    write_onnx(graph, graph.specification, tmp_path / "a.onnx", OPSET)
    assert {name: module.training for name, module in graph.network.named_modules()} == modes
    assert graph.network.training
    assert not graph.training
    assert [f.name for f in tmp_path.iterdir()] == ["a.onnx"]  # no weights beside it


def _threshold(graph: EvalGraph, value: float) -> None:
    graph.network.network.roi_heads.score_thresh = value


def test_images_without_detections(tmp_path: Path) -> None:
    graph = graph_of("maskrcnn", GEOMETRIES[1])
    _threshold(graph, 0.9999)
    predictor = exported(graph, tmp_path)
    for size in SIZES[:3]:
        prediction = predictor(picture(*size))
        assert isinstance(prediction, InstancePrediction)
        assert prediction.boxes.shape == (0, 4)
        assert prediction.masks.shape == (0, *size)


def test_an_export_traced_without_detections_still_detects(tmp_path: Path) -> None:
    """The tracing example may show nothing to the network; the graph must not have learned that."""
    graph = graph_of("maskrcnn", GEOMETRIES[1])
    example = (np.random.default_rng(0).random((1, 64, 96, 3)) * 255).astype(np.uint8)  # what write_onnx traces with
    quiet = graph.run(example)["scores"].max()
    louder = (255 * np.random.default_rng(seed).integers(0, 2, (64, 96, 3), dtype=np.uint8) for seed in range(20))
    image = max(louder, key=lambda some: graph.run(some[None])["scores"].max())
    loud = graph.run(image[None])["scores"].max()
    assert loud > quiet + 1e-4
    _threshold(graph, float(quiet + loud) / 2)
    assert len(graph.run(example)["scores"]) == 0
    predictor = exported(graph, tmp_path)
    assert_same(trained(graph, image), predictor(image))


def test_the_file_explains_itself(exports: Any, tmp_path: Path) -> None:
    graph, _ = exports("unet")
    exported(graph, tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    assert {p.key: p.value for p in model.metadata_props}[METADATA_KEY] == graph.specification.to_json()
    assert "uint8, (batch, height, width, 3)" in model.graph.input[0].doc_string
    assert model.opset_import[0].version == OPSET
    assert [v.name for v in model.graph.input] == ["images"]
    assert [v.name for v in model.graph.output] == ["class_ids", "logits"]
    assert "Softmax" not in {node.op_type for node in model.graph.node}  # it costs more than the rest of the graph where nobody asked for probabilities
    assert [d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim][:3] == ["batch", "height", "width"]
    instance, predictor = exports("maskrcnn", GEOMETRIES[1])
    assert [v.name for v in predictor.session.get_outputs()] == ["boxes", "labels", "scores", "masks"]
    assert predictor.specification == instance.specification
    of_floats = exports("unet", GEOMETRIES[0], KINDS[1])[1].session.get_inputs()[0]
    assert (of_floats.type, of_floats.shape[3]) == ("tensor(float)", 5)


def test_files_that_are_no_model_get_sentences(exports: Any, tmp_path: Path) -> None:
    graph, _ = exports("unet")
    with pytest.raises(InputError, match="no model file"):
        Predictor(tmp_path / "none.onnx")
    exported(graph, tmp_path)
    for content in (b"", b"hello", (tmp_path / "model.onnx").read_bytes()[:5000]):
        (tmp_path / "broken.onnx").write_bytes(content)
        with pytest.raises(InputError, match=r"broken.onnx (is not a readable|carries no)"):
            Predictor(tmp_path / "broken.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(InputError, match="carries no 'segline' metadata"):
        Predictor(tmp_path / "bare.onnx")


@pytest.mark.parametrize("image", [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5, 3)), np.zeros((0, 5, 3), np.uint8)])
def test_the_predictor_takes_rgb_bytes_alone(exports: Any, image: NDArray[Any]) -> None:
    with pytest.raises(InputError, match="RGB"):
        exports("unet")[1](image)
