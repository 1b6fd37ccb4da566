"""Fit a network with Lightning, from a resumable checkpoint when there is one."""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from lightning.pytorch.trainer.states import TrainerStatus
from torch import Tensor, nn

from segline import memory
from segline.data.store import Split
from segline.errors import SeglineError, TrainingError
from segline.models import checkpointing
from segline.tasks.base import Task
from segline.tasks.learning import Learning
from segline.training import hardware, loaders
from segline.training.augment import Augmentation
from segline.training.callbacks import AveragedWeights, BestWeights, History, LastEpochIsValidated, OwnSignals, Row, SafeCheckpoints, SeedPerEpoch
from segline.training.decoded import kept
from segline.training.module import SegmentationModule
from segline.training.resume import CHECKPOINT, Begun
from segline.training.settings import Runtime, Train
from segline.training.silence import EveryMinute
from segline_runtime.specification import Specification

_EMPTY = (64, 64)
"""Height and width of an image that shows how a network is run."""


@dataclass(frozen=True)
class Fitted:
    """What a training gave."""

    weights: dict[str, Tensor]  # of the best epoch
    history: list[Row]
    summary: dict[
        str, Any
    ]  # for the card: metric, best (None: undefined), best_epoch, epochs, seconds, device, processes, global_batch, precision, augmented_on


def fit(
    network: nn.Module,
    criterion: nn.Module | None,
    *,
    task: Task,
    learning: Learning,
    specification: Specification,
    settings: Train,
    augmentation: Augmentation,
    train: Split,
    validation: Split,
    seed: int,
    runtime: Runtime,
    folder: Path,
    begun: Begun,
    on_row: Callable[[list[Row]], None],
) -> Fitted:
    """Train `network` to minimise `criterion` (None: its own loss).

    `folder` takes the resumable checkpoint, and images that were decoded; `on_row` is called with all rows after each epoch.

    `validation` steers the training: best weights, early stopping. Raises TrainingError when the loss is no longer a number,
    or when Lightning refuses what `runtime` asks for; KeyboardInterrupt when the user stops it.
    """
    lightning.seed_everything(seed, workers=True, verbose=False)
    monitor = f"val_{task.metric}"
    best, history = BestWeights(monitor), History(monitor, on_row)
    averaging = [AveragedWeights(settings.ema)] if settings.ema else []
    stopping = (
        [EarlyStopping(monitor, mode="max", patience=settings.early_stopping, check_on_train_epoch_end=False, strict=False)] if settings.early_stopping else []
    )
    newest = ModelCheckpoint(folder, filename=Path(CHECKPOINT).stem, save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True)
    callbacks: list[Callback] = [OwnSignals(), SeedPerEpoch(seed), LastEpochIsValidated(), *averaging, best, *stopping, history, newest]
    if not sys.stderr.isatty():
        callbacks.append(EveryMinute())
    trainer, precision = _trainer(settings, runtime, callbacks)
    if settings.checkpointing:
        empty = np.zeros((1, *_EMPTY, specification.image.channels), dtype=specification.image.dtype)
        checkpointing.install(network, lambda: learning.graph(network, specification).run(empty))
    if settings.channels_last:
        network = network.to(memory_format=torch.channels_last)
    device = trainer.strategy.root_device.type
    wanted = settings.augment_on == "device" or (settings.augment_on == "auto" and device == "cuda")
    on_device = wanted and augmentation.maps is None  # these are made in the loader, of the picture as the network sees it
    if on_device and augmentation.in_loader and trainer.is_global_zero:
        print(f"augment: {', '.join(augmentation.in_loader)} in the loader, {', '.join(augmentation.on_device) or 'nothing'} on the device", flush=True)
    module = SegmentationModule(
        network,
        criterion,
        task=task,
        learning=learning,
        specification=specification,
        settings=settings,
        maps=augmentation.maps,
        augmentation=augmentation.second_half() if on_device else None,
    )

    world = trainer.world_size
    place = {"rank": trainer.global_rank, "world": world, "workers": hardware.workers(runtime.workers, device, world)}
    batch_size = _per_process(settings.batch_size, world)
    checks = loaders.validation_loader(validation, batch_size=batch_size, **place)
    try:
        # One epoch alone decodes each image once, anyway.
        with kept(train, folder, runtime.decoded_gb if settings.epochs - begun.epochs > 1 else 0) as images:
            batches = loaders.training_loader(
                images,
                learning=learning,
                augmentation=augmentation,
                batch_size=batch_size,
                seed=seed,
                first_epoch=begun.epochs,
                pin=device == "cuda",
                views=loaders.Views(settings.multi_scale, settings.epochs - settings.uncropped),
                on_device=on_device,
                **place,
            )
            trainer.fit(module, batches, checks, ckpt_path=begun.checkpoint, weights_only=True)
    except BaseException as error:
        _end_other_processes(trainer)
        if isinstance(error, FloatingPointError):
            raise TrainingError(f"The training broke down: {error}. Lower train.lr, set train.clip, or use precision: fp32; then run again.") from None
        if isinstance(error, SeglineError):
            raise loaders.as_raised(error) from None
        if memory.is_short(error):
            raise TrainingError(_too_large(settings, device, world)) from None
        if isinstance(error, SystemExit) and trainer.state.status is TrainerStatus.INTERRUPTED:
            raise KeyboardInterrupt from None  # Lightning turns Ctrl-C into a bare exit
        raise
    assert best.weights is not None
    parameters = sum(p.numel() for p in network.parameters())
    summary = {
        "metric": monitor,
        "best": best.score,
        "best_epoch": best.epoch + 1,
        "epochs": len(history.rows),
        "seconds": round(history.seconds, 1),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "processes": world,
        "global_batch": batch_size * world,
        "precision": precision,
        "augmented_on": device if on_device else "loader",
        "parameter_count": parameters,
    }
    return Fitted(best.weights, history.rows, summary)


def _end_other_processes(trainer: lightning.Trainer) -> None:
    """Those that this one has started would wait for it until their patience ends."""
    if isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher):
        trainer.strategy.launcher.kill(signal.SIGKILL)


def _too_large(settings: Train, device: str, world: int) -> str:
    """What to do about it; half a batch, accumulated twice, moves the weights by as many images."""
    size = settings.batch_size
    smaller = "make input.size or crop smaller" if settings.checkpointing else "set train.checkpointing: true, or make input.size or crop smaller"
    advice = smaller[0].upper() + smaller[1:]
    if size % (2 * world) == 0:
        advice = f"Set train.batch_size: {size // 2} and train.accumulate: {2 * settings.accumulate}, or {smaller}"
    return f"{memory.whose(device)} is too small for a training with train.batch_size {size} ({size // world} images per process). {advice}, and run again."


def _per_process(batch_size: int, world: int) -> int:
    if batch_size % world:
        raise TrainingError(f"train.batch_size is {batch_size}, which {world} processes cannot share evenly; make it a multiple of {world}.")
    return batch_size // world


def _trainer(settings: Train, runtime: Runtime, callbacks: list[Callback]) -> tuple[lightning.Trainer, str]:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # a choice of `runtime.workers`, not an oversight
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")  # it holds the lock, and what is resumed
    warnings.filterwarnings("ignore", ".*sync_dist=True.* when logging on epoch level.*")  # every process logs what all have counted together
    warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)  # Lightning's own call of torch
    arguments: dict[str, Any] = {
        "accelerator": runtime.accelerator,
        "devices": runtime.devices,
        "num_nodes": runtime.nodes,
        "strategy": runtime.strategy,
        "max_epochs": settings.epochs,
        "accumulate_grad_batches": settings.accumulate,
        "gradient_clip_val": settings.clip,
        "check_val_every_n_epoch": settings.validate_every,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,  # ours deal images out without duplicates in validation
        "logger": False,
        "enable_model_summary": False,
        "enable_progress_bar": sys.stderr.isatty(),
        "callbacks": callbacks,
        "plugins": [SafeCheckpoints()],
        **runtime.lightning,
    }
    try:
        device = lightning.Trainer(accelerator=arguments["accelerator"], devices=1, logger=False, enable_checkpointing=False).strategy.root_device.type
        precision = hardware.precision(settings.precision, device)
        trainer = lightning.Trainer(precision=hardware.LIGHTNING_PRECISION[precision], **arguments)  # type: ignore[arg-type]
        return trainer, hardware.resolved(trainer.precision)
    except (lightning.fabric.utilities.exceptions.MisconfigurationException, ValueError, TypeError) as error:
        raise TrainingError(f"runtime: Lightning refuses these settings: {error} Change the section `runtime` of params.yaml.") from None
