"""The keys of `arch: fcn8s`."""

from __future__ import annotations

from typing import Literal

from segline.models.fcn.settings import FcnSettings


class Settings(FcnSettings):
    """FCN-8s (Long 2015): VGG-16 as a fully convolutional network, with the scores of pool4 and pool3 added."""

    arch: Literal["fcn8s"] = "fcn8s"
