"""The losses that the section `loss` of a model can name: word → module with its `Settings`."""

from __future__ import annotations

from segline import choices
from segline.losses.base import LossSettings

LOSSES: dict[str, str] = {
    "cross_entropy": "segline.losses.cross_entropy",
    "binary_cross_entropy": "segline.losses.binary_cross_entropy",
    "focal": "segline.losses.focal",
    "binary_focal": "segline.losses.binary_focal",
    "ohem": "segline.losses.ohem",
    "dice": "segline.losses.dice",
    "jaccard": "segline.losses.jaccard",
    "tversky": "segline.losses.tversky",
    "lovasz": "segline.losses.lovasz",
    "boundary": "segline.losses.boundary",
}


def settings(name: str) -> type[LossSettings]:
    """The settings of a loss. Raises ParametersError for an unknown word."""
    found: type[LossSettings] = choices.module(LOSSES, "loss", name).Settings
    return found
