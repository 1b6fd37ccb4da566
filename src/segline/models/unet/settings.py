"""The keys of `arch: unet`."""

from __future__ import annotations

from typing import Literal

from segline.models.semantic_settings import SemanticSettings


class Settings(SemanticSettings):
    """U-Net with a classification network as its encoder (after Ronneberger 2015), from segmentation_models_pytorch."""

    arch: Literal["unet"] = "unet"
    encoder: str = "resnet18"  # any encoder of segmentation_models_pytorch, or `tu-<name>` for one of timm
    weights: str = "none"  # imagenet, none, or the path of a state-dict file for the encoder
    norm: Literal["batch", "group"] = "batch"  # group: group norm (at most 32 groups) in place of batch norm, for small batches
