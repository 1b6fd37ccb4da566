"""Lines where no progress bar is seen, so that a log is never silent for minutes."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only


class EveryMinute(Callback):
    """A line now and then within an epoch, for where no progress bar is seen: an epoch may take hours."""

    def __init__(self, seconds: float = 60.0) -> None:
        self._seconds = seconds
        self._told = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        if self._is_time(batch_idx + 1, trainer.num_training_batches):
            loss = f", loss {float(outputs['loss']):.4f}" if outputs else ""
            _line(trainer, f"step {batch_idx + 1} of {trainer.num_training_batches}{loss}")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        batches = trainer.num_val_batches[dataloader_idx]
        if self._is_time(batch_idx + 1, batches):
            _line(trainer, f"validation, batch {batch_idx + 1} of {batches}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self._told = time.monotonic()  # the history tells the epoch

    def _is_time(self, batch: int, batches: float) -> bool:
        if batch >= batches or time.monotonic() - self._told < self._seconds:
            return False
        self._told = time.monotonic()
        return True


@rank_zero_only
def _line(trainer: Trainer, text: str) -> None:
    print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, {text}", flush=True)
