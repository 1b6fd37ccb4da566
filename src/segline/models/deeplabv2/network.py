"""DeepLab v2 (Chen, Papandreou, Kokkinos, Murphy, Yuille 2017).

A ResNet whose last stages keep the resolution and have holes in their kernels instead, and atrous spatial pyramid pooling (ASPP): on the same features one
3 × 3 convolution to the classes for each rate; their scores are summed and upsampled bilinearly. The paper's CRF is no part of the network.
"""

from __future__ import annotations

from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from segline.models import encoders
from segline.models.deeplabv2.settings import Settings
from segline.models.norm import to_group_norm
from segline.models.semantic import SemanticNetwork


class DeepLabV2(nn.Module):
    """Images `(B, C, H, W)`, H and W multiples of the output stride s → logits `(B, K, H / s, W / s)`."""

    def __init__(self, *, encoder_name: str, encoder_weights: str | None, in_channels: int, classes: int, output_stride: int, rates: list[int]) -> None:
        super().__init__()
        arguments: dict[str, Any] = {"in_channels": in_channels, "depth": 5, "weights": encoder_weights, "output_stride": output_stride}
        self.encoder: nn.Module = smp.encoders.get_encoder(encoder_name, **arguments)
        features: int = self.encoder.out_channels[-1]
        self.pyramid = nn.ModuleList(nn.Conv2d(features, classes, 3, padding=rate, dilation=rate) for rate in rates)
        for branch in self.pyramid:
            assert isinstance(branch, nn.Conv2d) and branch.bias is not None
            nn.init.normal_(branch.weight, std=0.01)
            nn.init.zeros_(branch.bias)

    def forward(self, images: Tensor) -> Tensor:
        features = self.encoder(images)[-1]
        return torch.stack([branch(features) for branch in self.pyramid]).sum(0)


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for an unknown encoder or weights that cannot be had."""
    more: dict[str, Any] = {"output_stride": settings.output_stride, "rates": settings.rates}
    network = encoders.smp_network(DeepLabV2, encoder=settings.encoder, weights=settings.weights, channels=channels, classes=classes, **more)
    encoder = network.encoder
    assert isinstance(encoder, nn.Module)
    if settings.norm == "group":
        to_group_norm(network)
    return SemanticNetwork(network, stride=settings.output_stride, encoder=encoder)


def check(settings: Settings) -> None:
    """Raises ModelError for an encoder or weights that there are not; asks no server."""
    encoders.check_smp(settings.encoder, settings.weights)


def statistics(settings: Settings) -> encoders.Statistics | None:
    """Mean and standard deviation that the encoder's weights expect."""
    return encoders.smp_statistics(settings.encoder, settings.weights)
