"""The keys of the fully convolutional networks (Long 2015)."""

from __future__ import annotations

from typing import ClassVar, Literal

from segline.models.vgg.settings import VggSettings
from segline.settings import Fraction


class FcnSettings(VggSettings):
    """VGG-16 whose classifier has become convolutions."""

    kept_bytes: ClassVar[int] = 1_600

    dropout: Fraction = 0.5  # after fc6 and fc7, in training
    # transposed: convolutions set to bilinear interpolation, the last of which stays so, as in the paper; bilinear and nearest learn nothing
    upsample: Literal["transposed", "bilinear", "nearest"] = "transposed"
