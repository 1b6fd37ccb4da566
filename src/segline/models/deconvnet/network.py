"""DeconvNet (Noh, Hong, Han 2015).

VGG-16 down to its dense layers fc6 and fc7, and back the same way: fc6 by a transposed convolution of its size, each pooling by unpooling with its indices,
each convolution by a transposed one of stride 1; batch norm everywhere. The paper's network sees 224 × 224 pixels, of which fc6 has one position; here fc6
and its mirror are padded, so that the network runs over images of any size.
"""

from __future__ import annotations

from torch import Tensor, nn

from segline.models.deconvnet.settings import Settings
from segline.models.initialisation import initialise
from segline.models.norm import exchange
from segline.models.semantic import SemanticNetwork
from segline.models.upsampling.layers import Upsample, pooled
from segline.models.upsampling.settings import Upsampling
from segline.models.vgg import layers
from segline.models.vgg.layers import Dense, Vgg16, statistics

__all__ = ["build", "statistics"]

_DENSE = 64  # channels of fc6 and fc7, per channel of the first stage: 4096 for 64


class DeconvNet(nn.Module):
    """Images `(B, C, H, W)`, H and W multiples of 32 → logits `(B, K, H, W)`."""

    def __init__(self, encoder: Vgg16, *, classes: int, width: int, norm: bool, upsample: Upsampling) -> None:
        super().__init__()
        self.encoder = encoder
        dense, deepest = _DENSE * width, layers.channels_of_stages(width)[-1]
        self.after_fc6, self.after_fc7 = (nn.Sequential(*_after(dense, norm=norm)) for _ in range(2))
        self.mirrored_fc6 = nn.Sequential(nn.ConvTranspose2d(dense, deepest, 7, padding=3), *_after(deepest, norm=norm))
        self.upsample, self.decoder = nn.ModuleList(), nn.ModuleList()
        for stage in layers.mirrored(width):
            inputs = stage[0][0]
            self.upsample.append(Upsample(upsample, inputs, inputs))
            mirrored: list[nn.Module] = []
            for before, after in stage:
                mirrored += [nn.ConvTranspose2d(before, after, 3, padding=1), *_after(after, norm=norm)]
            self.decoder.append(nn.Sequential(*mirrored))
        self.score = nn.Conv2d(width, classes, 1)
        for part in (self.mirrored_fc6, self.decoder):
            initialise(part)

    def forward(self, images: Tensor) -> Tensor:
        values, indices = images, []
        for stage in range(5):
            values, found = pooled(self.encoder.stage(stage, values))
            indices.append(found)
        values = self.after_fc6(self.encoder.fc6(values))
        values = self.after_fc7(self.encoder.fc7(values))
        values = self.mirrored_fc6(values)
        for upsample, decode in zip(self.upsample, self.decoder, strict=True):
            values = decode(upsample(values, indices.pop()))
        logits: Tensor = self.score(values)
        return logits


def _after(channels: int, *, norm: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)] if norm else [nn.ReLU(inplace=True)]


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for weights that cannot be had."""
    norm, width = settings.norm != "none", settings.width
    encoder = layers.encoder(channels=channels, width=width, norm=norm, weights=settings.weights, dense=Dense(_DENSE * width))
    network = DeconvNet(encoder, classes=classes, width=width, norm=norm, upsample=settings.upsample)
    built = SemanticNetwork(network, stride=settings.stride, encoder=encoder)
    exchange(built, settings.norm)
    return built
