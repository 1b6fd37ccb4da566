"""FCN-32s (Long 2015): see `segline.models.fcn.network`."""

from __future__ import annotations

from segline.models.fcn import network
from segline.models.fcn32s.settings import Settings
from segline.models.semantic import SemanticNetwork
from segline.models.vgg.layers import statistics

__all__ = ["build", "statistics"]


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for weights that cannot be had."""
    return network.build(settings, channels=channels, classes=classes, finest=32)
