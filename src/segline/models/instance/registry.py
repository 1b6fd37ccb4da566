"""The instance architectures by their word in params.yaml."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from segline.models.instance import maskrcnn
from segline.models.weights import unknown

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {"maskrcnn": maskrcnn.build}


def build(arch: str, **arguments: Any) -> nn.Module:
    """A torchvision detector with masks; arguments as of the architecture's own `build`. Raises ModelError."""
    if arch not in ARCHITECTURES:
        raise unknown("instance architecture", arch, ARCHITECTURES)
    return ARCHITECTURES[arch](**arguments)
