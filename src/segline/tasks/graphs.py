"""The networks between their preprocessing and postprocessing. Validation, evaluation and export run these same modules, so they cannot disagree.

Legend: B images, H × W pixels of the input image, h × w pixels of the network's input, K classes, N detections.
The modules are in eval mode and stay there: `torch.onnx.export` would otherwise give the network its training flag back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.image_list import ImageList

from segline_runtime.specification import Specification


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
        self.image_size = specification.image_size
        # Not persistent: the specification is their home, a state dict would be a second one.
        self.register_buffer("mean", torch.tensor(specification.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(specification.std).view(-1, 1, 1), persistent=False)
        self.training = False

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Changes nothing: the graph is an evaluation, and the network's mode belongs to who trains it."""
        return self

    @torch.inference_mode()
    def run(self, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """The named outputs, as arrays, for RGB images uint8 `(B, H, W, 3)`: what `segline_runtime.predictor.Predictor.run` gives for the ONNX model."""
        device = self.mean.device
        with torch.autocast(device.type, enabled=False):
            values = self(torch.tensor(images, device=device))
        return {name: value.cpu().numpy() for name, value in zip(self.outputs, values, strict=True)}

    def _scaled(self, images: Tensor) -> Tensor:
        """uint8 `(B, H, W, 3)` → float32 `(B, 3, H, W)` in 0…1."""
        return images.permute(0, 3, 1, 2).to(torch.float32) / 255

    def _normalised(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


class SemanticGraph(EvalGraph):
    """A network `(B, 3, h, w)` → logits `(B, K, h', w')`, with `stretch` resizing to its size and back."""

    inputs: ClassVar = {"images": {0: "batch", 1: "height", 2: "width"}}
    outputs: ClassVar = {"class_ids": {0: "batch", 1: "height", 2: "width"}, "probabilities": {0: "batch", 2: "height", 3: "width"}}

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """RGB uint8 `(B, H, W, 3)` → class ids uint8 `(B, H, W)` and probabilities float32 `(B, K, H, W)`, at the input's own size."""
        height, width = images.shape[1], images.shape[2]
        resized = functional.interpolate(self._scaled(images), size=self.image_size, mode="bilinear", align_corners=False)
        with evaluating(self.network):
            logits = self.network(self._normalised(resized)).float()
        logits = functional.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
        return logits.argmax(1).to(torch.uint8), logits.softmax(1)


class InstanceGraph(EvalGraph):
    """torchvision's Mask R-CNN for one image, with `shorter_side` resizing; the masks stay as the mask head gives them, per box.

    Its labels are the specification's class ids; 0 is its background. Pasting the masks into the image is `segline_runtime.postprocess`.
    """

    inputs: ClassVar = {"images": {1: "height", 2: "width"}}
    outputs: ClassVar = {name: {0: "detections"} for name in ("boxes", "labels", "scores", "masks")}

    def __init__(self, network: nn.Module, specification: Specification) -> None:
        assert isinstance(network, MaskRCNN)
        super().__init__(network, specification)
        self.network: MaskRCNN = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """RGB uint8 `(1, H, W, 3)` → detections by falling score.

        Boxes float32 `(N, 4)` xyxy in pixels of the input, labels int64 `(N,)`, scores float32 `(N,)`, masks float32 `(N, 28, 28)` in 0…1.
        """
        network = self.network
        # (2,) int64, in integers: torchvision multiplies float scales, which round differently in the traced graph.
        size = torch._shape_as_tensor(images)[1:3]
        short, long = size.min(), size.max()
        to_short, to_long = min(self.image_size), max(self.image_size)
        fits = to_short * long <= to_long * short
        resized_size = torch.where(fits, size * to_short // short, size * to_long // long).clamp(min=1)
        height, width = _dimensions(resized_size)
        resized = functional.interpolate(self._scaled(images), size=(height, width), mode="bilinear", align_corners=False)
        with evaluating(network):
            batch = network.transform.batch_images([self._normalised(resized)[0]])
            sizes = [(height, width)]
            # What MaskRCNN.forward does, without the paste of transform.postprocess.
            features = network.backbone(batch)
            proposals, _ = network.rpn(ImageList(batch, sizes), features)
            detections, _ = network.roi_heads(features, proposals, sizes)
        found = detections[0]
        ratio = (size.to(torch.float32) / resized_size.to(torch.float32)).to(images.device)
        boxes = found["boxes"].float() * ratio.flip(0).repeat(2)
        return boxes, found["labels"], found["scores"].float(), found["masks"][:, 0].float()


def _dimensions(size: Tensor) -> Sequence[int]:
    """Height and width as numbers; while tracing as the tensors that keep them dynamic, which torch's functions take for numbers."""
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return (size[0], size[1]) if tracing else size.tolist()  # type: ignore[return-value]
