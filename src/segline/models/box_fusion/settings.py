"""The keys of `arch: box_fusion`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from segline.models.composed_settings import WeightedSettings
from segline.models.settings import Entry, ModelSettings
from segline.settings import Count, Section


class Joining(Section):
    """Which detections speak of one object, and which objects are kept."""

    iou: Annotated[float, Field(gt=0, lt=1)] = 0.55  # of boxes of one class, beyond which they are one object
    max_detections: Count = 100  # the best of an image that are kept


class Settings(WeightedSettings):
    """An ensemble of instance models: weighted boxes fusion (Solovyev 2021). Boxes and masks of one object are averaged by their scores."""

    task_of_arch: ClassVar[str] = "instance"
    task_of_members: ClassVar[str] = "instance"
    averages: ClassVar[str] = "fused"
    others: ClassVar[str] = "The probabilities of semantic models are averaged by `arch: ensemble`."
    runtime: ClassVar[tuple[str, ...]] = ("segline_runtime.fusion",)

    arch: Literal["box_fusion"] = "box_fusion"
    of: Annotated[list[str], Field(min_length=2)]  # names of detectors (such as maskrcnn) that stand above this entry
    predict: Joining = Joining()

    def misfits(self, members: Mapping[str, Entry], models: Mapping[str, Entry]) -> Iterator[str]:
        yield from super().misfits(members, models)
        for name, member in members.items():
            if member.task == self.task_of_members and not isinstance(member, ModelSettings):
                yield f"'{name}' is made of other models, and fused are the detections of networks. Name the detectors themselves."
