"""The keys of `arch: fcn16s`."""

from __future__ import annotations

from typing import Literal

from segline.models.fcn.settings import FcnSettings


class Settings(FcnSettings):
    """FCN-16s (Long 2015): VGG-16 as a fully convolutional network, with the scores of pool4 added."""

    arch: Literal["fcn16s"] = "fcn16s"
