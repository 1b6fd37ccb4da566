"""A network between its preprocessing and postprocessing: the module that validation, evaluation and export all run, so that they cannot disagree.

Legend: B images, H × W pixels of the input image, h × w pixels of the network's input, C channels, K classes, N detections.
The modules are in eval mode and stay there: `torch.onnx.export` would otherwise give the network its training flag back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from segline_runtime import tasks
from segline_runtime.specification import Specification

Sides = tuple[int, int]
"""Height and width: numbers, or, while tracing, the tensors that keep them dynamic, which torch's functions take for numbers."""


AS_IT_IS = Fraction(1)
"""The factor of an image that is neither larger nor smaller than the geometry says."""


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Run the block with the network in eval mode; afterwards each of its modules has its own mode back, as training shares them."""
    training = [module for module in network.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def normalised(images: Tensor, specification: Specification) -> Tensor:
    """Raw values `(…, C, h, w)` → float32, less the mean and divided by the standard deviation."""
    mean, std = (torch.tensor(values, device=images.device).view(-1, 1, 1) for values in (specification.mean, specification.std))
    return (images.to(torch.float32) / specification.image.scale - mean) / std


class EvalGraph(nn.Module):
    """Holds the network and the specification's numbers; never in training mode."""

    inputs: ClassVar[dict[str, dict[int, str]]]
    """Name of the input → its axes of any length."""
    outputs: ClassVar[dict[str, dict[int, str]]]
    """Names of the outputs, in order → their axes of any length."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, specification: Specification) -> None:
        super().__init__()
        self.network = network
        self.specification = specification
        self.resize = Resize()
        # Not persistent: the specification is their home, a state dict would be a second one.
        self.register_buffer("mean", torch.tensor(specification.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(specification.std).view(-1, 1, 1), persistent=False)
        self.training = False

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Changes nothing: the graph is an evaluation, and the network's mode belongs to who trains it."""
        return self

    @torch.inference_mode()
    def run(self, images: NDArray[Any], probabilities: bool = True) -> dict[str, NDArray[Any]]:
        """The named outputs, as arrays, for images `(B, H, W, C)`: what `segline_runtime.predictor.Predictor.run` gives for the ONNX model."""
        device = self.mean.device
        values = images if images.dtype == np.uint8 else images.astype(np.float32)
        with torch.autocast(device.type, enabled=False):
            found = self(torch.tensor(values, device=device))
        detail = tasks.get(self.specification.task).detail
        wanted = {name: value for name, value in zip(self.outputs, found, strict=True) if probabilities or name not in detail}
        return {name: value.cpu().numpy() for name, value in wanted.items()}

    def _fitted(self, images: Tensor, factor: Fraction = AS_IT_IS) -> tuple[Tensor, Sides]:
        """Images `(B, H, W, C)` → the network's normalised input `(B, C, h, w)`, and height and width of the content in it, from the top left.

        factor: by how much larger the network sees them than the geometry says.
        """
        geometry = self.specification.geometry
        if geometry.fit == "native" and factor == 1:
            values = images.permute(0, 3, 1, 2).to(torch.float32) / self.specification.image.scale
            return (values - self.mean) / self.std, (images.shape[1], images.shape[2])
        content = self.content(images, factor)
        fitted = (self.resize(images, content, self.specification.image.scale) - self.mean) / self.std
        if geometry.fit == "letterbox":
            height, width = self._network_size(factor)
            fitted = functional.pad(fitted, (0, width - content[1], 0, height - content[0]))
        return fitted, content

    def content(self, images: Tensor, factor: Fraction = AS_IT_IS) -> Sides:
        """Height and width at which the network sees images `(B, H, W, C)`, `factor` times as large as the geometry says, before padding."""
        geometry = self.specification.geometry
        if geometry.fit == "native":
            return _times(images.shape[1], factor), _times(images.shape[2], factor)
        if geometry.fit == "stretch":
            return self._network_size(factor)
        return _inside(images, self._network_size(factor), any_orientation=geometry.fit == "shorter_side")

    def _network_size(self, factor: Fraction) -> tuple[int, int]:
        size = self.specification.geometry.size
        assert size is not None
        return _times(size[0], factor), _times(size[1], factor)


def registered_once(around: EvalGraph, graph: EvalGraph) -> None:
    """Make `around`, which holds `graph`, hold its network through it alone: the newer exporter knows each weight by one name."""
    del around.network
    object.__setattr__(around, "network", graph.network)


class Resize(nn.Module):
    """To the size at which the network sees an image, antialiased where that is smaller."""

    def forward(self, images: Tensor, size: Sides, scale: float) -> Tensor:
        """Images `(B, H, W, C)` → float32 `(B, C, h, w)`, divided by `scale`."""
        values = images.permute(0, 3, 1, 2).to(torch.float32) / scale
        return functional.interpolate(values, size=size, mode="bilinear", align_corners=False, antialias=True)


def _times(length: int, factor: Fraction) -> int:
    """A length in pixels, or what keeps it dynamic, times `factor`, rounded up: never 0. In integers: floats round differently in the traced graph."""
    if factor == 1:
        return length
    return (length * factor.numerator + factor.denominator - 1) // factor.denominator


def _inside(images: Tensor, size: tuple[int, int], *, any_orientation: bool) -> Sides:
    """Height and width of images `(B, H, W, C)` made as large as fits into `size`, the aspect ratio kept, rounded down; see `segline_runtime.geometry`.

    any_orientation: the longer side of the image may go along the longer side of `size`. In integers: floats round differently in the traced graph.
    """
    height_width = torch._shape_as_tensor(images)[1:3]  # (2,) int64
    if any_orientation:
        over_first, over_second = height_width.min(), height_width.max()
        to_first, to_second = min(size), max(size)
    else:
        over_first, over_second = height_width[0], height_width[1]
        to_first, to_second = size
    first_decides = to_first * over_second <= to_second * over_first
    content = torch.where(first_decides, height_width * to_first // over_first, height_width * to_second // over_second).clamp(min=1)
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return (content[0], content[1]) if tracing else (int(content[0]), int(content[1]))  # type: ignore[return-value]
