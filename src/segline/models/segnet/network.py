"""SegNet (Badrinarayanan, Kendall, Cipolla 2015).

The encoder is the 13 convolutions of VGG-16 with batch norm, without its dense layers. Of each pooling the decoder gets nothing but the indices: where the
largest of four values had stood. It puts its values there, leaves zeros elsewhere, and convolves the sparse map dense, stage by stage up to the pixels.
"""

from __future__ import annotations

from torch import Tensor, nn

from segline.models.initialisation import initialise
from segline.models.norm import exchange
from segline.models.segnet.settings import Settings
from segline.models.semantic import SemanticNetwork
from segline.models.upsampling.layers import Upsample, pooled
from segline.models.upsampling.settings import Upsampling
from segline.models.vgg import layers
from segline.models.vgg.layers import Vgg16, statistics

__all__ = ["build", "statistics"]


class SegNet(nn.Module):
    """Images `(B, C, H, W)`, H and W multiples of 32 → logits `(B, K, H, W)`."""

    def __init__(self, encoder: Vgg16, *, classes: int, width: int, norm: bool, upsample: Upsampling) -> None:
        super().__init__()
        self.encoder = encoder
        self.upsample, self.decoder = nn.ModuleList(), nn.ModuleList()
        for stage in layers.mirrored(width):
            inputs = stage[0][0]
            self.upsample.append(Upsample(upsample, inputs, inputs))
            self.decoder.append(nn.Sequential(*(layer for sides in stage for layer in _convolution(*sides, norm=norm))))
        # The last convolution gives the scores, in place of features with norm and activation.
        self.decoder[-1] = nn.Sequential(*_convolution(width, width, norm=norm), nn.Conv2d(width, classes, 3, padding=1))
        initialise(self.decoder)

    def forward(self, images: Tensor) -> Tensor:
        values, indices = images, []
        for stage in range(5):
            values, found = pooled(self.encoder.stage(stage, values))
            indices.append(found)
        for upsample, decode in zip(self.upsample, self.decoder, strict=True):
            values = decode(upsample(values, indices.pop()))
        return values


def _convolution(inputs: int, outputs: int, *, norm: bool) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)] if norm else [convolution, nn.ReLU(inplace=True)]


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for weights that cannot be had."""
    norm = settings.norm != "none"
    encoder = layers.encoder(channels=channels, width=settings.width, norm=norm, weights=settings.weights)
    network = SegNet(encoder, classes=classes, width=settings.width, norm=norm, upsample=settings.upsample)
    built = SemanticNetwork(network, stride=settings.stride, encoder=encoder)
    exchange(built, settings.norm)
    return built
