"""What Lightning does not do by itself: the best weights inside the resumable checkpoint, the history, seeds per epoch, a line per epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

Row = dict[str, float]


class BestWeights(Callback):
    """Keeps the network's weights of the best validation. They travel in the resumable checkpoint, so one atomic file holds all there is."""

    def __init__(self, monitor: str) -> None:
        self._monitor = monitor
        self.weights: dict[str, Tensor] | None = None
        self.score = float("-inf")
        self.epoch = -1
        self._current: dict[str, Tensor] = {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        # Here, and not after the score is known: with averaged weights, Lightning has swapped them in now and will have swapped them out then.
        network = pl_module.network
        assert isinstance(network, torch.nn.Module)
        self._current = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if trainer.sanity_checking:
            return
        # A metric can be undefined (no truth of that kind in this part); then the latest weights are as good as any.
        score = float(trainer.callback_metrics.get(self._monitor, torch.tensor(float("-inf"))))
        if score > self.score or self.weights is None:
            self.score, self.epoch, self.weights = score, trainer.current_epoch, self._current
        self._current = {}

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.score, self.epoch, self.weights = state_dict["score"], state_dict["epoch"], state_dict["weights"]


class History(Callback):
    """One row per epoch; survives an interruption in the checkpoint. `on_row(rows)` is called with all rows on the first process."""

    def __init__(self, monitor: str, on_row: Callable[[list[Row]], None]) -> None:
        self._monitor = monitor
        self.rows: list[Row] = []
        self.seconds = 0.0  # of training, over all sittings
        self._on_row = on_row
        self._since = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self._since = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        took = time.monotonic() - self._since
        self.seconds += took
        epoch = trainer.current_epoch + 1
        metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith(("train_", "val_"))}
        row: Row = {"epoch": epoch, **metrics, "lr": trainer.optimizers[0].param_groups[-1]["lr"], "seconds": round(took, 3)}
        self.rows.append(row)
        self._tell(trainer, row)

    @rank_zero_only
    def _tell(self, trainer: Trainer, row: Row) -> None:
        epoch, of = int(row["epoch"]), int(trainer.max_epochs or 0)
        left = (of - epoch) * self.seconds / len(self.rows)
        shown = [f"{name} {row[name]:.4f}" for name in ("train_loss", self._monitor) if name in row]
        print(f"epoch {epoch}/{of}  {'  '.join(shown)}  {row['seconds']:.0f} s, about {left / 60:.1f} min left", flush=True)
        self._on_row(self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.seconds = state_dict["rows"], state_dict["seconds"]


class SeedPerEpoch(Callback):
    """Seeds torch by (seed, epoch, process), so that dropout and proposal sampling go on after an interruption as they would have without."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        torch.manual_seed((self._seed * 1_000_003 + trainer.current_epoch) * 1_009 + trainer.global_rank)
