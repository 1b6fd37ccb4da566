"""The keys of `arch: deeplabv1`."""

from __future__ import annotations

from typing import ClassVar, Literal

from segline.models.crf.settings import Refined
from segline.models.vgg.settings import VggSettings
from segline.settings import Count, Fraction


class Settings(Refined, VggSettings):
    """DeepLab-LargeFOV (Chen 2015): VGG-16 kept at stride 8 by convolutions with holes, one of which sees far."""

    stride: ClassVar[int] = 8
    kept_bytes: ClassVar[int] = 2_100

    arch: Literal["deeplabv1"] = "deeplabv1"
    rate: Count = 12  # distance of the holes in fc6: the larger, the further it sees
    dropout: Fraction = 0.5  # after fc6 and fc7, in training
