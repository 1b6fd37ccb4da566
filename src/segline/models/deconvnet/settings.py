"""The keys of `arch: deconvnet`."""

from __future__ import annotations

from typing import ClassVar, Literal

from segline.models.upsampling.settings import Upsampling
from segline.models.vgg.settings import VggSettings


class Settings(VggSettings):
    """DeconvNet (Noh 2015): VGG-16 with its dense layers, mirrored by unpooling and transposed convolutions."""

    kept_bytes: ClassVar[int] = 5_000

    arch: Literal["deconvnet"] = "deconvnet"
    norm: Literal["none", "batch", "group", "inplace_abn"] = "batch"
    upsample: Upsampling = "max_unpool"  # how the decoder doubles the resolution; the paper's is max_unpool
