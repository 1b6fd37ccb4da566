"""U-Net with a classification network as its encoder (after Ronneberger 2015), from segmentation_models_pytorch."""

from __future__ import annotations

import segmentation_models_pytorch as smp
from torch import nn

from segline.models import weights as starting


def build(*, encoder: str, weights: str, channels: int, classes: int) -> nn.Module:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`; H and W must be multiples of 32.

    `encoder` is any of segmentation_models_pytorch or `tu-<name>` of timm. Raises ModelError for an unknown encoder or weights that cannot be had.
    """
    if not encoder.startswith("tu-") and encoder not in smp.encoders.encoders:
        raise starting.unknown("encoder", encoder, smp.encoders.encoders)
    imagenet = starting.IMAGENET if weights == starting.IMAGENET else None
    try:
        network: nn.Module = smp.Unet(encoder_name=encoder, encoder_weights=imagenet, in_channels=channels, classes=classes)
    except (OSError, RuntimeError, KeyError) as error:
        if encoder.startswith("tu-") and "Unknown model" in str(error):
            import timm

            raise starting.unknown("encoder", encoder, (f"tu-{name}" for name in timm.list_models())) from None
        if imagenet:
            raise starting.unreachable(encoder, error) from None
        raise
    if weights not in (starting.IMAGENET, starting.NONE):
        assert isinstance(network.encoder, nn.Module)
        starting.load_encoder(network.encoder, weights)
    return network
