"""The keys of `arch: deeplabv3plus`."""

from __future__ import annotations

from typing import ClassVar, Literal

from segline.models.aspp.settings import AsppSettings


class Settings(AsppSettings):
    """DeepLabV3+ (Chen 2018): DeepLabV3 with separable convolutions and a decoder, from segmentation_models_pytorch."""

    kept_bytes: ClassVar[int] = 900

    arch: Literal["deeplabv3plus"] = "deeplabv3plus"
