"""Pixel-wise cross-entropy: −Σ_c g_c log p_c, the mean over the pixels that are not ignored."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from segline.data.store import IGNORE


def cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Logits `(B, K, H, W)`, class ids `(B, H, W)` → scalar; 0 where every pixel is ignored."""
    total = F.cross_entropy(logits, truth, ignore_index=IGNORE, reduction="sum")
    return total / (truth != IGNORE).sum().clamp(min=1)
