"""Pixel-wise cross-entropy: −Σ_c α_c g_c log p_c, the mean over the pixels that are not ignored (with class weights α: the weighted mean)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.data.store import IGNORE
from segline.losses.border import BorderWeightedLoss
from segline.losses.pixelwise import shares
from segline.settings import Fraction

if TYPE_CHECKING:
    from torch import Tensor


class Settings(BorderWeightedLoss):
    """Cross-entropy of a softmax over the classes."""

    label_smoothing: Fraction = 0.0  # share of the truth that is spread over all classes evenly (Szegedy 2016)

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None, truth_map: Tensor | None = None) -> Tensor:
        from torch.nn import functional as F

        total = F.cross_entropy(logits, truth, weight=class_weights, ignore_index=IGNORE, reduction="sum", label_smoothing=self.label_smoothing)
        border = self.border_weights(truth_map)
        if border is not None:
            losses = F.cross_entropy(logits, truth, ignore_index=IGNORE, reduction="none", label_smoothing=self.label_smoothing)
            total = total + (border * losses).sum()
        return total / shares(truth, class_weights, border).sum().clamp(min=1e-12)
