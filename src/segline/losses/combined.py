"""Weighted sums of losses, by their words in params.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from segline.losses.cross_entropy import cross_entropy
from segline.losses.dice import dice

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cross_entropy": cross_entropy, "dice": dice}


def combined(logits: Tensor, truth: Tensor, weights: Mapping[str, float]) -> dict[str, Tensor]:
    """Each loss of `weights` under its own name, unweighted, and their weighted sum as `loss`."""
    parts = {name: LOSSES[name](logits, truth) for name, weight in weights.items() if weight}
    return {**parts, "loss": torch.stack([weights[name] * part for name, part in parts.items()]).sum()}
