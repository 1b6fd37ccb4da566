"""What Lightning does not do by itself: best weights inside the resumable checkpoint, history, seeds per epoch, lines that say how far it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from segline import signals
from segline.training import resume

Row = dict[str, float]


class BestWeights(Callback):
    """Keeps the network's weights of the best validation. They travel in the resumable checkpoint, so one atomic file holds all there is.

    Of equal scores the later counts: a metric that stands still, at 0 or at 1, says nothing against the weights that have learnt longer. A metric can be
    undefined (no truth of that kind in this part): it is never better than a number, and where it never was one, the last validation's weights are kept.
    """

    def __init__(self, monitor: str) -> None:
        self._monitor = monitor
        self.weights: dict[str, Tensor] | None = None
        self.score: float | None = None  # None: undefined
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
        score = _defined(trainer.callback_metrics.get(self._monitor))
        if self.score is None or (score is not None and score >= self.score):
            self.score, self.epoch, self.weights = score, trainer.current_epoch, self._current
        self._current = {}

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.score, self.epoch, self.weights = state_dict["score"], state_dict["epoch"], state_dict["weights"]


def _defined(metric: Tensor | None) -> float | None:
    return None if metric is None or not math.isfinite(metric) else float(metric)


class AveragedWeights(WeightAveraging):
    """An exponential moving average of the weights that forgets the untrained ones: its decay grows with its updates n as (1 + n) / (10 + n)."""

    def __init__(self, decay: float) -> None:
        def averaged(average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
            kept = torch.clamp((1 + torch.as_tensor(updates)) / (10 + torch.as_tensor(updates)), max=decay).to(average.device)
            return average * kept + current * (1 - kept)

        super().__init__(avg_fn=averaged)


class LastEpochIsValidated(Callback):
    """Whatever `validate_every` is: the weights that have learnt longest are among those that the best are chosen from."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1


class SafeCheckpoints(TorchCheckpointIO):
    """Saves as `segline.training.resume` wants it: Lightning writes through a temporary folder that may lie on another disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | PathLike[str], storage_options: Any = None) -> None:  # noqa: ARG002
        resume.save_checkpoint(checkpoint, Path(path))


class OwnSignals(Callback):
    """Ctrl-C and SIGTERM end a training as they end any stage; Lightning would wait for the end of a step, and talk to other processes meanwhile."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        signals.again_as_stopped()


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
        # Lightning keeps the figures of the validation before; an epoch without one has none.
        for name in [name for name in trainer.callback_metrics if name.startswith("val_")]:
            del trainer.callback_metrics[name]

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
