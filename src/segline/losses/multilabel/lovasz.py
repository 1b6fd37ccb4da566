"""Lovász hinge: the Lovász extension of each class's Jaccard loss over hinge errors (Berman 2018, section 2: the binary case).

A class's errors are max(0, 1 − z s), with its logit z and the sign s = +1 of its own pixels, −1 of the others. Sorted, the largest first, each weighs as
much as the Jaccard loss grows when its pixel is wrong beside those before it. The batch is taken as one image, what is ignored is left out; the mean is over
the classes that are present in its truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.losses import lovasz
from segline.losses.multilabel.truth import parted

if TYPE_CHECKING:
    from torch import Tensor


class Settings(lovasz.Settings):
    """A surrogate of the IoU; it helps most beside, or after, binary cross-entropy."""

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None) -> Tensor:  # noqa: ARG002
        import torch
        from torch.nn import functional as F

        z = logits.movedim(1, -1).flatten(0, 2)  # (N, K)
        g, scored = parted(truth.movedim(1, -1).flatten(0, 2), z)
        # What is ignored comes last in the order, and costs nothing there: it changes no weight of what comes before it.
        margins = (1 - z * (2 * g - 1)).masked_fill(scored == 0, -torch.inf)
        margins, order = margins.sort(dim=0, descending=True)
        own = g.gather(0, order)
        of_class = g.sum(0)
        jaccard = 1 - (of_class - own.cumsum(0)) / (of_class + (1 - own).cumsum(0)).clamp(min=1)
        growth = jaccard - F.pad(jaccard[:-1], (0, 0, 1, 0))
        losses = (F.relu(margins) * growth).sum(0)
        present = of_class > 0
        return torch.where(present, losses, 0.0).sum() / present.sum().clamp(min=1)
