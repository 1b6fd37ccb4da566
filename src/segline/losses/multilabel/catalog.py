"""The losses that can learn from truth in which a pixel may be of several classes: word → module with the `Settings` that compute it so.

The keys are those of the loss itself; what differs is that each class has a sigmoid of its own, and a truth of its own.
"""

from __future__ import annotations

from segline import choices
from segline.losses.base import LossSettings

LOSSES: dict[str, str] = {
    "binary_cross_entropy": "segline.losses.multilabel.binary_cross_entropy",
    "binary_focal": "segline.losses.multilabel.binary_focal",
    "dice": "segline.losses.multilabel.dice",
    "jaccard": "segline.losses.multilabel.jaccard",
    "tversky": "segline.losses.multilabel.tversky",
    "lovasz": "segline.losses.multilabel.lovasz",
}

DEFAULT = "binary_cross_entropy"
"""What is minimised where params.yaml names no loss."""


def of(name: str, settings: LossSettings) -> LossSettings:
    """The loss `name` with the values of `settings`, for logits `(B, K, H, W)` and truth `(B, K, H, W)`: 1 of the class, 0 not, 255 = ignore.

    Raises ParametersError for a word that is not in the table.
    """
    kind: type[LossSettings] = choices.module(LOSSES, "loss", name).Settings
    return kind.model_validate(dict(settings))
