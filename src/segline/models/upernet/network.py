"""UPerNet (Xiao 2018): pyramid pooling on top of a feature pyramid, from segmentation_models_pytorch."""

from __future__ import annotations

import segmentation_models_pytorch as smp

from segline.models import encoded
from segline.models.encoded import check, statistics
from segline.models.semantic import SemanticNetwork
from segline.models.upernet.settings import Settings

__all__ = ["build", "check", "statistics"]


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for an unknown encoder or weights that cannot be had."""
    return encoded.build(smp.UPerNet, settings, channels=channels, classes=classes, auxiliary=settings.auxiliary, decoder_channels=settings.decoder_channels)
