"""The keys of `arch: unetplusplus`."""

from __future__ import annotations

from typing import ClassVar, Literal

from segline.models.encoder_settings import EncoderSettings


class Settings(EncoderSettings):
    """U-Net++ (Zhou 2018): a U-Net whose skip connections are dense blocks, from segmentation_models_pytorch; without deep supervision."""

    kept_bytes: ClassVar[int] = 3_200

    arch: Literal["unetplusplus"] = "unetplusplus"
