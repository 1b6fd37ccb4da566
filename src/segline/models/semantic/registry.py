"""The semantic architectures by their word in params.yaml."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from segline.models.semantic import unet
from segline.models.weights import unknown

STRIDE = 32
"""Of the deepest feature map of the encoders."""

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {"unet": unet.build}


def build(arch: str, *, encoder: str, weights: str, channels: int, classes: int) -> nn.Module:
    """Images `(B, channels, H, W)` of any size → logits `(B, classes, H, W)`. Raises ModelError."""
    if arch not in ARCHITECTURES:
        raise unknown("semantic architecture", arch, ARCHITECTURES)
    return Padded(ARCHITECTURES[arch](encoder=encoder, weights=weights, channels=channels, classes=classes))


class Padded(nn.Module):
    """A network whose input sides must be multiples of its stride, made to take any: the right and bottom edges are repeated, and cut off again."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """`(B, C, H, W)` → `(B, K, H, W)`."""
        height, width = int(images.shape[2]), int(images.shape[3])
        padded = functional.pad(images, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        logits: Tensor = self.network(padded)
        return logits[:, :, :height, :width]
