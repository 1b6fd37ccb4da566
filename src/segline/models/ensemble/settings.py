"""The keys of `arch: ensemble`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from segline.models.composed_settings import WeightedSettings
from segline.models.settings import Entry, ModelSettings


class Settings(WeightedSettings):
    """The mean of the class probabilities of several semantic models, in one ONNX file; each member sees the image as its own specification says."""

    task_of_arch: ClassVar[str] = "semantic"
    averages: ClassVar[str] = "averaged"
    others: ClassVar[str] = "The detections of instance models are fused by `arch: box_fusion`."

    arch: Literal["ensemble"] = "ensemble"
    of: Annotated[list[str], Field(min_length=2)]  # names of models that stand above this entry; ensembles and soups among them, if you like

    def misfits(self, members: Mapping[str, Entry], models: Mapping[str, Entry]) -> Iterator[str]:
        yield from super().misfits(members, models)
        for name, member in members.items():
            network = member.network(models)
            if isinstance(network, ModelSettings) and network.predict.refinement is not None:
                yield f"'{name}' is refined by a CRF after its network, and an ensemble averages what networks say. Remove its predict.crf."
