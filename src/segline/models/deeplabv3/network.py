"""DeepLabV3 (Chen 2017): atrous convolutions at several rates beside image pooling, from segmentation_models_pytorch; without multi-grid."""

from __future__ import annotations

import segmentation_models_pytorch as smp

from segline.models import atrous, encoded
from segline.models.deeplabv3.settings import Settings
from segline.models.encoded import check, statistics
from segline.models.semantic import SemanticNetwork

__all__ = ["build", "check", "statistics"]


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for an unknown encoder or weights that cannot be had."""
    return encoded.build(
        smp.DeepLabV3,
        settings,
        channels=channels,
        classes=classes,
        stride=settings.output_stride,
        auxiliary=settings.auxiliary,
        encoder_output_stride=settings.output_stride,
        decoder_channels=settings.decoder_channels,
        decoder_atrous_rates=atrous.RATES[settings.output_stride],
        decoder_aspp_dropout=settings.dropout,
    )
