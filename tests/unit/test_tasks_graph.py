"""The graphs as torch runs them: in validation, evaluation and parity; alone, in batches and by windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import factories
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes

from segline.models import catalog
from segline.models.semantic import SemanticNetwork
from segline.tasks import catalog as tasks
from segline.tasks.graph import EvalGraph, evaluating
from segline.tasks.instance.disagreement import disagreement
from segline.tasks.predictor import GraphPredictor
from segline_runtime.predict import predict
from segline_runtime.predictions import SemanticPrediction
from segline_runtime.semantic import TASK as SEMANTIC
from segline_runtime.specification import ClassInfo, Geometry, ImageKind, Specification, Tile

CLASSES = tuple(ClassInfo(i, f"class {i}", (40 * i, 90, 10), i > 0) for i in range(4))
STRETCH = Geometry("stretch", (64, 96))
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SIZES = [(64, 96), (33, 20), (50, 130), (131, 50), (101, 103), (1, 1)]
KINDS = [ImageKind(), ImageKind(channels=1), ImageKind(channels=5, dtype="float32", scale=1.0), ImageKind(channels=2, dtype="uint16", scale=4095.0)]


def picture(height: int, width: int, seed: int = 0, kind: ImageKind | None = None) -> NDArray[Any]:
    kind = kind or ImageKind()
    small = torch.from_numpy(np.random.default_rng(seed).random((1, kind.channels, 6, 6), dtype=np.float32))
    large = functional.interpolate(small, size=(height, width), mode="bilinear")
    return (large[0].permute(1, 2, 0).numpy() * kind.scale).astype(kind.dtype)


def graph_of(arch: str, geometry: Geometry = STRETCH, kind: ImageKind | None = None, layers: nn.Module | None = None) -> EvalGraph:
    """Of a small network of the architecture, or of `layers`, which need no padding."""
    kind = kind or ImageKind()
    changes: dict[str, Any] = {}
    if arch == "maskrcnn":  # of a smaller encoder's random weights, near ties would let rounding pick the detections
        proposals = {"test_before_nms": 100, "test_after_nms": 50}
        changes = {"encoder": "resnet18", "proposals": proposals, "predict": {"score_threshold": 0.0, "max_detections": 15}}
    model = factories.settings(arch, **changes)
    torch.manual_seed(0)
    network = SemanticNetwork(layers, stride=1) if layers is not None else catalog.build(model, channels=kind.channels, classes=len(CLASSES))
    mean, std = (tuple(values[i % 3] for i in range(kind.channels)) for values in (MEAN, STD))
    return tasks.learning(model.task).graph(network, Specification(model.task, arch, "d", CLASSES, geometry, mean, std, kind))


def local_layers(kernel: int = 3, channels: int = 3) -> nn.Module:
    """Sees few pixels around each."""
    torch.manual_seed(0)
    around = kernel // 2
    return nn.Sequential(nn.Conv2d(channels, 8, kernel, padding=around), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, len(CLASSES), kernel, padding=around))


@pytest.mark.parametrize("arch", ["unet", "maskrcnn"])
def test_a_graph_is_never_in_training_mode_and_leaves_the_networks_mode_alone(arch: str) -> None:
    graph = graph_of(arch)
    network = graph.network
    network.train()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    norms[0].eval()
    modes = [module.training for module in network.modules()]
    statistics = norms[1].running_mean.clone()
    graph.train()
    assert not graph.training
    alone = graph.run(picture(20, 30)[None])
    if arch == "unet":
        together = graph.run(np.stack([picture(20, 30), picture(20, 30, seed=1)]))
        np.testing.assert_allclose(alone["logits"][0], together["logits"][0], atol=1e-5)  # batch norm would tie the images together
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(norms[1].running_mean, statistics)


@pytest.mark.parametrize("arch", ["unet", "maskrcnn"])
def test_the_graph_holds_no_second_copy_of_the_preprocessing(arch: str) -> None:
    assert not {"mean", "std"} & set(graph_of(arch).state_dict())


class _Unpasted(GeneralizedRCNNTransform):
    """torchvision's own, which leaves the masks in their boxes: it pastes them half a pixel aside."""

    def postprocess(self, result: list[dict[str, torch.Tensor]], image_shapes: Any, original_image_sizes: Any) -> list[dict[str, torch.Tensor]]:
        for found, seen, size in zip(result, image_shapes, original_image_sizes, strict=True):
            found["boxes"] = resize_boxes(found["boxes"], seen, size)
        return result


@pytest.mark.parametrize(
    ("geometry", "sizes"),
    [
        (Geometry("native", None), SIZES[:5]),
        (Geometry("shorter_side", (64, 96)), [(64, 96), (33, 20), (40, 64), (1, 1)]),
    ],  # torchvision shrinks without a filter
    ids=["native", "shorter_side"],
)
def test_the_instance_graph_is_maskrcnns_own_forward(geometry: Geometry, sizes: Sequence[tuple[int, int]]) -> None:
    graph = graph_of("maskrcnn", geometry)
    theirs = graph.network.network
    own = theirs.transform
    for size in sizes:
        image = picture(*size)
        least, most = geometry.size or (min(size), max(size))
        theirs.transform = _Unpasted(least, most, list(MEAN), list(STD))
        with evaluating(graph.network), torch.inference_mode():
            [found] = theirs([torch.from_numpy(image).permute(2, 0, 1) / 255])
        theirs.transform = own
        ours = graph.run(image[None])
        # Each with the nearest box of its class: where scores are nearly equal, rounding picks the order.
        apart = np.abs(ours["boxes"][:, None] - found["boxes"].numpy()[None]).max(axis=2)
        apart[ours["labels"][:, None] != found["labels"].numpy()[None]] = np.inf
        theirs_of = apart.argmin(axis=1)
        assert len(ours["scores"]) > 0
        assert sorted(theirs_of.tolist()) == list(range(len(found["scores"]))), "each has its own"
        assert apart.min(axis=1).max() < 1e-2
        np.testing.assert_allclose(ours["scores"], found["scores"].numpy()[theirs_of], atol=1e-4)
        np.testing.assert_allclose(ours["masks"], found["masks"].numpy()[theirs_of, 0], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.dtype}x{kind.channels}")
@pytest.mark.parametrize("geometry", [STRETCH, Geometry("letterbox", (64, 96)), Geometry("native", None)], ids=lambda geometry: geometry.fit)
def test_images_of_different_sizes_together_equal_single_ones(geometry: Geometry, kind: ImageKind) -> None:
    graph = graph_of("unet", geometry, kind, layers=local_layers(channels=kind.channels))
    predictor = GraphPredictor(graph, graph.specification)
    images = [picture(*size, seed=i, kind=kind) for i, size in enumerate([(40, 60), (33, 20), (40, 60), (64, 96), (33, 20)])]
    for image, together in zip(images, predictor(images), strict=True):
        [alone] = predictor([image])
        assert isinstance(together, SemanticPrediction) and isinstance(alone, SemanticPrediction)
        assert together.class_ids.shape == image.shape[:2]
        assert (together.class_ids != alone.class_ids).mean() < 0.005
        assert (alone.class_ids == graph.run(image[None])["class_ids"][0]).all()


def test_a_detector_takes_images_one_by_one() -> None:
    graph = graph_of("maskrcnn")
    images = [picture(40, 60, 0), picture(33, 20, 1), picture(40, 60, 2)]
    together = GraphPredictor(graph, graph.specification)(images)
    for image, found in zip(images, together, strict=True):
        alone = predict(graph.run, graph.specification, image)
        assert set(disagreement(found, alone).values()) == {0.0}  # type: ignore[arg-type]


def test_no_images_give_no_predictions() -> None:
    for arch in ("unet", "maskrcnn"):
        graph = graph_of(arch)
        assert GraphPredictor(graph, graph.specification)([]) == []


@pytest.mark.parametrize(("kernel", "differing", "probability"), [(1, 0.0, 1e-5), (3, 0.005, 0.05)])
def test_by_windows_it_says_nearly_what_it_says_in_one_pass(kernel: int, differing: float, probability: float) -> None:
    """Of a network that sees one pixel at a time the same; of others nearly, as a window's edge hides what lies behind it."""
    tiled = graph_of("unet", Geometry("native", None, Tile((48, 64), 16)), layers=local_layers(kernel))
    whole = graph_of("unet", Geometry("native", None), layers=local_layers(kernel))
    image = picture(130, 171)
    by_windows, in_one = (predict(graph.run, graph.specification, image, probabilities=True) for graph in (tiled, whole))
    figures = tasks.get("semantic").disagreement(by_windows, in_one)
    assert figures["differing_pixels"] <= differing
    assert figures["probability"] <= probability
    [without] = GraphPredictor(tiled, tiled.specification)([image])
    assert isinstance(without, SemanticPrediction) and isinstance(by_windows, SemanticPrediction)
    assert (without.class_ids == by_windows.class_ids).all()
    assert without.probabilities is None


@pytest.mark.parametrize("arch", ["unet", "maskrcnn"])
def test_an_image_within_one_tile_is_predicted_in_one_pass(arch: str) -> None:
    tiled, whole = graph_of(arch, Geometry("native", None, Tile((64, 96), 16))), graph_of(arch, Geometry("native", None))
    image = picture(50, 96)
    first, second = (GraphPredictor(graph, graph.specification)([image])[0] for graph in (tiled, whole))
    assert set(tasks.get(first.task).disagreement(first, second).values()) == {0.0}


def test_letterbox_shows_the_network_the_image_and_the_mean_beside_it() -> None:
    graph = graph_of("unet", Geometry("letterbox", (64, 96)), layers=local_layers())
    image = picture(32, 32)
    values = (torch.from_numpy(image).permute(2, 0, 1)[None] / 255 - graph.mean) / graph.std
    large = functional.interpolate(values, size=(64, 64), mode="bilinear", antialias=True)
    seen = functional.pad(large, (0, 32, 0, 0))
    with torch.inference_mode():
        logits = graph.network.eval()(seen)["logits"][:, :, :, :64]
        expected = functional.interpolate(logits, size=(32, 32), mode="bilinear")
    found = graph.run(image[None])
    np.testing.assert_allclose(found["logits"], logits.numpy(), atol=1e-5)
    np.testing.assert_array_equal(found["class_ids"], expected.argmax(1).numpy())


def test_an_image_of_the_networks_size_is_not_touched_by_any_fit() -> None:
    image = picture(64, 96)
    fits = [STRETCH, Geometry("shorter_side", (64, 96)), Geometry("letterbox", (64, 96)), Geometry("native", None)]
    found = [graph_of("unet", geometry).run(image[None])["logits"] for geometry in fits]
    for one in found[1:]:
        np.testing.assert_allclose(one, found[0], atol=1e-5)


def test_probabilities_are_brought_back_where_they_are_wanted() -> None:
    graph = graph_of("unet")
    assert set(graph.run(picture(20, 30)[None], False)) == {"class_ids"}
    found = graph.run(picture(20, 30)[None])
    assert set(found) == {"class_ids", "logits"}
    [decoded] = SEMANTIC.decode(found, (20, 30))
    assert decoded.probabilities is not None
    assert found["logits"].shape == (1, len(CLASSES), *STRETCH.size)  # type: ignore[misc]
    enlarged = functional.interpolate(torch.from_numpy(found["logits"]), size=(20, 30), mode="bilinear")[0]
    np.testing.assert_allclose(decoded.probabilities, enlarged.softmax(0), atol=1e-6)
    assert (decoded.class_ids == decoded.probabilities.argmax(0)).all()
