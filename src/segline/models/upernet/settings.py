"""The keys of `arch: upernet`."""

from __future__ import annotations

from typing import ClassVar, Literal

from segline.models.encoder_settings import Auxiliary, EncoderSettings
from segline.settings import Count


class Settings(EncoderSettings):
    """UPerNet (Xiao 2018): pyramid pooling on top of a feature pyramid, from segmentation_models_pytorch."""

    kept_bytes: ClassVar[int] = 1_300

    arch: Literal["upernet"] = "upernet"
    decoder_channels: Count = 256  # of the pyramid; 512 in the paper
    auxiliary: Auxiliary = 0.0  # share of an auxiliary head at the encoder's last stage but one; 0.4 is usual
