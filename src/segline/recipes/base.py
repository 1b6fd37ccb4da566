"""What a recipe is: the settings by which the field trains a family of architectures, as defaults for an entry of `models:` in params.yaml.

A recipe is data, one file each. Its keys are those of params.yaml; an entry that names it overrides them key by key (`segline.recipes.applied`).
How long is trained, and with how many images at a time, is the user's budget: what depends on it is said as a share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Plain = str | int | float | bool | None


@dataclass(frozen=True)
class OfEpochs:
    """A number of epochs: this share of `train.epochs`."""

    share: float


@dataclass(frozen=True)
class ForBatch:
    """A learning rate that goes with batches of so many images; for others it is larger or smaller in proportion (Goyal 2017)."""

    lr: float
    images: int


Value = Plain | OfEpochs | ForBatch | list["Value"] | dict[str, "Value"]
"""As params.yaml has it, or one of the above."""


@dataclass(frozen=True)
class Recipe:
    """One file of this folder."""

    about: str  # one sentence
    source: str  # the paper
    architectures: tuple[str, ...]  # for which it makes sense
    values: Mapping[str, Value]  # keys of an entry of `models:`
    pretrained: bool = False  # whether it goes on from weights, and makes no sense without
