"""HRNetV2 (Wang 2019) around an HRNet of timm: its four resolutions, enlarged to the finest and concatenated, through two 1×1 convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional

from segline.errors import ModelError
from segline.models import encoded
from segline.models.encoded import statistics
from segline.models.hrnet.settings import Settings
from segline.models.semantic import SemanticNetwork

__all__ = ["build", "check", "statistics"]

BRANCHES = 4


class HRNet(nn.Module):
    """The arguments are those of segmentation_models_pytorch's networks."""

    def __init__(self, encoder_name: str, encoder_weights: str | None, in_channels: int, classes: int) -> None:
        super().__init__()
        # Without a location timm gives the branches themselves, not what its classifier makes of them.
        self.encoder = smp.encoders.get_encoder(encoder_name, in_channels=in_channels, depth=5, weights=encoder_weights, feature_location="")
        channels = sum(self.encoder.out_channels[-BRANCHES:])
        self.decoder = Concatenation(channels)
        self.segmentation_head = nn.Conv2d(channels, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images `(B, C, H, W)` → logits `(B, K, H / 4, W / 4)`."""
        logits: Tensor = self.segmentation_head(self.decoder(self.encoder(images)))
        return logits


class Concatenation(nn.Module):
    """All branches at the finest one's resolution, mixed by a 1×1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mixed = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features of the encoder, the finest first → `(B, C1 + C2 + C3 + C4, H / 4, W / 4)`."""
        finest, *coarser = features[-BRANCHES:]
        size = (finest.shape[2], finest.shape[3])
        enlarged = (functional.interpolate(branch, size=size, mode="bilinear", align_corners=False) for branch in coarser)
        mixed: Tensor = self.mixed(torch.cat([finest, *enlarged], dim=1))
        return mixed


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for an unknown encoder or weights that cannot be had."""
    check(settings)
    return encoded.build(HRNet, settings, channels=channels, classes=classes, channel_dropout=settings.dropout)


def check(settings: Settings) -> None:
    """Raises ModelError for an encoder or weights that there are not, and for one that is no HRNet; asks no server."""
    encoded.check(settings)
    if not settings.encoder.startswith("tu-hrnet"):
        known = ", ".join(f"tu-{name}" for name in _hrnets())
        raise ModelError(f"The encoder '{settings.encoder}' is no HRNet. Choose one of {known}, or another `arch`.")


def _hrnets() -> Sequence[str]:
    import timm

    names: list[str] = timm.list_models("hrnet_*")
    return names
