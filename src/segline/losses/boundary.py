"""Boundary loss: the mean over pixels and classes of φ_c p_c, φ_c the signed distance to the boundary of class c, negative inside (Kervadec 2019, equation 5).

A probability costs the more the farther outside it lies, and gains the more the farther inside; so the loss is below 0 where the prediction is right. A class
that a picture does not show, or shows alone, has no boundary and no share there. Beside it belongs a loss of regions, as in the paper:
`{dice: 1, boundary: 0.01}`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline.data.store import IGNORE
from segline.losses.base import MappedLoss
from segline.losses.truth_maps import SignedDistances

if TYPE_CHECKING:
    from torch import Tensor


class Settings(MappedLoss):
    """How far wrong pixels lie from the true boundary; beside a loss of overlap, with a weight around 0.01, as distances are in pixels."""

    @property
    def wanted_map(self) -> SignedDistances:
        return SignedDistances()

    def compute(self, logits: Tensor, truth: Tensor, class_weights: Tensor | None, truth_map: Tensor | None = None) -> Tensor:  # noqa: ARG002
        assert truth_map is not None, "the map that was asked for comes with each batch"
        scored = (truth != IGNORE).unsqueeze(1)
        total = (logits.softmax(dim=1) * truth_map * scored).sum()
        return total / (scored.sum() * logits.shape[1]).clamp(min=1)
