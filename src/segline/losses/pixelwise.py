"""What the losses that are means over pixels share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.data.store import IGNORE

if TYPE_CHECKING:
    from torch import Tensor


def shares(truth: Tensor, class_weights: Tensor | None, border: Tensor | None = None) -> Tensor:
    """What each pixel counts `(B, H, W)`: its class's weight, or 1, and what `border` adds `(B, H, W)`; ignored pixels 0."""
    scored = truth != IGNORE
    weights = scored.float() if class_weights is None else class_weights[truth.masked_fill(~scored, 0)] * scored
    return weights if border is None else weights + border * scored


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Σ w l / Σ w over tensors of one shape; 0, with a gradient, where no weight is above 0."""
    return (weights * losses).sum() / weights.sum().clamp(min=1e-12)


def class_mean(losses: Tensor, truth: Tensor, class_weights: Tensor | None, border: Tensor | None = None) -> Tensor:
    """Losses of each class against the rest `(B, K, H, W)` → their mean over pixels that are not ignored and over classes (with weights: the weighted mean).

    border: what pixels count more `(B, H, W)`, for every class.
    """
    scored = (truth != IGNORE).unsqueeze(1)
    of_class = (losses.new_ones(losses.shape[1]) if class_weights is None else class_weights).view(1, -1, 1, 1)
    return weighted_mean(losses, scored * (of_class if border is None else of_class + border.unsqueeze(1)))
