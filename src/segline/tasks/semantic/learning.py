"""Semantic segmentation, the torch half: batches of images and index masks, the criterion, the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import default_collate

from segline.data.store import IGNORE, Sample
from segline.losses.criterion import MAIN, Criterion
from segline.models.semantic import SemanticNetwork
from segline.models.semantic_settings import SemanticSettings
from segline.models.settings import ModelSettings
from segline.tasks.graph import AS_IT_IS, EvalGraph, Sides, evaluating, normalised
from segline.tasks.learning import Picture
from segline_runtime.specification import Specification


class SemanticBatch(NamedTuple):
    """Images of one size; smaller ones are padded at the right and the bottom, where the mask says `ignore`."""

    images: Tensor  # (B, C, h, w), values of the image kind
    masks: Tensor  # (B, h, w) uint8 class ids, 255 = ignore; an eighth of what losses need, for the way to them
    maps: dict[str, Tensor] | None = None  # what losses read beside them, by name, each (B, …, h, w), 0 where an image was padded; None: no loss reads any


class SemanticLearning:
    """See `segline.tasks.learning.Learning`."""

    def criterion(self, settings: ModelSettings, network: nn.Module, class_weights: Mapping[str, Sequence[float]]) -> nn.Module:
        assert isinstance(settings, SemanticSettings) and isinstance(network, SemanticNetwork)
        return Criterion(settings.loss.terms(), class_weights=class_weights, output_weights=network.output_weights)

    def collate(self, samples: Sequence[Sample]) -> SemanticBatch:
        size = (max(sample.image.shape[0] for sample in samples), max(sample.image.shape[1] for sample in samples))
        images, masks = [], []
        for sample in samples:
            assert sample.mask is not None
            images.append(_of_size(sample.image.astype(_carried(sample.image.dtype), copy=False), size, beside=0))
            masks.append(_of_size(sample.mask, size, beside=IGNORE))
        # torch's own collate function stacks them, in a loader's process, where the training reads them: they are copied once. In memory the channels of a
        # pixel stay together, as images have them: nothing is turned here, and most networks take it so.
        return SemanticBatch(default_collate(images).permute(0, 3, 1, 2), default_collate(masks), _together(samples, size))

    def gathered(self, pictures: Sequence[Picture]) -> SemanticBatch:
        height = max(picture.image.shape[1] for picture in pictures)
        width = max(picture.image.shape[2] for picture in pictures)
        images, masks = [], []
        for picture in pictures:
            assert picture.mask is not None
            beside = (0, width - picture.image.shape[2], 0, height - picture.image.shape[1])
            images.append(functional.pad(picture.image, beside))
            masks.append(functional.pad(picture.mask, beside, value=IGNORE))
        return SemanticBatch(torch.stack(images), torch.stack(masks))

    def to_device(self, batch: SemanticBatch, device: torch.device) -> SemanticBatch:
        maps = None if batch.maps is None else {name: values.to(device, non_blocking=True) for name, values in batch.maps.items()}
        return SemanticBatch(batch.images.to(device, non_blocking=True), batch.masks.to(device, non_blocking=True), maps)

    def losses(self, network: nn.Module, criterion: nn.Module | None, batch: SemanticBatch, specification: Specification) -> dict[str, Tensor]:
        assert criterion is not None
        images = normalised(batch.images, specification).contiguous(memory_format=_format_of(network))
        found: dict[str, Tensor] = criterion(network(images), batch.masks.long(), batch.maps)
        return found

    def graph(self, network: nn.Module, specification: Specification) -> EvalGraph:
        return SemanticGraph(network, specification)


class SemanticGraph(EvalGraph):
    """A semantic network with the resizing of its geometry, there and back."""

    inputs: ClassVar = {"images": {0: "batch", 1: "height", 2: "width"}}
    outputs: ClassVar = {"class_ids": {0: "batch", 1: "height", 2: "width"}, "logits": {0: "batch", 2: "seen_height", 3: "seen_width"}}

    def __init__(self, network: nn.Module, specification: Specification) -> None:
        super().__init__(network, specification)
        self.decide = Decide()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images `(B, H, W, C)` → class ids uint8 `(B, H, W)`, and logits float32 `(B, K, h, w)` of the size at which the network saw the images.

        The class is the one of the largest logit, bilinearly between them. Probabilities at the image's size are made of logits by who asks for them: in
        the graph they would cost everybody.
        """
        logits = self.seen(images)
        if self.specification.geometry.fit == "native":
            return logits.argmax(1).to(torch.uint8), logits
        return self.decide(logits, (images.shape[1], images.shape[2])), logits

    def seen(self, images: Tensor, factor: Fraction = AS_IT_IS) -> Tensor:
        """Images `(B, H, W, C)` → logits float32 `(B, K, h, w)`, of the size of `content(images, factor)`."""
        fitted, (content_height, content_width) = self._fitted(images, factor)
        with evaluating(self.network):
            logits: Tensor = self.network(fitted)[MAIN].float()
        if self.specification.geometry.fit == "letterbox":
            logits = logits[:, :, :content_height, :content_width]
        return logits


class Decide(nn.Module):
    """From logits of the size at which a network saw an image to the classes of its pixels."""

    def forward(self, logits: Tensor, size: Sides) -> Tensor:
        """Logits `(B, K, h, w)` → class ids uint8 `(B, H, W)`."""
        return functional.interpolate(logits, size=size, mode="bilinear", align_corners=False).argmax(1).to(torch.uint8)


LEARNING = SemanticLearning()


def _together(samples: Sequence[Sample], size: tuple[int, int]) -> dict[str, Tensor] | None:
    """The maps of all samples, each padded to `size` by 0; None where they have none."""
    found: dict[str, Tensor] = {}
    for name, first in (samples[0].maps or {}).items():
        together = np.zeros((len(samples), *first.shape[:-2], *size), dtype=first.dtype)
        for i, sample in enumerate(samples):
            assert sample.maps is not None, "all samples of a training are made alike"
            values = sample.maps[name]
            together[i, ..., : values.shape[-2], : values.shape[-1]] = values
        found[name] = torch.from_numpy(together)
    return found or None


def _of_size(values: NDArray[Any], size: tuple[int, int], *, beside: int) -> Tensor:
    """An array `(h, w, …)` with `beside` at its right and its bottom, up to `size`."""
    if values.shape[:2] != size:
        smaller = values
        values = np.full((*size, *smaller.shape[2:]), beside, dtype=smaller.dtype)
        values[: smaller.shape[0], : smaller.shape[1]] = smaller
    return torch.from_numpy(np.require(values, requirements=["C", "W"]))


def _carried(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """The type in which torch can carry an image's values."""
    return dtype if dtype == np.uint8 else np.dtype(np.float32)


def _format_of(network: nn.Module) -> torch.memory_format:
    """channels_last where the network's weights are: mixing formats costs a copy in each layer."""
    weights = (p for p in network.parameters() if p.dim() == 4 and p.shape[1] > 1)
    last = any(p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous() for p in weights)
    return torch.channels_last if last else torch.contiguous_format
