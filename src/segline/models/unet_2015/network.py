"""The original U-Net (Ronneberger, Fischer, Brox 2015).

Four levels down, each two 3×3 convolutions and a 2×2 max pooling with the channels doubled; four levels up, each a 2×2 up-convolution, the map of the way down
cropped and joined, two 3×3 convolutions. The convolutions are valid ones, so every value is computed from pixels that exist: 572 × 572 pixels in, 388 × 388
scores out. Here the image's borders are mirrored by those 92 pixels a side (the paper's overlap-tile strategy), so that there are scores for all of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from segline.models.initialisation import initialise
from segline.models.norm import exchange
from segline.models.semantic import SemanticNetwork
from segline.models.unet_2015.settings import Settings
from segline.models.upsampling.layers import Upsample
from segline.models.upsampling.settings import Upsampling

LEVELS = 4

_CONVOLVED = 4  # pixels that two valid 3×3 convolutions take from a side's length


class UNet(nn.Module):
    """Images `(B, C, H, W)` → logits `(B, K, H', W')`: with padding H' = H, a multiple of 16; without, H' = H - 184, and H is 12 above a multiple of 16."""

    def __init__(self, *, channels: int, classes: int, width: int, padding: int, norm: bool, dropout: float, upsample: Upsampling) -> None:
        """padding: of each convolution: 1 keeps a map's size, 0 is the paper's."""
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS + 1)]
        sides = zip([channels, *widths[:-1]], widths, strict=True)
        self.down = nn.ModuleList(_convolutions(inputs, outputs, padding, norm=norm) for inputs, outputs in sides)
        self.dropout = nn.Dropout(dropout)
        self.upsample, self.up = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(LEVELS)):
            self.upsample.append(Upsample(upsample, widths[level + 1], widths[level]))
            self.up.append(_convolutions(2 * widths[level], widths[level], padding, norm=norm))
        self.score = nn.Conv2d(width, classes, 1)
        self.margins = _margins() if padding == 0 else [0] * LEVELS
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        values, skips = images, []
        for level, convolve in enumerate(self.down):
            values = convolve(values if level == 0 else functional.max_pool2d(values, 2))
            if level >= LEVELS - 1:  # the last map that is given across, and the bottom
                values = self.dropout(values)
            skips.append(values)
        skips.pop()
        for upsample, convolve, margin in zip(self.upsample, self.up, self.margins, strict=True):
            values = convolve(torch.cat([_cropped(skips.pop(), margin), upsample(values)], dim=1))
        logits: Tensor = self.score(values)
        return logits


class MirroredUNet(nn.Module):
    """A U-Net of valid convolutions that gives scores for the whole image: `(B, C, H, W)`, sides multiples of 16 → `(B, K, H, W)`."""

    BORDER = 94
    """Pixels mirrored on each side: the 92 that the network takes, and 2 so that lengths fit its poolings."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return _cropped(self.network(mirrored(images, self.BORDER)), 2)


def mirrored(images: Tensor, border: int) -> Tensor:
    """`(B, C, H, W)` → `(B, C, H + 2·border, W + 2·border)`, mirrored at the outermost pixels, again and again where the image is smaller than its border."""
    for axis in (2, 3):
        length = images.shape[axis]
        places = torch.arange(-border, length + border, device=images.device).abs() % (2 * (length - 1))
        images = images.index_select(axis, torch.minimum(places, 2 * (length - 1) - places))
    return images


def _margins() -> list[int]:
    """Pixels that a map of the way down has on each side more than the one of the way up that it joins, deepest level first."""
    margins, lost = [], _CONVOLVED  # `lost`: between a level's pooling and its map that goes up, in pixels of that level
    for _ in range(LEVELS):
        margins.append(lost)  # each pixel below is two here, one on each side
        lost = 2 * lost + 2 * _CONVOLVED
    return margins


def _cropped(values: Tensor, margin: int) -> Tensor:
    return values[:, :, margin:-margin, margin:-margin] if margin else values


def _convolutions(inputs: int, outputs: int, padding: int, *, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (inputs, outputs):
        layers.append(nn.Conv2d(before, outputs, 3, padding=padding))
        if norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`."""
    valid = settings.padding == "valid"
    network = UNet(
        channels=channels,
        classes=classes,
        width=settings.width,
        padding=0 if valid else 1,
        norm=settings.norm != "none",
        dropout=settings.dropout,
        upsample=settings.upsample,
    )
    built = SemanticNetwork(MirroredUNet(network) if valid else network, stride=settings.stride)
    exchange(built, settings.norm)
    return built
