"""Semantic FPN (Lin 2017; Kirillov 2019): a pyramid of features, each level upsampled and summed, from segmentation_models_pytorch."""

from __future__ import annotations

import segmentation_models_pytorch as smp

from segline.models import encoded
from segline.models.encoded import check, statistics
from segline.models.fpn.settings import Settings
from segline.models.semantic import SemanticNetwork

__all__ = ["build", "check", "statistics"]


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for an unknown encoder or weights that cannot be had."""
    return encoded.build(
        smp.FPN,
        settings,
        channels=channels,
        classes=classes,
        decoder_pyramid_channels=settings.pyramid_channels,
        decoder_segmentation_channels=settings.decoder_channels,
        decoder_dropout=settings.dropout,
    )
