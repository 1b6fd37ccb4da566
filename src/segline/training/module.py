"""The Lightning module: one network, one task, one optimiser. It knows no task by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from segline.data.store import Sample
from segline.metrics import catalog
from segline.metrics.figures import figures
from segline.metrics.scorer import Scorer
from segline.tasks.base import Task
from segline.tasks.learning import Batch, Learning
from segline.tasks.predictor import GraphPredictor
from segline.training import optimizer
from segline.training.on_device import DeviceAugmentation, PreparedBatch
from segline.training.settings import Train
from segline.training.truth_maps import TruthMaps
from segline.training.validation_loss import ValidationLoss
from segline_runtime.specification import Specification

SKIPPED_AT_MOST = 10
"""Steps in a row: one overflows now and then where fp16 ends at 65,504; a loss that stays infinite for so long will stay so."""


LOOK_EVERY = 25
"""Steps: to look at a loss, the processor waits for the GPU, which then has nothing to do."""


class SegmentationModule(LightningModule):
    """Training and validation steps. Validation runs the task's graph in fp32 on untouched samples, as evaluation does later."""

    def __init__(
        self,
        network: nn.Module,
        criterion: nn.Module | None,
        *,
        task: Task,
        learning: Learning,
        specification: Specification,
        settings: Train,
        maps: TruthMaps | None = None,
        augmentation: DeviceAugmentation | None = None,
    ) -> None:
        """maps: as the training's augmentation has them, for the loss of validation images. augmentation: what is done with a `PreparedBatch` on the device."""
        super().__init__()
        self.network = network
        self.criterion = criterion
        self._task = task
        self._learning = learning
        self._specification = specification
        self._settings = settings
        self._augmentation = augmentation
        self._scorer: Scorer = task.scorer(specification.classes)
        self._loss = ValidationLoss(network, criterion, task=task, learning=learning, specification=specification, maps=maps)
        self._predict: GraphPredictor | None = None
        self._unseen: list[tuple[int, Tensor]] = []  # losses at which nobody has looked yet, with their steps
        self._infinite_in_a_row = 0  # steps
        self._finite = False  # whether the loss was, in some step of this epoch

    @property
    def encoder(self) -> nn.Module | None:
        """The part of the network that pre-trained weights are for."""
        found = getattr(self.network, "encoder", None)
        return found if isinstance(found, nn.Module) else None

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:  # noqa: ARG002
        """Training batches go to the device; validation samples stay arrays, the predictor moves what it needs."""
        if isinstance(batch, list):
            return batch
        if isinstance(batch, PreparedBatch):
            assert self._augmentation is not None
            return self._learning.gathered(self._augmentation(batch, device))
        return self._learning.to_device(batch, device)

    def on_train_epoch_start(self) -> None:
        encoder = self.encoder
        if encoder is not None and self.current_epoch < self._settings.freeze_encoder:
            encoder.eval()  # its norm statistics stay, too
        self._unseen, self._finite = [], False

    def on_train_epoch_end(self) -> None:
        if not self._finite:
            raise FloatingPointError(f"the loss was no finite number in any step of epoch {self.current_epoch + 1}")
        self.network.train()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002
        losses = self._learning.losses(self.network, self.criterion, batch, self._specification)
        self._unseen.append((self.global_step, losses["loss"].detach()))
        if self._looks_now() and not self._look():
            return losses["loss"]
        shown = {f"train_{name}": value.detach() for name, value in losses.items()}
        self.log_dict(shown, on_step=False, on_epoch=True, batch_size=len(batch.images), sync_dist=True)
        self.log("loss", losses["loss"].detach(), prog_bar=True, logger=False)
        return losses["loss"]

    def _looks_now(self) -> bool:
        """Whether to look at the losses since the last look.

        In fp16 the gradient scaler waits for the GPU in each step anyway, and on a CPU there is no waiting. The last step of an epoch is looked at before
        anything is made of the weights.
        """
        waits = self.device.type != "cpu" and self.trainer.precision != "16-mixed"
        return not waits or len(self._unseen) >= LOOK_EVERY or self.trainer.is_last_batch

    def _look(self) -> bool:
        """Whether the newest loss is a finite number. Raises FloatingPointError for one that is not, and that the gradient scaler does not leave out."""
        steps, losses = zip(*self._unseen, strict=True)
        values = torch.stack(losses).tolist()
        self._unseen = []
        for step, value in zip(steps, values, strict=True):
            if math.isfinite(value):
                self._infinite_in_a_row, self._finite = 0, True
            else:
                self._not_finite(step, value)
        return self._infinite_in_a_row == 0

    def _not_finite(self, step: int, loss: float) -> None:
        """In fp16 a single step may overflow: its gradients do as well, and the gradient scaler leaves the step out. Raises FloatingPointError otherwise."""
        self._infinite_in_a_row += 1
        if self.trainer.precision == "16-mixed" and self._infinite_in_a_row <= SKIPPED_AT_MOST:
            return
        before = f", as in the {self._infinite_in_a_row - 1} steps before it" if self._infinite_in_a_row > 1 else ""
        raise FloatingPointError(f"the loss is {loss} at step {step}{before}")

    def on_validation_epoch_start(self) -> None:
        self._scorer = self._task.scorer(self._specification.classes)
        self._loss.reset()
        self._predict = GraphPredictor(self._learning.graph(self.network, self._specification).to(self.device), self._specification)

    def validation_step(self, batch: Sequence[Sample], batch_idx: int) -> None:  # noqa: ARG002
        if not batch:
            return  # a process without images
        assert self._predict is not None
        self._loss.add(batch, self.device, seed=self.current_epoch)
        predictions = self._predict([sample.image for sample in batch])
        for prediction, sample in zip(predictions, batch, strict=True):
            self._scorer.add(prediction, sample)

    def on_validation_epoch_end(self) -> None:
        self._gather()
        metrics = figures(self._scorer.counts(), [catalog.get(word) for word in self._task.metrics], self._specification.classes)
        # Every process has merged the same states, so the mean over processes is the figure itself.
        self.log_dict({"val_loss": self._loss.mean()} | {f"val_{name}": float(value) for name, value in metrics.items()}, sync_dist=False)

    def _gather(self) -> None:
        if self.trainer.world_size == 1:
            return
        states: list[Any] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(states, (self._scorer.state(), self._loss.state()))
        self._scorer = self._task.scorer(self._specification.classes)
        self._loss.reset()
        for scores, losses in states:
            self._scorer.merge(scores)
            self._loss.merge(losses)

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """By the norm. Lightning clips for no fused optimiser in any mixed precision, since one may scale the gradients; without a scaler none does."""
        if not any(group.get("fused") for group in optimizer.param_groups):
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clip_val)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        moving = optimizer.optimizer(self.network, self.encoder, self._settings)
        rates = optimizer.schedule(moving, self._settings, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": moving, "lr_scheduler": {"scheduler": rates, "interval": "step"}}
