"""The keys of `arch: tiramisu103`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from segline.models.tiramisu.settings import TiramisuSettings
from segline.settings import Count


class Settings(TiramisuSettings):
    """FC-DenseNet103 (Jégou 2017): a U-Net of densely connected layers, 9.4 million weights, from scratch."""

    kept_bytes: ClassVar[int] = 24_000

    arch: Literal["tiramisu103"] = "tiramisu103"
    layers: list[Count] = Field(default=[4, 5, 7, 10, 12], min_length=1)
    bottom: Count = 15
    growth: Count = 16
