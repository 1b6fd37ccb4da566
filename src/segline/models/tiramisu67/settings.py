"""The keys of `arch: tiramisu67`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from segline.models.tiramisu.settings import TiramisuSettings
from segline.settings import Count


class Settings(TiramisuSettings):
    """FC-DenseNet67 (Jégou 2017): a U-Net of densely connected layers, 3.5 million weights, from scratch."""

    kept_bytes: ClassVar[int] = 26_000

    arch: Literal["tiramisu67"] = "tiramisu67"
    layers: list[Count] = Field(default=[5, 5, 5, 5, 5], min_length=1)
    bottom: Count = 5
    growth: Count = 16
