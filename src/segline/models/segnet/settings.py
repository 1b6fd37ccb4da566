"""The keys of `arch: segnet`."""

from __future__ import annotations

from typing import ClassVar, Literal

from segline.models.upsampling.settings import Upsampling
from segline.models.vgg.settings import VggSettings


class Settings(VggSettings):
    """SegNet (Badrinarayanan 2015): VGG-16's convolutions and their mirror image, which unpools with the encoder's indices."""

    kept_bytes: ClassVar[int] = 4_500

    arch: Literal["segnet"] = "segnet"
    norm: Literal["none", "batch", "group", "inplace_abn"] = "batch"
    upsample: Upsampling = "max_unpool"  # how the decoder doubles the resolution; the paper's is max_unpool
