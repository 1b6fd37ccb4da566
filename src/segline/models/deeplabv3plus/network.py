"""DeepLabV3+ (Chen 2018): DeepLabV3 with separable convolutions and a decoder, from segmentation_models_pytorch."""

from __future__ import annotations

import segmentation_models_pytorch as smp

from segline.models.aspp import network
from segline.models.deeplabv3plus.settings import Settings
from segline.models.encoded import check, statistics
from segline.models.semantic import SemanticNetwork

__all__ = ["build", "check", "statistics"]


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for an unknown encoder or weights that cannot be had."""
    return network.build(smp.DeepLabV3Plus, settings, channels=channels, classes=classes)
