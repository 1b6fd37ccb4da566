"""The optimiser and its learning rates: groups of weights, warm-up and decay, a gentler or later start for a pre-trained encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from segline.training.adamw import FusedAdamW
from segline.training.schedule import factor
from segline.training.settings import Train

_FUSED = ("cpu", "cuda")
"""Kinds of devices for which torch has a fused AdamW that is tested here."""


def optimizer(network: nn.Module, encoder: nn.Module | None, settings: Train) -> torch.optim.Optimizer:
    """Weight decay for weights alone: on biases and norms it only hurts. The encoder's groups come first and have their own rate."""
    inside = set() if encoder is None or not _apart(settings) else {id(p) for p in encoder.parameters()}
    trained = [p for p in network.parameters() if p.requires_grad]
    groups: list[dict[str, object]] = []
    for is_encoder in (True, False) if inside else (False,):
        own = [p for p in trained if (id(p) in inside) == is_encoder]
        rate = settings.lr * (settings.encoder_lr_factor if is_encoder else 1.0)
        groups.append({"params": [p for p in own if p.dim() > 1], "lr": rate, "weight_decay": settings.weight_decay, "encoder": is_encoder})
        groups.append({"params": [p for p in own if p.dim() <= 1], "lr": rate, "weight_decay": 0.0, "encoder": is_encoder})
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
    if settings.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=settings.lr)
    if _fused(trained, settings):
        return FusedAdamW(groups, lr=settings.lr)
    return torch.optim.AdamW(groups, lr=settings.lr, fused=False)


def schedule(optimizer: torch.optim.Optimizer, settings: Train, total_steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Each group's rate over `total_steps` of the optimiser; a frozen encoder's is 0 for its first epochs."""
    per_epoch = total_steps / settings.epochs
    warmup = min(round(settings.warmup * per_epoch), total_steps - 1)
    frozen = round(settings.freeze_encoder * per_epoch)

    def rate(step: int, *, from_step: int) -> float:
        if step < from_step:
            return 0.0
        return factor(step, schedule=settings.schedule, warmup_steps=warmup, total_steps=total_steps, power=settings.poly_power)

    rates: list[Callable[[int], float]] = [partial(rate, from_step=frozen if group["encoder"] else 0) for group in optimizer.param_groups]
    return torch.optim.lr_scheduler.LambdaLR(optimizer, rates)


def _fused(trained: Sequence[nn.Parameter], settings: Train) -> bool:
    """Whether one kernel moves all weights: the same arithmetic in less time. In fp16 it would unscale the gradients itself, after they were clipped."""
    return settings.precision != "fp16" and all(p.device.type in _FUSED for p in trained)


def _apart(settings: Train) -> bool:
    """Whether the encoder is trained otherwise than the rest."""
    return settings.encoder_lr_factor != 1.0 or settings.freeze_encoder > 0
