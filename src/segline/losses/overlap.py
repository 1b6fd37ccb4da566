"""What the losses of overlap (Dice, Jaccard, Tversky) share: sums per class over batch and pixels, and the mean over the classes that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from segline.data.store import IGNORE

if TYPE_CHECKING:
    from torch import Tensor


class Sums(NamedTuple):
    """Per class `(K,)`, ignored pixels left out. p: probability, g: truth (0 or 1)."""

    both: Tensor  # Σ p g
    p: Tensor  # Σ p, or where squares were asked for Σ p²
    g: Tensor  # Σ g: pixels of the class, and so of its squares

    def mean(self, losses: Tensor) -> Tensor:
        """Losses per class `(K,)` → their mean over the classes that are present in the batch's truth; 0 where none is."""
        import torch

        present = self.g > 0
        return torch.where(present, losses, 0.0).sum() / present.sum().clamp(min=1)


def sums(logits: Tensor, truth: Tensor, *, squared: bool = False) -> Sums:
    """Logits `(B, K, H, W)`, class ids `(B, H, W)` → the sums of the softmax's probabilities, or of their squares."""
    import torch

    scored = (truth != IGNORE).unsqueeze(1)
    counted = scored.to(logits.dtype)
    p = logits.softmax(dim=1) * counted
    # In the type and layout of p: products of floats and integers would be made by way of copies, which take longer than all the rest.
    g = torch.zeros_like(p).scatter_(1, truth.unsqueeze(1).masked_fill(~scored, 0), counted)
    over = (0, 2, 3)
    return Sums((p * g).sum(over), (p * p if squared else p).sum(over), g.sum(over))


def one_hot(truth: Tensor, classes: int) -> Tensor:
    """Class ids `(B, H, W)` → `(B, classes, H, W)` int64, 1 at the class; an ignored pixel counts as class 0 and must be left out by who asks."""
    from torch.nn import functional as F

    return F.one_hot(truth.masked_fill(truth == IGNORE, 0), classes).permute(0, 3, 1, 2)
