"""U-Net++ (Zhou 2018): a U-Net whose skip connections are dense blocks, from segmentation_models_pytorch; without deep supervision."""

from __future__ import annotations

import segmentation_models_pytorch as smp

from segline.models import encoded
from segline.models.encoded import check, statistics
from segline.models.semantic import SemanticNetwork
from segline.models.unetplusplus.settings import Settings

__all__ = ["build", "check", "statistics"]


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for an unknown encoder or weights that cannot be had."""
    return encoded.build(smp.UnetPlusPlus, settings, channels=channels, classes=classes)
