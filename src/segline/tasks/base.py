"""What a task is. Trainer, evaluator, exporter, registry and CLI know tasks by this interface alone; each task is one module beside this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segline.data.store import Sample, Truth
from segline.metrics.scorer import Scorer
from segline.tasks.graphs import EvalGraph
from segline_runtime.predictions import Prediction
from segline_runtime.specification import ClassInfo, Specification

Batch = dict[str, Any]
"""`images` and a task's own truth, as the task's `collate` made them."""


class Task(Protocol):
    """Everything that tells one task from another."""

    name: str  # the value of `task` in params.yaml
    truth: Truth  # what it learns from
    metric: str  # key of the metric that picks the best epoch; higher is better
    resize: Literal["stretch", "shorter_side"]  # how images become the network's input

    def build(self, model: Mapping[str, Any], specification: Specification) -> nn.Module:
        """The network with fresh or loaded weights, for an entry of `models:` given as plain values. Raises ModelError."""

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Augmented samples, already at the network's size, as one training batch on the CPU; images stay uint8."""

    def to_device(self, batch: Batch, device: torch.device) -> Batch:
        """The batch on the device that trains."""

    def loss(self, network: nn.Module, batch: Batch, *, specification: Specification, model: Mapping[str, Any]) -> dict[str, Tensor]:
        """Named parts of the loss; `loss` is the sum that is minimised."""

    def graph(self, network: nn.Module, specification: Specification) -> EvalGraph:
        """The network between its preprocessing and postprocessing, in eval mode: uint8 images `(B, H, W, 3)` → named outputs.

        Validation, evaluation and export all run this module, so they cannot disagree.
        """

    def predict(self, graph: EvalGraph, specification: Specification, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        """Predictions for RGB images `(H, W, 3)`, which may differ in size, at their own sizes; computed in fp32."""

    def scorer(self, classes: Sequence[ClassInfo]) -> Scorer:
        """A fresh scorer."""
