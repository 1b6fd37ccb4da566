"""The keys of `arch: pspnet`."""

from __future__ import annotations

from typing import ClassVar, Literal

from segline.models.encoder_settings import Auxiliary, Dilated, Dropout, EncoderSettings
from segline.settings import Count


class Settings(EncoderSettings):
    """PSPNet (Zhao 2017): a dilated encoder, averages over grids of 1, 2, 3 and 6, and an auxiliary head in training."""

    kept_bytes: ClassVar[int] = 1_000

    arch: Literal["pspnet"] = "pspnet"
    output_stride: Dilated = 8  # by how much the encoder shrinks the image, 8 or 16: finer features cost time and memory
    decoder_channels: Count = 512  # after the pyramid
    dropout: Dropout = 0.1  # of whole channels, before the last convolution
    auxiliary: Auxiliary = 0.4  # share of the auxiliary head at the encoder's last stage but one
