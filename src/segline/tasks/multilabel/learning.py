"""Multi-label segmentation, the torch half: batches of images and masks of classes that may overlap, the criterion, the graph.

Legend: B images, K classes, C of them shown in a batch, h × w pixels of the largest image of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from segline.data.class_masks import background, stuff, unions
from segline.data.store import IGNORE, Sample
from segline.losses.criterion import Criterion
from segline.losses.multilabel import catalog as losses
from segline.models.semantic import SemanticNetwork
from segline.models.semantic_settings import SemanticSettings
from segline.models.settings import ModelSettings
from segline.tasks.graph import EvalGraph, Sides, normalised
from segline.tasks.learning import Picture
from segline.tasks.semantic.learning import SemanticGraph
from segline_runtime.specification import ClassInfo, Specification


class MultilabelBatch(NamedTuple):
    """Images of one size; smaller ones are padded at the right and the bottom, where all is ignored. See `segline.data.class_masks` for what is of a class."""

    images: Tensor  # (B, C, h, w), values of the image kind; C channels
    labels: Tensor  # (C,) int64: the classes of which the batch shows objects
    masks: Tensor  # (B, C, h, w) uint8 of these classes: 1 of the class, 0 not, 255 = ignore
    ids: Tensor  # (B, h, w) uint8 class ids of what has no objects; 255 = ignore, as where an image does not reach


class MultilabelLearning:
    """See `segline.tasks.learning.Learning`."""

    def criterion(self, settings: ModelSettings, network: nn.Module, class_weights: Mapping[str, Sequence[float]]) -> nn.Module:
        assert isinstance(settings, SemanticSettings) and isinstance(network, SemanticNetwork)
        terms = {name: losses.of(name, term) for name, term in settings.loss.terms().items()}
        return Criterion(terms, class_weights=class_weights, output_weights=network.output_weights)

    def collate(self, samples: Sequence[Sample]) -> MultilabelBatch:
        images, shown, masks, indices = [], [], [], []
        for sample in samples:
            assert sample.instances is not None and sample.mask is not None
            pixels = sample.image if sample.image.dtype == np.uint8 else sample.image.astype(np.float32)
            images.append(torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1))
            labels, found = unions(sample.instances, (sample.image.shape[0], sample.image.shape[1]))
            shown.append(torch.from_numpy(labels))
            masks.append(torch.from_numpy(found))
            indices.append(torch.from_numpy(np.ascontiguousarray(sample.mask)))
        return _together(images, shown, masks, indices)

    def gathered(self, pictures: Sequence[Picture]) -> MultilabelBatch:
        shown, masks, indices = [], [], []
        for picture in pictures:
            assert picture.masks is not None and picture.mask is not None
            labels = torch.unique(picture.labels)
            found = picture.masks.new_zeros((len(labels), *picture.masks.shape[1:]))
            for mask, label in zip(found, labels, strict=True):
                objects, crowds = ((picture.labels == label) & (picture.crowd == crowd) for crowd in (False, True))
                mask[(picture.masks[crowds] == 1).any(0)] = IGNORE
                mask[(picture.masks[objects] == 1).any(0)] = 1
            shown.append(labels)
            masks.append(found)
            indices.append(picture.mask)
        return _together([picture.image for picture in pictures], shown, masks, indices)

    def to_device(self, batch: MultilabelBatch, device: torch.device) -> MultilabelBatch:
        return MultilabelBatch(*(part.to(device, non_blocking=True) for part in batch))

    def losses(self, network: nn.Module, criterion: nn.Module | None, batch: MultilabelBatch, specification: Specification) -> dict[str, Tensor]:
        assert criterion is not None
        images = normalised(batch.images, specification)
        if any(weight.dim() == 4 and not weight.is_contiguous() for weight in network.parameters()):  # mixing memory formats costs a copy in each layer
            images = images.contiguous(memory_format=torch.channels_last)
        outputs = network(images)
        found: dict[str, Tensor] = criterion(outputs, truth_of(batch, specification.classes))
        return found

    def graph(self, network: nn.Module, specification: Specification) -> EvalGraph:
        return MultilabelGraph(network, specification)


class MultilabelGraph(SemanticGraph):
    """A semantic network whose classes are decided one by one, with the resizing of its geometry, there and back."""

    outputs: ClassVar = {"masks": {0: "batch", 2: "height", 3: "width"}, "logits": {0: "batch", 2: "seen_height", 3: "seen_width"}}

    def __init__(self, network: nn.Module, specification: Specification) -> None:
        super().__init__(network, specification)
        self.decide = DecideEach()  # type: ignore[assignment]  # no kind of `Decide`: what an export exchanges that for would choose one class

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images `(B, H, W, C)` → masks uint8 `(B, K, H, W)`, and logits float32 `(B, K, h, w)` of the size at which the network saw the images.

        A pixel is of a class where the logit, bilinearly between them, is 0 or more: where the probability, its sigmoid, is at least 0.5.
        """
        logits = self.seen(images)
        if self.specification.geometry.fit == "native":
            return (logits >= 0).to(torch.uint8), logits
        return self.decide(logits, (images.shape[1], images.shape[2])), logits


class DecideEach(nn.Module):
    """From logits of the size at which a network saw an image to the masks of its classes."""

    def forward(self, logits: Tensor, size: Sides) -> Tensor:
        """Logits `(B, K, h, w)` → masks uint8 `(B, K, H, W)`."""
        return (functional.interpolate(logits, size=size, mode="bilinear", align_corners=False) >= 0).to(torch.uint8)


LEARNING = MultilabelLearning()


def truth_of(batch: MultilabelBatch, classes: Sequence[ClassInfo]) -> Tensor:
    """What losses compare with: uint8 `(B, K, h, w)`; as `segline.data.class_masks.class_masks`, of a batch."""
    count, _, height, width = batch.masks.shape
    truth = batch.masks.new_zeros((count, len(classes), height, width))
    truth[:, batch.labels] = batch.masks
    for label in stuff(classes):
        truth[:, label][batch.ids == label] = 1
    crowd = (batch.masks == IGNORE).any(1)
    beneath = background(classes)
    if beneath is not None:
        nothing = torch.ones_like(truth[:, 0])
        nothing[crowd] = IGNORE
        nothing[(truth == 1).any(1)] = 0
        truth[:, beneath] = nothing
    return truth.masked_fill_(((batch.ids == IGNORE) & ~crowd).unsqueeze(1), IGNORE)


def _together(images: Sequence[Tensor], shown: Sequence[Tensor], masks: Sequence[Tensor], indices: Sequence[Tensor]) -> MultilabelBatch:
    """Images `(C, h, w)`, the masks `(n, h, w)` of the classes `(n,)` that each shows, and their index masks `(h, w)`, as one batch."""
    height, width = max(image.shape[1] for image in images), max(image.shape[2] for image in images)
    labels = torch.unique(torch.cat(list(shown)))
    together = masks[0].new_zeros((len(images), len(labels), height, width))
    beside = masks[0].new_full((len(images), height, width), IGNORE)
    padded = []
    for i, (image, of_image, found, index) in enumerate(zip(images, shown, masks, indices, strict=True)):
        together[i, torch.searchsorted(labels, of_image), : found.shape[1], : found.shape[2]] = found
        beside[i, : image.shape[1], : image.shape[2]] = index
        padded.append(functional.pad(image, (0, width - image.shape[2], 0, height - image.shape[1])))
    return MultilabelBatch(torch.stack(padded), labels, together, beside)
