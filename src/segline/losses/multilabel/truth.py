"""What the losses of multi-label truth share. Legend: B images, K classes; truth is uint8 `(B, K, H, W)`, 1 of the class, 0 not, 255 = ignore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.data.store import IGNORE
from segline.losses.overlap import Sums
from segline.losses.pixelwise import weighted_mean

if TYPE_CHECKING:
    from torch import Tensor


def parted(truth: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """What is of the class, and what is not ignored, `(B, K, H, W)` each, 0 or 1 in the type of `like`."""
    return (truth == 1).to(like.dtype), (truth != IGNORE).to(like.dtype)


def class_mean(losses: Tensor, scored: Tensor, class_weights: Tensor | None) -> Tensor:
    """Losses of each class against the rest `(B, K, H, W)` → their mean over what is not ignored (with weights `(K,)`: the weighted mean)."""
    return weighted_mean(losses, scored if class_weights is None else scored * class_weights.view(1, -1, 1, 1))


def sums(logits: Tensor, truth: Tensor, *, squared: bool = False) -> Sums:
    """As `segline.losses.overlap.sums`, of the sigmoid's probabilities: each class leaves out what is ignored of it."""
    g, scored = parted(truth, logits)
    p = logits.sigmoid() * scored
    over = (0, 2, 3)
    return Sums((p * g).sum(over), (p * p if squared else p).sum(over), g.sum(over))
