"""PSPNet (Zhao 2017) around an encoder of segmentation_models_pytorch, whose own PSPNet pools another stage and has no auxiliary head."""

from __future__ import annotations

from collections.abc import Sequence

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from segline.models import encoded
from segline.models.encoded import check, statistics
from segline.models.pooling import SIZES, PyramidPooling
from segline.models.pspnet.settings import Settings
from segline.models.semantic import SemanticNetwork

__all__ = ["build", "check", "statistics"]


class PSPNet(nn.Module):
    """The arguments are those of segmentation_models_pytorch's networks."""

    def __init__(
        self, encoder_name: str, encoder_weights: str | None, in_channels: int, classes: int, *, output_stride: int, decoder_channels: int, dropout: float
    ) -> None:
        super().__init__()
        self.encoder = smp.encoders.get_encoder(encoder_name, in_channels=in_channels, depth=5, weights=encoder_weights, output_stride=output_stride)
        self.decoder = PyramidDecoder(self.encoder.out_channels[-1], decoder_channels, dropout)
        self.segmentation_head = nn.Conv2d(decoder_channels, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images `(B, C, H, W)` → logits `(B, K, H / output stride, W / output stride)`."""
        logits: Tensor = self.segmentation_head(self.decoder(self.encoder(images)))
        return logits


class PyramidDecoder(nn.Module):
    """Pyramid pooling of the deepest features, and a 3×3 convolution over what it gives."""

    def __init__(self, deepest: int, channels: int, dropout: float) -> None:
        """deepest: channels of the deepest features."""
        super().__init__()
        branch = max(1, deepest // len(SIZES))
        self.pyramid = PyramidPooling(deepest, branch)
        self.fused = nn.Sequential(
            nn.Conv2d(deepest + len(SIZES) * branch, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features of the encoder, the deepest last → `(B, channels, h, w)` at its size."""
        fused: Tensor = self.fused(self.pyramid(features[-1]))
        return fused


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for an unknown encoder or weights that cannot be had."""
    return encoded.build(
        PSPNet,
        settings,
        channels=channels,
        classes=classes,
        stride=settings.output_stride,
        auxiliary=settings.auxiliary,
        output_stride=settings.output_stride,
        decoder_channels=settings.decoder_channels,
        dropout=settings.dropout,
    )
