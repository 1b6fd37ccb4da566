"""What is exchanged for the export gives the same numbers, at any size; the network that was trained stays as it was."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import factories
import onnx
import pytest
import torch
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoderBlock
from torch import Tensor, nn
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.ops.poolers import MultiScaleRoIAlign, initLevelMapper

from segline.export.faster import faster
from segline.export.onnx import write_onnx
from segline.export.pooling import GatheredRoIAlign
from segline.export.strips import STRIPS, DecideByStrips, ResizeByChannels
from segline.export.subpixel import SubpixelBlock, SubpixelMasks, interleaved
from segline.models import catalog
from segline.models.semantic import SemanticNetwork
from segline.tasks import catalog as tasks
from segline.tasks.graph import EvalGraph, Resize
from segline.tasks.semantic.learning import Decide
from segline_runtime.specification import ClassInfo, Geometry, ImageKind, Specification

CLASSES = tuple(ClassInfo(i, f"class {i}", (40 * i, 90, 10), i > 0) for i in range(4))
SIZES = [(64, 96), (33, 20), (50, 130), (101, 103), (1, 1)]


def graph_of(arch: str, channels: int = 3, **changes: Any) -> EvalGraph:
    """With the norms' scales, shifts and statistics as various as after a training."""
    settings = factories.settings(arch, **changes)
    torch.manual_seed(0)
    network = catalog.build(settings, channels=channels, classes=len(CLASSES))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features) * 0.2
            module.running_var = torch.rand(module.num_features) + 0.5
    fit: Any = "native" if settings.task == "semantic" else "shorter_side"
    geometry = Geometry(fit, None if fit == "native" else (64, 96))
    kind = ImageKind(channels=channels)
    return tasks.learning(settings.task).graph(network, Specification(settings.task, arch, "d", CLASSES, geometry, (0.4,) * channels, (0.2,) * channels, kind))


def images(size: tuple[int, int], channels: int = 3, count: int = 1) -> Tensor:
    return torch.randint(0, 256, (count, *size, channels), dtype=torch.uint8)


def kinds(network: nn.Module) -> Counter[type[nn.Module]]:
    return Counter(type(module) for module in network.modules())


def assert_near(found: Tensor, wanted: Tensor) -> None:
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max().clamp(min=1)


@pytest.mark.parametrize(
    ("channels", "changes"),
    [
        (1, {}),
        (3, {"encoder": "resnet18"}),
        (3, {"norm": "group"}),
        (4, {"encoder": "resnet18", "norm": "group"}),
        (4, {"encoder": "tu-convnext_atto"}),  # has no features at half of the resolution: a skip connection of no channels
        (3, {"encoder": "vgg11_bn"}),  # has convolutions between encoder and decoder
    ],
    ids=str,
)
@torch.no_grad()
def test_a_unet_of_subpixels_is_the_same_unet_at_any_size(channels: int, changes: dict[str, Any]) -> None:
    graph = graph_of("unet", channels, **changes)
    before = {name: value.clone() for name, value in graph.state_dict().items()}
    made = faster(graph, images((64, 96), channels))
    assert kinds(made)[SubpixelBlock] == 5 and not kinds(made)[UnetDecoderBlock]
    for size in SIZES:
        shown = images(size, channels, count=2)
        assert_near(made(shown)[1], graph(shown)[1])
    assert kinds(graph)[UnetDecoderBlock] == 5 and not kinds(graph)[SubpixelBlock]
    assert graph.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in graph.state_dict().items())


@torch.no_grad()
def test_a_network_in_training_is_taken_as_it_predicts() -> None:
    graph = graph_of("unet")
    graph.network.train()
    shown = images((64, 96))
    made = faster(graph, shown)
    assert all(module.training for module in graph.network.modules())
    assert_near(made(shown)[1], graph(shown)[1])


class _Upsampled(EvalGraph):
    """One block of a decoder, to a size of choice."""

    def __init__(self, block: UnetDecoderBlock, times: float) -> None:
        nn.Module.__init__(self)
        self.network, self.times = nn.Sequential(block), times

    def forward(self, shown: Tensor) -> Tensor:
        height, width = (int(self.times * side) for side in shown.shape[2:])
        out: Tensor = self.network[0](shown, height, width, skip_connection=shown.new_ones(1, 3, height, width))
        return out


@pytest.mark.parametrize(
    ("times", "changes", "exchanged"),
    [(2, {}, True), (3, {}, False), (1, {}, False), (2, {"interpolation_mode": "bilinear"}, False), (2, {"attention_type": "scse"}, False)],
    ids=str,
)
@torch.no_grad()
def test_only_what_doubles_by_copying_is_exchanged(times: float, changes: dict[str, Any], exchanged: bool) -> None:
    shown = torch.randn(1, 29, 5, 7)
    graph = _Upsampled(UnetDecoderBlock(29, 3, 16, **changes), times)
    made = faster(graph, shown)
    assert bool(kinds(made)[SubpixelBlock]) is exchanged
    graph.network.eval()
    assert_near(made(shown), graph(shown))


@pytest.mark.parametrize("count", [0, 1, 7])
@torch.no_grad()
def test_masks_of_subpixels_are_the_same_masks(count: int) -> None:
    head = MaskRCNNPredictor(24, 16, 5).eval()
    features = torch.randn(count, 24, 14, 14)
    found, wanted = SubpixelMasks(head)(features), head(features)
    assert found.shape == wanted.shape == (count, 5, 28, 28)
    torch.testing.assert_close(found, wanted)


def test_interleaving_is_a_pixel_shuffle() -> None:
    phases = torch.randn(4, 2, 3, 5, 6)
    assert torch.equal(interleaved(list(phases)), nn.functional.pixel_shuffle(phases.permute(1, 2, 0, 3, 4).flatten(1, 2), 2))


@pytest.mark.parametrize("sides", [[], [10.0], [500.0, 12.0, 130.0, 7.0, 260.0, 900.0, 14.0, 300.0, 128.0]], ids=["none", "one level", "all levels"])
@pytest.mark.parametrize("pictures", [1, 2])
def test_pooling_by_one_gather_gives_torchvisions_numbers_to_the_last_bit(sides: list[float], pictures: int) -> None:
    pool = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    pool.scales, pool.map_levels = [2.0**-level for level in (2, 3, 4, 5)], initLevelMapper(2, 5)
    features = {str(i): torch.randn(pictures, 6, 256 >> i, 256 >> i) for i in range(4)} | {"pool": torch.randn(pictures, 6, 8, 8)}
    boxes = [torch.tensor([[3.5 + i, 9.0, 3.5 + i + side, 9.0 + side] for side in sides[i:]]).reshape(-1, 4) for i in range(pictures)]
    shapes = [(1024, 1024)] * pictures
    assert torch.equal(GatheredRoIAlign(pool)(features, boxes, shapes), pool(features, boxes, shapes))


@torch.no_grad()
def test_a_detector_with_its_parts_exchanged_finds_the_same() -> None:
    graph = graph_of("maskrcnn", predict={"score_threshold": 0.0, "max_detections": 10})
    made = faster(graph, images((64, 96)))
    assert kinds(made)[GatheredRoIAlign] == 2 and kinds(made)[SubpixelMasks] == 1
    assert not kinds(graph)[GatheredRoIAlign] and not kinds(graph)[SubpixelMasks]
    for size in SIZES[:3]:
        shown = images(size)
        for found, wanted in zip(made(shown), graph(shown), strict=True):
            assert_near(found.float(), wanted.float())


def test_the_exported_graphs_copy_no_pixels_before_a_convolution_and_scatter_nothing(tmp_path: Path) -> None:
    operators = {}
    for arch in ("unet", "maskrcnn"):
        graph = graph_of(arch)
        write_onnx(graph, graph.specification, tmp_path / f"{arch}.onnx", 18)
        operators[arch] = Counter(node.op_type for node in onnx.load(tmp_path / f"{arch}.onnx").graph.node)
    assert not operators["unet"]["Resize"]
    assert not operators["maskrcnn"]["ScatterElements"] and not operators["maskrcnn"]["ConvTranspose"]


def test_exchanges_are_of_the_export_alone() -> None:
    """Training again for the sake of a faster export would change nothing."""
    ours = {f"segline.export.{name}" for name in ("faster", "pooling", "subpixel")}
    networks = [f"{package}.network" for package in catalog.ARCHITECTURES.values()]
    assert ours <= factories.code().modules(["segline.export.stage"]).keys()
    assert not ours & factories.code().modules(["segline.training.train", "segline.evaluation.stage", *networks]).keys()


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (STRIPS - 1, 5), (97, 41), (64, 96)])
@pytest.mark.parametrize("seen", [(1, 1), (6, 9), (64, 96)])
@torch.no_grad()
def test_by_strips_the_classes_are_the_same(seen: tuple[int, int], size: tuple[int, int]) -> None:
    logits = torch.randn(2, 4, *seen)
    found, wanted = DecideByStrips()(logits, size), Decide()(logits, size)
    assert (found.shape, found.dtype) == ((2, *size), torch.uint8) and wanted.shape == found.shape
    assert (found != wanted).float().mean() < 0.002  # but where two are equal up to rounding


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("size", [(1, 1), (20, 70), (150, 33)])
@torch.no_grad()
def test_by_channels_an_image_is_resized_alike(size: tuple[int, int], channels: int) -> None:
    shown = images((61, 47), channels, count=2)
    torch.testing.assert_close(ResizeByChannels()(shown, size, 255.0), Resize()(shown, size, 255.0))


_PEAK = """
import resource, sys
import numpy as np
from segline_runtime.predictor import Predictor
predictor = Predictor(sys.argv[1], providers=["CPUExecutionProvider"], threads=1)
image = np.zeros((3000, 3000, 3), np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
predictor(image)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 9e6)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory in other units")
def test_a_large_image_takes_few_bytes_a_pixel(tmp_path: Path) -> None:
    """At once, of 8 classes, the logits alone would be 32, and the floats of 3 channels 12 more."""
    classes = tuple(ClassInfo(i, f"class {i}", (i, 0, 0), i > 0) for i in range(8))
    specification = Specification("semantic", "m", "d", classes, Geometry("stretch", (64, 96)), (0.4,) * 3, (0.2,) * 3)
    graph = tasks.learning("semantic").graph(SemanticNetwork(nn.Conv2d(3, 8, 3, padding=1), stride=1), specification)
    write_onnx(graph, specification, tmp_path / "model.onnx", 18)
    measured = subprocess.run([sys.executable, "-c", _PEAK, str(tmp_path / "model.onnx")], capture_output=True, text=True, check=True)
    assert float(measured.stdout) < 26
