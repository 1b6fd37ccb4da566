"""SegFormer (Xie 2021): a hierarchical transformer and a decoder of linear layers, from segmentation_models_pytorch."""

from __future__ import annotations

import segmentation_models_pytorch as smp

from segline.models import encoded
from segline.models.encoded import check, statistics
from segline.models.segformer.settings import Settings
from segline.models.semantic import SemanticNetwork

__all__ = ["build", "check", "statistics"]


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for an unknown encoder or weights that cannot be had."""
    return encoded.build(
        smp.Segformer, settings, channels=channels, classes=classes, channel_dropout=settings.dropout, decoder_segmentation_channels=settings.decoder_channels
    )
