"""The graph of several detectors side by side: all that they detect, and who detected it. The runtime fuses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from segline.models.box_fusion.settings import Settings
from segline.tasks.graph import EvalGraph
from segline_runtime.specification import Fusion, Specification


def specification(settings: Settings, model: str, members: Sequence[Specification]) -> Specification:
    """Of all together: values go into the graph as they are, scaled alone, and each member takes off its own mean."""
    first = members[0]
    channels = first.image.channels
    return Specification(
        task=settings.task,
        model=model,
        dataset=first.dataset,
        classes=first.classes,
        geometry=settings.geometry([member.geometry for member in members]),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        image=first.image,
        fusion=Fusion(settings.shares, settings.predict.iou, settings.predict.max_detections),
    )


def graph(_settings: Settings, members: Sequence[EvalGraph], specified: Specification) -> EvalGraph:
    """One graph of the members' graphs, in the order of the settings' `of`."""
    return SideBySide(members, specified)


class SideBySide(EvalGraph):
    """Each member resizes and normalises by its own specification. Legend: N detections of all members, H × W pixels of the input image, C channels."""

    inputs: ClassVar = {"images": {1: "height", 2: "width"}}
    outputs: ClassVar = {name: {0: "detections"} for name in ("boxes", "labels", "scores", "masks", "members")}

    def __init__(self, members: Sequence[EvalGraph], specification: Specification) -> None:
        super().__init__(nn.ModuleList(members), specification)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images `(1, H, W, C)` → boxes float32 `(N, 4)` xyxy in pixels of the input, labels int64 `(N,)`, scores float32 `(N,)`, masks float32 `(N, 28, 28)`
        in 0…1, and the number of the member int64 `(N,)`; the first member's detections first."""
        found: list[tuple[Tensor, ...]] = []
        assert isinstance(self.network, nn.ModuleList)
        for number, member in enumerate(self.network):
            boxes, labels, scores, masks = member(images)
            found.append((boxes, labels, scores, masks, torch.full_like(labels, number)))
        return tuple(torch.cat(values) for values in zip(*found, strict=True))
