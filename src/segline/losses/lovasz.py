"""Lovász-softmax: the Lovász extension of the Jaccard loss, a surrogate of the IoU itself that can be minimised (Berman 2018, algorithm 1).

A class's errors |g − p| are sorted, the largest first; each weighs as much as the Jaccard loss grows when its pixel is wrong beside those before it.
The batch is taken as one image, ignored pixels left out; the mean is over the classes that are present in its truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.data.store import IGNORE
from segline.losses.base import LossSettings

if TYPE_CHECKING:
    from torch import Tensor


class Settings(LossSettings):
    """A surrogate of the IoU; it helps most beside, or after, cross-entropy."""

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:  # noqa: ARG002
        import torch

        scored = truth != IGNORE
        p, labels = logits.softmax(dim=1).movedim(1, -1)[scored], truth[scored]  # (N, K), (N,)
        total, present = p.sum() * 0, torch.unique(labels)
        for label in present:
            g = (labels == label).to(p.dtype)
            errors, order = (g - p[:, label]).abs().sort(descending=True)
            total = total + (errors * _growth(g[order])).sum()
        return total / max(len(present), 1)


def _growth(truth: Tensor) -> Tensor:
    """Truth (0 or 1) by falling error `(N,)` → what each pixel, being wrong, adds to the Jaccard loss of those before it."""
    from torch.nn import functional as F

    of_class = truth.sum()
    losses = 1 - (of_class - truth.cumsum(0)) / (of_class + (1 - truth).cumsum(0))
    return losses - F.pad(losses[:-1], (1, 0))
