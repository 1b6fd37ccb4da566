"""The keys of `arch: hrnet`."""

from __future__ import annotations

from typing import ClassVar, Literal

from segline.models.encoder_settings import Dropout, EncoderSettings


class Settings(EncoderSettings):
    """HRNetV2 (Wang 2019): four resolutions side by side throughout, enlarged and concatenated at the head; the encoder from timm."""

    kept_bytes: ClassVar[int] = 2_400

    arch: Literal["hrnet"] = "hrnet"
    encoder: str = "tu-hrnet_w18"  # tu-hrnet_w18_small, tu-hrnet_w18_small_v2, tu-hrnet_w18, … w30, w32, w40, w44, w48, w64
    dropout: Dropout = 0.0  # of whole channels, before the last convolution; the paper has none
