"""Fully convolutional networks (Long, Shelhamer, Darrell 2015): a classifier run on all windows at once, its coarse scores upsampled and refined.

    image ─ VGG-16 ─ pool3 ───────── pool4 ───────── pool5 ─ fc6 ─ fc7 ─ score          stride 32
                       │               │                                  │ ×2
                       │               └───── score ──────────────────── + ── 16s: ×16  stride 16
                       │                                                 │ ×2
                       └───────────────────── score ──────────────────── + ── 8s: ×8    stride 8

FCN-32s upsamples the deepest score alone. The paper pads the image by 100 pixels and crops; here fc6 is padded, so that maps fit without cropping.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from segline.models.fcn.settings import FcnSettings
from segline.models.norm import exchange
from segline.models.semantic import SemanticNetwork
from segline.models.upsampling.layers import bilinear_kernel, interpolated
from segline.models.vgg import layers
from segline.models.vgg.layers import Dense, Vgg16

_DENSE = 64  # channels of fc6 and fc7, per channel of the first stage: 4096 for 64


class Fcn(nn.Module):
    """Images `(B, C, H, W)`, H and W multiples of 32 → logits `(B, K, H, W)`."""

    def __init__(self, encoder: Vgg16, *, classes: int, width: int, finest: int, dropout: float, upsample: str) -> None:
        """finest: the stride of the finest scores: 32, 16 or 8."""
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.score = _score(_DENSE * width, classes)
        strides = [stride for stride in (32, 16, 8) if stride >= finest]
        pools = {16: 3, 8: 2}  # stride → the stage that it is the pooling of
        self.skips = [pools[stride] for stride in strides[1:]]
        self.skip_scores = nn.ModuleList(_score(layers.channels_of_stages(width)[stage], classes) for stage in self.skips)
        self.upsample = nn.ModuleList(_Upscale(upsample, classes, coarse // fine, learned=True) for coarse, fine in pairwise(strides))
        self.to_pixels = _Upscale(upsample, classes, finest, learned=False)

    def forward(self, images: Tensor) -> Tensor:
        values, pools = images, []
        for stage in range(5):
            values = functional.max_pool2d(self.encoder.stage(stage, values), 2)
            pools.append(values)
        for dense in (self.encoder.fc6, self.encoder.fc7):
            values = self.dropout(functional.relu(dense(values)))
        scores: Tensor = self.score(values)
        for upsample, score, stage in zip(self.upsample, self.skip_scores, self.skips, strict=True):
            scores = upsample(scores) + score(pools[stage])
        logits: Tensor = self.to_pixels(scores)
        return logits


class _Upscale(nn.Module):
    """Scores `(B, K, h, w)` → `(B, K, factor·h, factor·w)`; as in the paper by a transposed convolution of kernel 2·factor that begins as bilinear."""

    def __init__(self, kind: str, classes: int, factor: int, *, learned: bool) -> None:
        super().__init__()
        self.kind, self.factor = kind, factor
        if kind == "transposed":
            self.layer = nn.ConvTranspose2d(classes, classes, 2 * factor, stride=factor, padding=factor // 2, bias=False)
            self.layer.weight.data.copy_(bilinear_kernel(classes, factor))
            self.layer.requires_grad_(learned)

    def forward(self, scores: Tensor) -> Tensor:
        if self.kind == "transposed":
            found: Tensor = self.layer(scores)
            return found
        return interpolated(scores, self.factor, self.kind)


def _score(inputs: int, classes: int) -> nn.Conv2d:
    """1×1, beginning at zero as in the paper: a new stream changes nothing until it has learned."""
    score = nn.Conv2d(inputs, classes, 1)
    nn.init.zeros_(score.weight)
    assert score.bias is not None
    nn.init.zeros_(score.bias)
    return score


def build(settings: FcnSettings, *, channels: int, classes: int, finest: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for weights that cannot be had."""
    width = settings.width
    encoder = layers.encoder(channels=channels, width=width, norm=settings.norm != "none", weights=settings.weights, dense=Dense(_DENSE * width))
    network = Fcn(encoder, classes=classes, width=width, finest=finest, dropout=settings.dropout, upsample=settings.upsample)
    built = SemanticNetwork(network, stride=settings.stride, encoder=encoder)
    exchange(built, settings.norm)
    return built
