"""U-Net with a classification network as its encoder (after Ronneberger 2015), from segmentation_models_pytorch."""

from __future__ import annotations

import segmentation_models_pytorch as smp

from segline.models import encoded
from segline.models.encoded import check, statistics
from segline.models.semantic import SemanticNetwork
from segline.models.unet.settings import Settings

__all__ = ["build", "check", "statistics"]


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for an unknown encoder or weights that cannot be had."""
    return encoded.build(smp.Unet, settings, channels=channels, classes=classes)
