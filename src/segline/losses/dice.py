"""Soft Dice loss: 1 − 2 Σ p g / (Σ p + Σ g).

Sums run over batch and pixels per class, ignored pixels left out; the mean is over the classes that are present in the batch's truth.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from segline.data.store import IGNORE

EPSILON = 1.0
"""Added above and below, in pixels: keeps a class of few pixels from dominating."""


def dice(logits: Tensor, truth: Tensor) -> Tensor:
    """Logits `(B, K, H, W)`, class ids `(B, H, W)` → scalar in 0…1; 0 where every pixel is ignored."""
    scored = (truth != IGNORE).unsqueeze(1)
    p = logits.float().softmax(dim=1) * scored
    g = F.one_hot(truth.masked_fill(truth == IGNORE, 0), logits.shape[1]).permute(0, 3, 1, 2) * scored
    over = (0, 2, 3)
    both, p_sum, g_sum = (p * g).sum(over), p.sum(over), g.sum(over)
    loss = 1 - (2 * both + EPSILON) / (p_sum + g_sum + EPSILON)
    present = g_sum > 0
    return torch.where(present, loss, 0.0).sum() / present.sum().clamp(min=1)
