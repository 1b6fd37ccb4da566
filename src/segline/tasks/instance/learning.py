"""Instance segmentation, the torch half: batches of images and objects, the detector's own losses, the graph.

A network of this task can do what `Detector` says; see `segline.models.maskrcnn.network.InstanceNetwork`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from segline.data.store import Sample
from segline.models.settings import ModelSettings
from segline.tasks.graph import AS_IT_IS, EvalGraph, Sides, evaluating, normalised
from segline.tasks.learning import Picture
from segline_runtime.specification import Specification

SMALLEST_BOX = 1.0
"""Pixels; a box that a crop left thinner than this has no area to learn from and turns the loss NaN."""


class Detector(Protocol):
    """What an instance network can do. Boxes are xyxy in pixels of the network's input."""

    def loss(self, images: Sequence[Tensor], targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Normalised images `(C, h, w)` and their `boxes` `(N, 4)`, `labels` `(N,)`, `masks` `(N, h, w)` → named losses; in eval mode too."""

    def look(self, image: Tensor, size: Sides) -> Any:
        """One look at a normalised image `(C, h, w)` with its content's size; `boxes` and `masks` know what it is."""

    def boxes(self, seen: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Detections of a look, by falling score: boxes `(N, 4)`, labels `(N,)`, scores `(N,)`."""

    def masks(self, seen: Any, boxes: Tensor, labels: Tensor) -> Tensor:
        """The masks `(N, M, M)`, in 0…1, of boxes `(N, 4)` for their labels `(N,)`, wherever those come from."""

    def strongest(self, boxes: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
        """Which of some detections are kept, `(n,)`, by falling score."""


class InstanceBatch(NamedTuple):
    """Images, which may differ in size, and their objects."""

    images: list[Tensor]  # each (C, h, w), values of the image kind
    targets: list[dict[str, Tensor]]  # each: boxes float32 (N, 4) xyxy pixels, labels int64 (N,), masks uint8 (N, h, w)


class InstanceLearning:
    """See `segline.tasks.learning.Learning`."""

    def criterion(self, settings: ModelSettings, network: nn.Module, class_weights: Mapping[str, Sequence[float]]) -> None:  # noqa: ARG002
        return None

    def collate(self, samples: Sequence[Sample]) -> InstanceBatch:
        return InstanceBatch([_image(sample) for sample in samples], [_target(sample) for sample in samples])

    def gathered(self, pictures: Sequence[Picture]) -> InstanceBatch:
        return InstanceBatch([picture.image for picture in pictures], [_target_on_device(picture) for picture in pictures])

    def to_device(self, batch: InstanceBatch, device: torch.device) -> InstanceBatch:
        images = [image.to(device, non_blocking=True) for image in batch.images]
        targets = [{name: value.to(device, non_blocking=True) for name, value in target.items()} for target in batch.targets]
        return InstanceBatch(images, targets)

    def losses(self, network: nn.Module, criterion: nn.Module | None, batch: InstanceBatch, specification: Specification) -> dict[str, Tensor]:  # noqa: ARG002
        parts = _detector(network).loss([normalised(image, specification) for image in batch.images], batch.targets)
        return {**parts, "loss": torch.stack(list(parts.values())).sum()}

    def graph(self, network: nn.Module, specification: Specification) -> EvalGraph:
        return InstanceGraph(network, specification)


class InstanceGraph(EvalGraph):
    """A detector for one image, with the resizing of its geometry; the masks stay as the mask head gives them, per box.

    Its labels are the specification's class ids; 0 is its background. Pasting the masks into the image is `segline_runtime.instance`.
    """

    inputs: ClassVar = {"images": {1: "height", 2: "width"}}
    outputs: ClassVar = {name: {0: "detections"} for name in ("boxes", "labels", "scores", "masks")}

    @property
    def detector(self) -> Detector:
        return _detector(self.network)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images `(1, H, W, C)` → detections by falling score.

        Boxes float32 `(N, 4)` xyxy in pixels of the input, labels int64 `(N,)`, scores float32 `(N,)`, masks float32 `(N, 28, 28)` in 0…1.
        """
        with evaluating(self.network):
            seen = self.look(images)
            boxes, labels, scores = self.detector.boxes(seen)
            masks = self.detector.masks(seen, boxes, labels)
        ratio = self.ratio(images)
        return boxes if ratio is None else boxes * ratio, labels, scores, masks

    def look(self, images: Tensor, factor: Fraction = AS_IT_IS) -> Any:
        """See `Detector.look`; of the images `factor` times as large as the geometry says. The network must be in eval mode."""
        fitted, content = self._fitted(images, factor)
        return self.detector.look(fitted[0], content)

    def ratio(self, images: Tensor, factor: Fraction = AS_IT_IS) -> Tensor | None:
        """`(4,)`: a box in pixels of the network's input times this is the box in pixels of the image. None where these are the same."""
        if self.specification.geometry.fit == "native" and factor == 1:
            return None
        size = torch._shape_as_tensor(images)[1:3].to(torch.float32)
        resized = torch.stack([torch.ones(()) * side for side in self.content(images, factor)])
        return (size / resized).to(images.device).flip(0).repeat(2)


LEARNING = InstanceLearning()


def _detector(network: Any) -> Detector:
    return cast("Detector", network)


def _image(sample: Sample) -> Tensor:
    values = np.ascontiguousarray(sample.image.transpose(2, 0, 1))
    return torch.from_numpy(values if values.dtype == np.uint8 else values.astype(np.float32))


def _target(sample: Sample) -> dict[str, Tensor]:
    """Crowds teach nothing: torchvision has no way to leave them out of the loss other than not to show them."""
    assert sample.instances is not None
    found = sample.instances
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    keep = ~found.crowd & (sides >= SMALLEST_BOX).all(axis=1)
    return {
        "boxes": torch.from_numpy(found.boxes[keep].astype(np.float32)).reshape(-1, 4),
        "labels": torch.from_numpy(found.labels[keep].astype(np.int64)),
        "masks": torch.from_numpy(found.masks[keep].astype(np.uint8)),
    }


def _target_on_device(picture: Picture) -> dict[str, Tensor]:
    """As `_target`; the boxes are the masks' own."""
    assert picture.masks is not None
    masks = picture.masks[~picture.crowd]
    boxes = torch.stack([*_span(masks.amax(1)), *_span(masks.amax(2))])[[0, 2, 1, 3]].T.to(torch.float32)
    keep = (boxes[:, 2:] - boxes[:, :2] >= SMALLEST_BOX).all(1)
    return {"boxes": boxes[keep], "labels": picture.labels[~picture.crowd][keep], "masks": masks[keep]}


def _span(shadows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of 0 and 1 `(N, L)` → first place with a 1, and the place after the last, `(N,)` each; both 0 where there is none."""
    some = shadows.amax(1).to(torch.int64)
    first = shadows.argmax(1)
    return first * some, (shadows.shape[1] - shadows.flip(1).argmax(1)) * some
