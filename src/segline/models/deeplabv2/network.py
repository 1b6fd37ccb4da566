"""DeepLab v2 (Chen, Papandreou, Kokkinos, Murphy, Yuille 2017).

A ResNet whose last stages keep the resolution and have holes in their kernels instead, and atrous spatial pyramid pooling (ASPP): on the same features one
3 × 3 convolution to the classes for each rate; their scores are summed and upsampled bilinearly. The paper's CRF is no part of the network.
"""

from __future__ import annotations

from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from segline.models import encoded
from segline.models.deeplabv2.settings import Settings
from segline.models.encoded import check, statistics
from segline.models.semantic import SemanticNetwork

__all__ = ["build", "check", "statistics"]


class DeepLabV2(nn.Module):
    """Images `(B, C, H, W)`, H and W multiples of the output stride s → logits `(B, K, H / s, W / s)`."""

    def __init__(self, *, encoder_name: str, encoder_weights: str | None, in_channels: int, classes: int, output_stride: int, rates: list[int]) -> None:
        super().__init__()
        arguments: dict[str, Any] = {"in_channels": in_channels, "depth": 5, "weights": encoder_weights, "output_stride": output_stride}
        self.encoder: nn.Module = smp.encoders.get_encoder(encoder_name, **arguments)
        features: int = self.encoder.out_channels[-1]
        self.decoder = AtrousPyramid(features, classes, rates)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.encoder(images)[-1])
        return logits


class AtrousPyramid(nn.Module):
    """Features `(B, C, h, w)` → the sum of the scores of all rates, `(B, K, h, w)`."""

    def __init__(self, features: int, classes: int, rates: list[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(features, classes, 3, padding=rate, dilation=rate) for rate in rates)
        for branch in self.branches:
            assert isinstance(branch, nn.Conv2d) and branch.bias is not None
            nn.init.normal_(branch.weight, std=0.01)
            nn.init.zeros_(branch.bias)

    def forward(self, features: Tensor) -> Tensor:
        return torch.stack([branch(features) for branch in self.branches]).sum(0)


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for an unknown encoder or weights that cannot be had."""
    stride = settings.output_stride
    return encoded.build(DeepLabV2, settings, channels=channels, classes=classes, stride=stride, output_stride=stride, rates=settings.rates)
