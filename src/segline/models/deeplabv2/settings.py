"""The keys of `arch: deeplabv2`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segline.models.encoder_settings import Dilated, EncoderSettings
from segline.settings import Count


class Settings(EncoderSettings):
    """DeepLab v2 (Chen 2017): ResNet-101 with holes, and on it a pyramid of convolutions that see differently far."""

    arch: Literal["deeplabv2"] = "deeplabv2"
    encoder: str = "resnet101"  # any encoder of segmentation_models_pytorch that can be dilated, or `tu-<name>` for one of timm
    norm: Literal["batch", "group"] = "batch"  # group: group norm (at most 32 groups) in place of batch norm, for small batches
    output_stride: Dilated = 8  # of the encoder's last feature map
    rates: list[Count] = Field(default=[6, 12, 18, 24], min_length=1)  # distances of the holes in the pyramid's branches
