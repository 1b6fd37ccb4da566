"""Focal loss: −Σ_c α_c (1 − p_c)^γ g_c log p_c, the mean over the pixels that are not ignored (with class weights α: the weighted mean) (Lin 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.data.store import IGNORE
from segline.losses.border import BorderWeightedLoss
from segline.losses.pixelwise import shares, weighted_mean
from segline.settings import NotNegative

if TYPE_CHECKING:
    from torch import Tensor

_LEAST_DOUBT = 1e-6
"""Below γ = 1 the gradient of (1 − p)^γ is infinite at p = 1."""


class Settings(BorderWeightedLoss):
    """Cross-entropy in which pixels that are right already count less."""

    gamma: NotNegative = 2.0  # how much less; 0 is plain cross-entropy

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None, truth_map: Tensor | None = None) -> Tensor:
        from torch.nn import functional as F

        losses = F.cross_entropy(logits, truth, ignore_index=IGNORE, reduction="none")
        doubt = -(-losses).expm1()  # 1 − p of the true class
        return weighted_mean(doubt.clamp(min=_LEAST_DOUBT) ** self.gamma * losses, shares(truth, class_weights, self.border_weights(truth_map)))
