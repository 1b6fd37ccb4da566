"""A semantic network trained for a benchmark, without the stages around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from segline.data.store import Split
from segline.models import catalog as architectures
from segline.models.settings import ModelSettings
from segline.tasks import catalog as tasks
from segline.training.augment import Augmentation
from segline.training.fit import fit
from segline.training.resume import Begun
from segline.training.settings import Runtime
from segline_runtime.specification import Specification


def small_unet(widths: Sequence[int], augment: Sequence[Mapping[str, Any]], train: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of `models:` that learns in minutes of one core; `widths`: channels of each level."""
    return {
        "arch": "resenc_unet",
        "widths": list(widths),
        "blocks": [1] * len(widths),
        "norm": "batch",
        "deep_supervision": False,
        "loss": {"cross_entropy": 1.0, "dice": 1.0},
        "augment": list(augment),
        "train": {**train, "precision": "bf16"},
    }


def trained(
    settings: ModelSettings, specification: Specification, images: Split, scored: Split, *, steps: int, seed: int, folder: Path
) -> tuple[float, nn.Module]:
    """Train from scratch on the CPU for about so many steps; gives the mean IoU on `scored`, by which nothing is chosen, and the network in eval mode.

    folder: for what Lightning leaves.
    """
    torch.manual_seed(seed)
    task, learning = tasks.get(settings.task), tasks.learning(settings.task)
    network = architectures.build(settings, channels=specification.image.channels, classes=len(specification.classes))
    batch = settings.train.batch_size
    epochs = max(1, round(steps * batch / max(batch, len(images))))
    fitted = fit(
        network,
        learning.criterion(settings, network, {}),
        task=task,
        learning=learning,
        specification=specification,
        settings=settings.train.model_copy(update={"epochs": epochs, "validate_every": epochs}),
        augmentation=Augmentation(settings.augment, geometry=specification.geometry, truth=task.truths[0]),
        train=images,
        validation=scored,
        seed=seed,
        runtime=Runtime(accelerator="cpu", workers=0),
        folder=folder,
        begun=Begun(),
        on_row=lambda _rows: None,
    )
    network.load_state_dict(fitted.weights)
    score = fitted.summary["best"]
    assert score is not None
    return float(score), network.eval()
