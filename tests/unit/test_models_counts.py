"""As many weights as the publications say: of every architecture of the catalogue."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from segline.models import catalog

RESNET50, RESNET101 = 25_557_032 - (2048 * 1000 + 1000), 44_549_160 - (2048 * 1000 + 1000)
"""As torchvision records them, without the classifier."""

PSP_PYRAMID = 4 * (2048 * 512 + 2 * 512)
PSP_FUSED = 9 * 4096 * 512 + 2 * 512 + 512 * 19 + 19
PSP_AUXILIARY = 9 * 1024 * 256 + 2 * 256 + 256 * 19 + 19
"""1×1 and 3×3 convolutions, two weights per channel for each batch norm, a classifier of 19 classes."""

FARABET = (3 * 49 * 16 + 16) + (16 * 49 * 64 + 64) + (64 * 49 * 256 + 256) + (256 * 1024 + 1024) + (1024 * 11 + 11)
NNUNET_LOWEST_HEAD = 512 * 11 + 11

COUNTS: list[tuple[str, dict[str, Any], int, float, float]] = [
    # Long 2015, table 1, whose count leaves out the kernels of the interpolation: half a million for 11 classes upsampled 32 times.
    ("fcn32s", {}, 11, 134.0, 0.01),
    ("fcn16s", {}, 11, 134.0, 0.01),
    # As Jégou 2017 gives them for CamVid, in millions with one digit.
    ("fcn8s", {}, 11, 134.5, 0.002),
    ("segnet", {}, 11, 29.5, 0.003),
    ("deconvnet", {}, 11, 252.0, 0.002),
    ("tiramisu56", {}, 11, 1.5, 0.09),
    ("tiramisu67", {}, 11, 3.5, 0.02),
    ("tiramisu103", {}, 11, 9.4, 0.01),
    ("unet_2015", {}, 2, 31.0, 0.002),  # Ronneberger 2015's layers, as is usually told
    ("deeplabv1", {}, 21, 20.5, 0.002),  # Chen 2015
    # Xie 2021, table 1; Wang 2019 and its authors' code.
    ("segformer", {"encoder": "mit_b0"}, 150, 3.8, 0.02),
    ("segformer", {"encoder": "mit_b1"}, 150, 13.7, 0.01),
    ("segformer", {"encoder": "mit_b2", "decoder_channels": 768}, 150, 27.5, 0.01),
    ("hrnet", {"encoder": "tu-hrnet_w18_small"}, 19, 1.5, 0.05),
    ("hrnet", {"encoder": "tu-hrnet_w18_small_v2"}, 19, 3.9, 0.02),
    ("hrnet", {"encoder": "tu-hrnet_w48"}, 19, 65.8, 0.005),
    # By the papers' layers, where these give no count: exactly.
    ("patch", {}, 11, FARABET / 1e6, 1e-9),  # Farabet 2013 at one scale; each of its maps reads all maps before it
    ("deeplabv2", {}, 21, (RESNET101 + 4 * (3 * 3 * 2048 * 21 + 21)) / 1e6, 1e-9),
    ("pspnet", {"encoder": "resnet50"}, 19, (RESNET50 + PSP_PYRAMID + PSP_FUSED + PSP_AUXILIARY) / 1e6, 1e-9),
    # The authors' or the libraries' own networks: exactly.
    ("resenc_unet", {}, 11, (71_826_135 - NNUNET_LOWEST_HEAD) / 1e6, 1e-9),  # nnU-Net's dynamic_network_architectures 0.4.4, less a head it never trains
    ("deeplabv3", {"encoder": "resnet50", "auxiliary": 0.5}, 21, 42.004074, 1e-9),  # torchvision's deeplabv3_resnet50
    ("maskrcnn", {"encoder": "resnet50", "norm": "frozen"}, 91, 44.401393, 1e-9),  # torchvision's maskrcnn_resnet50_fpn
    ("unet", {"encoder": "resnet34"}, 1, 24.436369, 1e-9),  # segmentation_models_pytorch's, these and the following
    ("unetplusplus", {"encoder": "resnet34"}, 1, 26.078609, 1e-9),
    ("fpn", {"encoder": "resnet50"}, 19, 26.118355, 1e-9),
    ("upernet", {"encoder": "resnet50", "decoder_channels": 512}, 19, 64.038995, 1e-9),
    ("deeplabv3plus", {"encoder": "resnet50"}, 21, 26.682725, 1e-9),
]
"""Architecture, keys, classes, millions of weights, by what share of them it may differ."""


def test_every_architecture_has_a_published_count() -> None:
    assert {row[0] for row in COUNTS} == set(catalog.ARCHITECTURES)


@pytest.mark.parametrize(("arch", "keys", "classes", "millions", "tolerance"), COUNTS)
def test_as_many_weights_as_published(arch: str, keys: dict[str, Any], classes: int, millions: float, tolerance: float) -> None:
    settings = catalog.settings(arch).model_validate({"arch": arch, **keys})
    with torch.device("cpu" if arch == "segformer" else "meta"):  # its encoder reads numbers while it is built
        built = catalog.build(settings, channels=3, classes=classes)  # type: ignore[arg-type]
    assert sum(weight.numel() for weight in built.parameters()) / 1e6 == pytest.approx(millions, rel=tolerance)
