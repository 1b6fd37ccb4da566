"""Networks of segmentation_models_pytorch with atrous spatial pyramid pooling (Chen 2017): DeepLabV3, and V3+ that adds a decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from segline.models import encoded
from segline.models.aspp.settings import AsppSettings
from segline.models.semantic import SemanticNetwork

RATES: Mapping[int, tuple[int, int, int]] = {16: (6, 12, 18), 8: (12, 24, 36)}
"""By the encoder's output stride: at half the stride twice the rate sees as far."""


def build(architecture: Callable[..., nn.Module], settings: AsppSettings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for an unknown encoder or weights that cannot be had."""
    return encoded.build(
        architecture,
        settings,
        channels=channels,
        classes=classes,
        stride=settings.output_stride,
        auxiliary=settings.auxiliary,
        encoder_output_stride=settings.output_stride,
        decoder_channels=settings.decoder_channels,
        decoder_atrous_rates=RATES[settings.output_stride],
        decoder_aspp_dropout=settings.dropout,
    )
