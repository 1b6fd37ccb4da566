"""Binary cross-entropy of each class, −(β g log p + (1 − g) log(1 − p)); `balanced` as in `segline.losses.binary_cross_entropy`.

The mean is over classes and the pixels that are not ignored for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.losses import binary_cross_entropy
from segline.losses.multilabel.truth import class_mean, parted

if TYPE_CHECKING:
    from torch import Tensor


class Settings(binary_cross_entropy.Settings):
    """Cross-entropy of a sigmoid for each class."""

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None, truth_map: Tensor | None = None) -> Tensor:  # noqa: ARG002
        from torch.nn import functional as F

        g, scored = parted(truth, logits)
        found, refused = -F.logsigmoid(logits), -F.logsigmoid(-logits)
        if self.positive_weight != "balanced":
            return class_mean(self.positive_weight * g * found + (1 - g) * refused, scored, class_weights)
        own = g.sum((0, 2, 3)) / scored.sum((0, 2, 3)).clamp(min=1)
        beta = (1 - own).view(1, -1, 1, 1)
        return class_mean(beta * g * found + (1 - beta) * (1 - g) * refused, scored, class_weights)
