"""What every semantic architecture has beside its own keys."""

from __future__ import annotations

from typing import ClassVar

from segline.losses.settings import Loss
from segline.losses.truth_maps import TruthMap
from segline.models.settings import ModelSettings


class SemanticSettings(ModelSettings):
    """A network that gives each pixel a class; its loss is a weighted sum of losses of the catalogue."""

    task: ClassVar[str] = "semantic"
    loss: Loss = Loss.of(cross_entropy=1.0)  # what is minimised

    @property
    def wanted_maps(self) -> tuple[TruthMap, ...]:
        return self.loss.wanted_maps()
