"""The graph of an ensemble: its members side by side, and the mean of what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from segline.models.ensemble.settings import Settings
from segline.tasks.graph import EvalGraph
from segline_runtime.specification import Specification

LEAST = 1e-12
"""Probability of which the logarithm is taken where the mean is less."""


def specification(settings: Settings, model: str, members: Sequence[Specification]) -> Specification:
    """Of the ensemble: values go into its graph as they are, scaled alone, and each member takes off its own mean."""
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
    )


def graph(settings: Settings, members: Sequence[EvalGraph], specified: Specification) -> EvalGraph:
    """One graph of the members' graphs, in the order of the settings' `of`."""
    return MeanGraph(members, settings.shares, specified)


class MeanGraph(EvalGraph):
    """Legend: B images, H × W pixels of the input image, C channels, K classes. Each member resizes and normalises by its own specification."""

    inputs: ClassVar = {"images": {0: "batch", 1: "height", 2: "width"}}
    outputs: ClassVar = {"class_ids": {0: "batch", 1: "height", 2: "width"}, "logits": {0: "batch", 2: "height", 3: "width"}}

    def __init__(self, members: Sequence[EvalGraph], shares: Sequence[float], specification: Specification) -> None:
        """shares: of each member in the mean; they add up to 1."""
        super().__init__(nn.ModuleList(members), specification)
        self.shares = tuple(shares)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images `(B, H, W, C)` → class ids uint8 `(B, H, W)` and logits float32 `(B, K, H, W)`, of which softmax makes the mean probabilities."""
        mean: Tensor | None = None
        assert isinstance(self.network, nn.ModuleList)
        for member, share in zip(self.network, self.shares, strict=True):
            assert isinstance(member, EvalGraph)
            _, logits = member(images)
            if member.specification.geometry.fit != "native":  # a graph may leave them at the size at which its network saw the image
                logits = functional.interpolate(logits, size=(images.shape[1], images.shape[2]), mode="bilinear", align_corners=False)
            part = share * torch.softmax(logits, dim=1)
            mean = part if mean is None else mean + part
        assert mean is not None
        logits = mean.clamp(min=LEAST).log()
        return logits.argmax(1).to(torch.uint8), logits
