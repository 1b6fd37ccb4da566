"""The Lightning module: one network, one task, one optimiser. It knows no task by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from segline.data.store import Sample
from segline.metrics.scorer import Scorer
from segline.tasks.base import Batch, Task
from segline.training.schedule import factor
from segline_runtime.specification import Specification


class SegmentationModule(LightningModule):
    """Training and validation steps. Validation runs the task's graph in fp32 on untouched samples, as evaluation does later."""

    def __init__(self, network: nn.Module, *, task: Task, specification: Specification, model: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        self._task = task
        self._specification = specification
        self._model = model
        self._scorer: Scorer = task.scorer(specification.classes)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:  # noqa: ARG002
        """Training batches go to the device; validation samples stay arrays, the task's `predict` moves what it needs."""
        return batch if isinstance(batch, list) else self._task.to_device(batch, device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002
        losses = self._task.loss(self.network, batch, specification=self._specification, model=self._model)
        if not torch.isfinite(losses["loss"]):
            raise FloatingPointError(f"the loss is {losses['loss'].item()} at step {self.global_step}")
        shown = {f"train_{name}": value.detach() for name, value in losses.items()}
        self.log_dict(shown, on_step=False, on_epoch=True, batch_size=len(batch["images"]), sync_dist=True)
        self.log("loss", losses["loss"].detach(), prog_bar=True, logger=False)
        return losses["loss"]

    def on_validation_epoch_start(self) -> None:
        self._scorer = self._task.scorer(self._specification.classes)

    def validation_step(self, batch: Sequence[Sample], batch_idx: int) -> None:  # noqa: ARG002
        graph = self._task.graph(self.network, self._specification).to(self.device)
        predictions = self._task.predict(graph, self._specification, [sample.image for sample in batch])
        for prediction, sample in zip(predictions, batch, strict=True):
            self._scorer.add(prediction, sample)

    def on_validation_epoch_end(self) -> None:
        self._gather()
        metrics = self._scorer.metrics()
        # Every process has merged the same states, so the mean over processes is the figure itself.
        self.log_dict({f"val_{name}": float(value) for name, value in metrics.items()}, sync_dist=False)

    def _gather(self) -> None:
        if self.trainer.world_size == 1:
            return
        states: list[Any] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(states, self._scorer.state())
        self._scorer = self._task.scorer(self._specification.classes)
        for state in states:
            self._scorer.merge(state)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        train = self._model["train"]
        optimizer = _optimizer(self.network, train)
        total = int(self.trainer.estimated_stepping_batches)
        warmup = round(train["warmup"] * total / train["epochs"])
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: factor(step, schedule=train["schedule"], warmup_steps=min(warmup, total - 1), total_steps=total)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _optimizer(network: nn.Module, train: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Weight decay for weights alone: on biases and norms it only hurts."""
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": train["weight_decay"]},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if train["optimizer"] == "sgd":
        return torch.optim.SGD(groups, lr=train["lr"], momentum=train["momentum"], nesterov=train["momentum"] > 0)
    return torch.optim.AdamW(groups, lr=train["lr"])
