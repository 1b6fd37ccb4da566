"""U-Net with a classification network as its encoder (after Ronneberger 2015), from segmentation_models_pytorch."""

from __future__ import annotations

import segmentation_models_pytorch as smp
from torch import nn

from segline.models import encoders
from segline.models.norm import to_group_norm
from segline.models.semantic import SemanticNetwork
from segline.models.unet.settings import Settings


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for an unknown encoder or weights that cannot be had."""
    network: nn.Module = encoders.smp_network(smp.Unet, encoder=settings.encoder, weights=settings.weights, channels=channels, classes=classes)
    encoder = network.encoder
    assert isinstance(encoder, nn.Module)
    if settings.norm == "group":
        to_group_norm(network)
    return SemanticNetwork(network, stride=settings.stride, encoder=encoder)


def check(settings: Settings) -> None:
    """Raises ModelError for an encoder or weights that there are not; asks no server."""
    encoders.check_smp(settings.encoder, settings.weights)


def statistics(settings: Settings) -> encoders.Statistics | None:
    """Mean and standard deviation that the encoder's weights expect."""
    return encoders.smp_statistics(settings.encoder, settings.weights)
