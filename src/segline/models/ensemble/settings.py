"""The keys of `arch: ensemble`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from segline.models.composed_settings import ComposedSettings
from segline.models.settings import Entry, ModelSettings
from segline.settings import Positive
from segline_runtime.specification import Geometry


class Settings(ComposedSettings):
    """The mean of the class probabilities of several semantic models, in one ONNX file; each member sees the image as its own specification says."""

    task: ClassVar[str] = "semantic"
    averages: ClassVar[str] = "averaged"

    arch: Literal["ensemble"] = "ensemble"
    of: Annotated[list[str], Field(min_length=2)]  # names of models that stand above this entry; ensembles and soups among them, if you like
    weights: list[Positive] | None = None  # how much each member counts, in the order of `of`; default: all the same

    @model_validator(mode="after")
    def _belong_together(self) -> Settings:
        twice = sorted({name for name in self.of if self.of.count(name) > 1})
        if twice:
            raise ValueError(f"of names {twice[0]} more than once; give it a larger share in `weights`")
        if self.weights is not None and len(self.weights) != len(self.of):
            raise ValueError(f"weights has {len(self.weights)} numbers, and of names {len(self.of)} models; give one for each")
        return self

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self.of)

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each member in the mean; they add up to 1."""
        weights = self.weights or [1.0] * len(self.of)
        return tuple(weight / sum(weights) for weight in weights)

    def misfits(self, members: Mapping[str, Entry], models: Mapping[str, Entry]) -> Iterator[str]:
        yield from super().misfits(members, models)
        for name, member in members.items():
            network = member.network(models)
            if isinstance(network, ModelSettings) and network.predict.refinement is not None:
                yield f"'{name}' is refined by a CRF after its network, and an ensemble averages what networks say. Remove its predict.crf."

    def geometry(self, members: Sequence[Geometry]) -> Geometry:
        """The graph takes the image, or a tile of it, as it is; within it each member resizes as its own specification says."""
        tiles = [member.tile for member in members if member.tile is not None]
        return Geometry("native", None, max(tiles, key=lambda tile: tile.context, default=None))  # of tiles alike, the context that is enough for all
