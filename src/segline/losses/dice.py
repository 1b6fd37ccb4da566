"""Soft Dice loss: 1 − 2 Σ p g / (Σ p + Σ g) (Milletari 2016, with plain sums below).

Sums run over batch and pixels per class, ignored pixels left out; the mean is over the classes that are present in the batch's truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.data.store import IGNORE
from segline.losses.base import LossSettings
from segline.settings import Positive

if TYPE_CHECKING:
    from torch import Tensor


class Settings(LossSettings):
    """Overlap of prediction and truth, class by class."""

    epsilon: Positive = 1.0  # added above and below, in pixels: keeps a class of few pixels from dominating

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:  # noqa: ARG002
        import torch
        from torch.nn import functional as F

        scored = (truth != IGNORE).unsqueeze(1)
        p = logits.softmax(dim=1) * scored
        g = F.one_hot(truth.masked_fill(truth == IGNORE, 0), logits.shape[1]).permute(0, 3, 1, 2) * scored
        over = (0, 2, 3)
        both, p_sum, g_sum = (p * g).sum(over), p.sum(over), g.sum(over)
        loss = 1 - (2 * both + self.epsilon) / (p_sum + g_sum + self.epsilon)
        present = g_sum > 0
        return torch.where(present, loss, 0.0).sum() / present.sum().clamp(min=1)
