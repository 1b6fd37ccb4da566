"""What a task is to a training: batches, losses, and the graph that validation, evaluation and export run. The torch half of `segline.tasks.base`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from segline.data.store import Sample
from segline.models.settings import ModelSettings
from segline.tasks.graph import EvalGraph
from segline_runtime.specification import Specification

Batch = Any
"""What a task's `collate` makes: a named tuple of tensors, known to the task alone."""


class Picture(NamedTuple):
    """A sample as tensors, on any device."""

    image: Tensor  # (C, h, w), values of the image kind
    mask: Tensor | None  # (h, w) uint8 class ids, 255 = ignore
    masks: Tensor | None  # (N, h, w) uint8, 1 where the object is; None where there are no objects to learn from
    labels: Tensor  # (N,) int64 class ids
    crowd: Tensor  # (N,) bool


class Learning(Protocol):
    """Everything about learning that tells one task from another."""

    def criterion(self, settings: ModelSettings, network: nn.Module, class_weights: Mapping[str, Sequence[float]]) -> nn.Module | None:
        """What is minimised, built once; None where the network brings its own loss. `class_weights`: by loss, one number per class."""

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Augmented samples, already at the network's size, as one training batch on the CPU; images keep their own values."""

    def gathered(self, pictures: Sequence[Picture]) -> Batch:
        """As `collate`, of pictures that were augmented on the device on which they are. Objects that left the picture are left out."""

    def to_device(self, batch: Batch, device: torch.device) -> Batch:
        """The batch on the device that trains."""

    def losses(self, network: nn.Module, criterion: nn.Module | None, batch: Batch, specification: Specification) -> dict[str, Tensor]:
        """Named parts of the loss; `loss` is the sum that is minimised.

        In eval mode too, for validation: statistics of norms are then used and not changed, and outputs that only train are left out.
        """

    def graph(self, network: nn.Module, specification: Specification) -> EvalGraph:
        """The network between its preprocessing and postprocessing, in eval mode.

        Validation, evaluation and export all run this module, so they cannot disagree.
        """
