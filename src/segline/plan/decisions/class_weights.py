"""`class_weights: auto` of a loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

_RARE = 20.0
"""How many times as many pixels the most frequent class has as the rarest, above which classes are weighted. CamVid's has a hundred times
as many, and gains 0.06 of mean IoU by weights (examples/camvid.yaml)."""


def class_weights(pixels: Sequence[int], classes: Sequence[str]) -> tuple[Literal["none", "enet"], str]:
    """By the pixels of each class in the training images. ENet's weights stay within 1 and 50, however rare a class is, and need no other learning rate."""
    shares = {label: number / sum(pixels) for label, number in enumerate(pixels) if number}
    if len(shares) < 2:
        return "none", "the training images show one class"
    rarest, most = min(shares, key=lambda label: shares[label]), max(shares, key=lambda label: shares[label])
    said = f"{classes[rarest]} is {_percent(shares[rarest])} of the pixels and {classes[most]} {_percent(shares[most])}"
    if shares[most] < _RARE * shares[rarest]:
        return "none", f"{said}: no class is rare"
    return "enet", f"{said}, so classes are weighted"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"
