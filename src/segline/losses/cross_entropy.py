"""Pixel-wise cross-entropy: −Σ_c α_c g_c log p_c, the mean over the pixels that are not ignored (with class weights α: the weighted mean)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.data.store import IGNORE
from segline.losses.base import ClassWeightedLoss

if TYPE_CHECKING:
    from torch import Tensor


class Settings(ClassWeightedLoss):
    """Cross-entropy of a softmax over the classes."""

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:
        from torch.nn import functional as F

        total = F.cross_entropy(logits, truth, weight=class_weights, ignore_index=IGNORE, reduction="sum")
        scored = truth != IGNORE
        if class_weights is None:
            return total / scored.sum().clamp(min=1)
        shares = class_weights[truth.masked_fill(~scored, 0)] * scored
        return total / shares.sum().clamp(min=1e-12)
