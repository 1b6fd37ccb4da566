"""The keys of `arch: unet_2015`."""

from __future__ import annotations

from typing import ClassVar, Literal

from segline.models.semantic_settings import SemanticSettings
from segline.settings import Count, Fraction


class Settings(SemanticSettings):
    """The original U-Net (Ronneberger 2015), from scratch; `unet` is the one with an encoder that can be pre-trained."""

    stride: ClassVar[int] = 16

    arch: Literal["unet_2015"] = "unet_2015"
    # valid, as in the paper: convolutions shrink their maps, and the image is mirrored at its borders by what they take; same: maps keep their size, which is
    # several times as fast on small images
    padding: Literal["valid", "same"] = "valid"
    width: Count = 64  # channels of the first level; each level down has twice as many
    dropout: Fraction = 0.5  # at the end of the way down, in training
    norm: Literal["none", "batch", "group"] = "none"  # after each convolution; the paper's network has none
    # how the way up doubles the resolution; the paper's is a transposed convolution of kernel 2. max_unpool does not fit maps that shrink
    upsample: Literal["nearest", "bilinear", "bed_of_nails", "transposed"] = "transposed"
