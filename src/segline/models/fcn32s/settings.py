"""The keys of `arch: fcn32s`."""

from __future__ import annotations

from typing import Literal

from segline.models.fcn.settings import FcnSettings


class Settings(FcnSettings):
    """FCN-32s (Long 2015): VGG-16 as a fully convolutional network, the scores of fc7 alone, upsampled 32 times."""

    arch: Literal["fcn32s"] = "fcn32s"
