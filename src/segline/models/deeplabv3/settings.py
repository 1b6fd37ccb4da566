"""The keys of `arch: deeplabv3`."""

from __future__ import annotations

from typing import ClassVar, Literal

from segline.models.aspp.settings import AsppSettings


class Settings(AsppSettings):
    """DeepLabV3 (Chen 2017): atrous convolutions at several rates beside image pooling, from segmentation_models_pytorch; without multi-grid."""

    kept_bytes: ClassVar[int] = 600

    arch: Literal["deeplabv3"] = "deeplabv3"
