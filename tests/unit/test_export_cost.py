"""What export says of a model's cost and licences: multiply-adds and memory against sums by hand, licences against what their owners declare."""

from __future__ import annotations

import json
from pathlib import Path

import factories
import numpy as np
import pytest
import torch
from torch import nn

from segline.export.cost import PeakBytes, cost, timed
from segline.memory import storage
from segline.models import catalog, licences
from segline.models.semantic import SemanticNetwork
from segline.tasks import catalog as tasks
from segline.tasks.graph import EvalGraph
from segline_runtime.specification import Geometry, Specification, Tile

CLASSES = factories.SQUARES
SIZE = (32, 64)
IMAGE = np.zeros((*SIZE, 3), np.uint8)
OF_LAYERS = 8 * 3 * 9 * 32 * 64 + 3 * 8 * 9 * 16 * 32
"""Multiply-adds: outputs × inputs × kernel × pixels, of both convolutions."""


def graph(geometry: Geometry) -> EvalGraph:
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(8, len(CLASSES), 3, padding=1))
    specification = Specification("semantic", "m", "d", CLASSES, geometry, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    return tasks.learning("semantic").graph(SemanticNetwork(layers, stride=2), specification)


class TestCost:
    def test_it_is_what_the_layers_sum_up_to(self) -> None:
        found = cost(graph(Geometry("stretch", SIZE)), IMAGE, 3)
        assert found["multiply_adds"] == OF_LAYERS and found["parameters"] == 8 * 27 + 8 + 3 * 72 + 3
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert found["latency"]["median_ms"] > 0 and found["latency"]["image_size"] == list(SIZE)

    def test_every_window_counts(self) -> None:
        found = cost(graph(Geometry("native", None, Tile(SIZE, 0))), np.zeros((64, 128, 3), np.uint8), 1)
        assert found["multiply_adds"] == 4 * OF_LAYERS

    def test_memory_is_of_what_lives_at_the_same_time(self) -> None:
        layers = nn.Sequential(*[nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(6)])
        values = torch.zeros(1, 4, 64, 64)
        weights = {storage(value) for value in layers.parameters()}
        with torch.inference_mode(), PeakBytes(known=weights | {storage(values)}) as tensors:
            found = layers(values)
        assert tensors.peak == 2 * found.numel() * 4  # a layer's input and output, however many layers there are

    def test_views_and_work_in_place_need_nothing_more(self) -> None:
        with torch.inference_mode(), PeakBytes(known=set()) as tensors:
            values = torch.zeros(1000)
            values.view(10, 100)[2:].add_(1).relu_()
        assert tensors.peak == 4000

    def test_times_are_medians_of_what_was_run(self) -> None:
        calls: list[int] = []
        found = timed(lambda: calls.append(1), IMAGE, 5)
        assert len(calls) == 8 and found["runs"] == 5 and found["median_ms"] <= found["p95_ms"]


class TestLicences:
    @pytest.mark.parametrize(
        ("entry", "told"),
        [
            ({"arch": "unet"}, "none needed: trained from scratch"),
            ({"arch": "unet", "weights": "imagenet"}, "unknown: huggingface.co/smp-hub/resnet18.imagenet declares none"),
            ({"arch": "unet", "encoder": "tu-convnext_tiny", "weights": "imagenet"}, "apache-2.0 (timm convnext_tiny)"),
            ({"arch": "unet", "encoder": "tu-convnextv2_tiny", "weights": "imagenet"}, "cc-by-nc-4.0 (timm convnextv2_tiny)"),
            ({"arch": "segformer", "encoder": "mit_b0", "weights": "imagenet"}, "NVIDIA Source Code License for SegFormer (not for commercial use)"),
            ({"arch": "segnet", "weights": "imagenet"}, "unknown: torchvision declares none"),
            ({"arch": "maskrcnn", "weights": "imagenet"}, "unknown: torchvision declares none"),
            ({"arch": "unet", "weights": "own.pt"}, "unknown: those of the file own.pt"),
        ],
    )
    def test_of_weights(self, entry: dict[str, str], told: str) -> None:
        assert licences.of_weights(catalog.settings(entry["arch"]).model_validate(entry)) == told

    def test_of_what_is_made_of_others(self) -> None:
        made = catalog.settings("ensemble").model_validate({"arch": "ensemble", "of": ["a", "b", "c"]})
        members = [catalog.settings("unet").model_validate({"arch": "unet", "weights": weights}) for weights in ("none", "own.pt", "none")]
        assert licences.of_weights(made, members) == "none needed: trained from scratch; unknown: those of the file own.pt"

    def test_of_code_it_is_that_of_packages_and_of_single_files(self) -> None:
        network = catalog.build(factories.settings("segformer"), channels=3, classes=2)
        told = licences.of_code(network)
        assert "NVIDIA Source Code License for SegFormer (not for commercial use) (mix_transformer)" in told
        assert "MIT (segmentation_models_pytorch)" in told and "Apache-2.0 (segline)" in told and "(torch)" not in told

    def test_a_package_that_is_not_installed_has_an_unknown_one(self) -> None:
        class Stranger(nn.Module):
            pass

        Stranger.__module__ = "no_such_package.layers"
        assert licences.of_code(Stranger()) == "unknown (no_such_package)"

    def test_the_files_that_are_named_are_there_and_say_so(self) -> None:
        from importlib.util import find_spec

        for name in licences.OF_FILES:
            found = find_spec(name)
            assert found is not None and found.origin is not None
            assert "licens" in "\n".join(Path(found.origin).read_text().splitlines()[:10]).lower()
