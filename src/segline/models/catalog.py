"""What `arch` can name, for all tasks: architectures, word → package with `settings` (light) beside `network` (torch), and what is made of other entries."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from segline import choices
from segline.models.settings import Entry, ModelSettings

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURES: dict[str, str] = {
    "patch": "segline.models.patch",
    "fcn32s": "segline.models.fcn32s",
    "fcn16s": "segline.models.fcn16s",
    "fcn8s": "segline.models.fcn8s",
    "deconvnet": "segline.models.deconvnet",
    "segnet": "segline.models.segnet",
    "unet_2015": "segline.models.unet_2015",
    "unet": "segline.models.unet",
    "unetplusplus": "segline.models.unetplusplus",
    "resenc_unet": "segline.models.resenc_unet",
    "fpn": "segline.models.fpn",
    "tiramisu56": "segline.models.tiramisu56",
    "tiramisu67": "segline.models.tiramisu67",
    "tiramisu103": "segline.models.tiramisu103",
    "deeplabv1": "segline.models.deeplabv1",
    "deeplabv2": "segline.models.deeplabv2",
    "deeplabv3": "segline.models.deeplabv3",
    "deeplabv3plus": "segline.models.deeplabv3plus",
    "pspnet": "segline.models.pspnet",
    "hrnet": "segline.models.hrnet",
    "upernet": "segline.models.upernet",
    "segformer": "segline.models.segformer",
    "maskrcnn": "segline.models.maskrcnn",
}

COMPOSITIONS: dict[str, str] = {
    "ensemble": "segline.models.ensemble",
    "box_fusion": "segline.models.box_fusion",
    "soup": "segline.models.soup",
    "components": "segline.models.components",
}
"""Word → package with `settings` beside `making` (torch): how the members become one graph, or one network."""


def words() -> tuple[str, ...]:
    """All that `arch` can name."""
    return (*ARCHITECTURES, *COMPOSITIONS)


def settings(arch: str) -> type[Entry]:
    """The settings of an architecture, or of what is made of other entries. Raises ParametersError for an unknown word."""
    found: type[Entry] = choices.module({**ARCHITECTURES, **COMPOSITIONS}, "architecture", arch, "settings").Settings
    return found


def making(arch: str) -> ModuleType:
    """How what `arch` names is made of its members."""
    return choices.module(COMPOSITIONS, "composition", arch, "making")


def build(settings: ModelSettings, *, channels: int, classes: int) -> nn.Module:
    """The network for `settings`: images of `channels` → predictions of `classes` (background included). Raises ModelError."""
    builder: Callable[..., nn.Module] = choices.module(ARCHITECTURES, "architecture", settings.arch, "network").build
    return builder(settings, channels=channels, classes=classes)


def check(settings: ModelSettings) -> None:
    """Raises ModelError where the libraries lack what `settings` name; asks no server. A network module whose names can be wrong has a function `check`."""
    checker: Callable[..., None] | None = getattr(choices.module(ARCHITECTURES, "architecture", settings.arch, "network"), "check", None)
    if checker is not None:
        checker(settings)


def pretrained_statistics(settings: ModelSettings) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation per channel that the weights named by `settings` expect, as their library records them; None where nothing is known.

    A network that has no pre-trained weights has no function `statistics`.
    """
    asked: Callable[..., tuple[tuple[float, ...], tuple[float, ...]] | None] | None = getattr(
        choices.module(ARCHITECTURES, "architecture", settings.arch, "network"), "statistics", None
    )
    return None if asked is None else asked(settings)
