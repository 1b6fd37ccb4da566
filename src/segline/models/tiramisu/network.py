"""The One Hundred Layers Tiramisu: fully convolutional DenseNets (Jégou, Drozdzal, Vázquez, Romero, Bengio 2017).

layer            norm, ReLU, 3×3 convolution to `growth` channels, dropout
dense block      each layer reads its input and what all layers before it have made, and adds its own
transition down  norm, ReLU, 1×1 convolution, dropout, 2×2 max pooling
transition up    3×3 transposed convolution of stride 2 of what the block below has made anew: without its input, or channels would explode

On the way down a block's input goes on beside what it makes; that is also what the way up is given across. 56, 67 and 103 are counts of convolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segline.models.norm import exchange
from segline.models.semantic import SemanticNetwork
from segline.models.tiramisu.settings import TiramisuSettings
from segline.models.upsampling.layers import Upsample, pooled
from segline.models.upsampling.settings import Upsampling


class Tiramisu(nn.Module):
    """Images `(B, C, H, W)`, sides multiples of 2 to the number of blocks down → logits `(B, K, H, W)`."""

    def __init__(
        self, *, channels: int, classes: int, first_filters: int, layers: list[int], bottom: int, growth: int, dropout: float, upsample: Upsampling
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, first_filters, 3, padding=1)
        self.down, self.transitions_down = nn.ModuleList(), nn.ModuleList()
        width, skips = first_filters, []
        for count in layers:
            self.down.append(DenseBlock(width, count, growth, dropout))
            width += count * growth
            skips.append(width)
            self.transitions_down.append(nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Conv2d(width, width, 1), nn.Dropout(dropout)))
        self.bottom = DenseBlock(width, bottom, growth, dropout)
        new = bottom * growth
        self.transitions_up, self.up = nn.ModuleList(), nn.ModuleList()
        for count, skip in zip(reversed(layers), reversed(skips), strict=True):
            raised = skip if upsample == "max_unpool" else new  # unpooling wants the channels that the pooling had
            self.transitions_up.append(Upsample(upsample, new, raised, kernel=3))
            width = skip + raised
            self.up.append(DenseBlock(width, count, growth, dropout))
            new = count * growth
        self.score = nn.Conv2d(width + new, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        values = self.first(images)
        skips, indices = [], []
        for block, transition in zip(self.down, self.transitions_down, strict=True):
            values = torch.cat([values, block(values)], dim=1)
            skips.append(values)
            values, found = pooled(transition(values))
            indices.append(found)
        new = self.bottom(values)
        for transition, block in zip(self.transitions_up, self.up, strict=True):
            values = torch.cat([skips.pop(), transition(new, indices.pop())], dim=1)
            new = block(values)
        logits: Tensor = self.score(torch.cat([values, new], dim=1))
        return logits


class DenseBlock(nn.Module):
    """`(B, inputs, h, w)` → what its layers make of it and of each other, `(B, count · growth, h, w)`."""

    def __init__(self, inputs: int, count: int, growth: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for i in range(count):
            width = inputs + i * growth
            layer = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Conv2d(width, growth, 3, padding=1), nn.Dropout(dropout))
            self.layers.append(layer)

    def forward(self, values: Tensor) -> Tensor:
        made: list[Tensor] = []
        for layer in self.layers:
            made.append(layer(torch.cat([values, *made], dim=1)))
        return torch.cat(made, dim=1)


def build(settings: TiramisuSettings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`."""
    network: nn.Module = Tiramisu(
        channels=channels,
        classes=classes,
        first_filters=settings.first_filters,
        layers=settings.layers,
        bottom=settings.bottom,
        growth=settings.growth,
        dropout=settings.dropout,
        upsample=settings.upsample,
    )
    built = SemanticNetwork(network, stride=2 ** len(settings.layers))
    exchange(built, settings.norm)
    return built
