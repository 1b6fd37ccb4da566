"""The keys of `arch: deeplabv3plus`."""

from __future__ import annotations

from typing import Literal

from segline.models.encoder_settings import Auxiliary, Dilated, Dropout, EncoderSettings
from segline.settings import Count


class Settings(EncoderSettings):
    """DeepLabV3+ (Chen 2018): DeepLabV3 with separable convolutions and a decoder, from segmentation_models_pytorch."""

    arch: Literal["deeplabv3plus"] = "deeplabv3plus"
    output_stride: Dilated = 16  # by how much the encoder shrinks the image, 8 or 16: finer features cost time and memory
    decoder_channels: Count = 256  # of each branch of the atrous pyramid, and after it
    dropout: Dropout = 0.5  # after the atrous pyramid
    auxiliary: Auxiliary = 0.0  # share of an auxiliary head at the encoder's last stage but one; the paper has none, torchvision trains with 0.5
