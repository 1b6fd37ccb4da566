"""What every semantic network is for the rest of the line: images of any size in, named logits of the same size out."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from segline.losses.criterion import MAIN


class SemanticNetwork(nn.Module):
    """A network whose input sides must be multiples of its stride, made to take any: the right and bottom edges are repeated, and cut off again.

    `network` gives logits `(B, K, h', w')`, or a mapping of named ones with `logits` among them, of any resolution.
    """

    def __init__(self, network: nn.Module, *, stride: int, encoder: nn.Module | None = None, output_weights: Mapping[str, float] | None = None) -> None:
        """stride: of the deepest feature map. encoder: the part of `network` that pre-trained weights are for.

        output_weights: share of each auxiliary output in the loss; the main one has 1.
        """
        super().__init__()
        self.network = network
        self.stride = stride
        self.output_weights = {MAIN: 1.0} | dict(output_weights or {})
        self._encoder = [] if encoder is None else [encoder]  # in a list, so that its weights are registered once

    @property
    def encoder(self) -> nn.Module | None:
        return self._encoder[0] if self._encoder else None

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images `(B, C, H, W)` → outputs by name, each `(B, K, H, W)`; outside training `logits` alone."""
        height, width = _sides(images)
        padded = images
        if not (isinstance(height, int) and height % self.stride == 0 and width % self.stride == 0):
            padded = functional.pad(images, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        found: Tensor | dict[str, Tensor] = self.network(padded)
        outputs = found if isinstance(found, dict) else {MAIN: found}
        names = self.output_weights if self.training else (MAIN,)
        return {name: self._at_input_size(outputs[name], padded)[:, :, :height, :width] for name in names}

    def _at_input_size(self, logits: Tensor, padded: Tensor) -> Tensor:
        if logits.shape[2:] == padded.shape[2:]:
            return logits
        return functional.interpolate(logits, size=(padded.shape[2], padded.shape[3]), mode="bilinear", align_corners=False)


def _sides(images: Tensor) -> tuple[int, int]:
    """Height and width as numbers; while tracing as what keeps them dynamic in the graph."""
    return images.shape[2], images.shape[3]
