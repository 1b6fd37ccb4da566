"""The keys of `arch: unet`."""

from __future__ import annotations

from typing import ClassVar, Literal

from segline.models.encoder_settings import EncoderSettings


class Settings(EncoderSettings):
    """U-Net with a classification network as its encoder (after Ronneberger 2015), from segmentation_models_pytorch."""

    kept_bytes: ClassVar[int] = 1_300

    arch: Literal["unet"] = "unet"
