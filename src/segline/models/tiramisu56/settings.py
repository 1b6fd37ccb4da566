"""The keys of `arch: tiramisu56`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segline.models.tiramisu.settings import TiramisuSettings
from segline.settings import Count


class Settings(TiramisuSettings):
    """FC-DenseNet56 (Jégou 2017): a U-Net of densely connected layers, 1.4 million weights, from scratch."""

    arch: Literal["tiramisu56"] = "tiramisu56"
    layers: list[Count] = Field(default=[4, 4, 4, 4, 4], min_length=1)
    bottom: Count = 4
    growth: Count = 12
