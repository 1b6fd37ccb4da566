"""The residual-encoder U-Net of nnU-Net (Isensee, Wald, Ulrich and others 2024, "nnU-Net Revisited"), in two dimensions.

Encoder: a 3×3 stem, then stages of residual blocks; the first block of each but the first stage halves the resolution by its stride, its shortcut by average
pooling (ResNet-D). Decoder: 2×2 transposed convolution, the encoder's map joined, one convolution. Everywhere instance norm and leaky ReLU. Each resolution of
the decoder but the lowest predicts while training (deep supervision), with weights 1, 1/2, 1/4 …
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segline.losses.criterion import MAIN
from segline.models.norm import exchange
from segline.models.resenc_unet.settings import Settings
from segline.models.semantic import SemanticNetwork
from segline.models.upsampling.layers import Upsample
from segline.models.upsampling.settings import Upsampling

_SLOPE = 0.01  # of the leaky ReLU


class ResidualEncoderUNet(nn.Module):
    """Images `(B, C, H, W)`, sides multiples of 2 to the number of stages less one → named logits: `logits` `(B, K, H, W)` and, in training and with deep
    supervision, `aux2` `(B, K, H / 2, W / 2)`, `aux4` …"""

    def __init__(
        self, *, channels: int, classes: int, widths: list[int], blocks: list[int], instance: bool, deep_supervision: bool, upsample: Upsampling
    ) -> None:
        """instance: instance norm, else batch norm."""
        super().__init__()
        self.stem = _convolution(channels, widths[0], instance=instance)
        self.stages = nn.ModuleList()
        for stage, (before, width) in enumerate(zip([widths[0], *widths[:-1]], widths, strict=True)):
            layers = [ResidualBlock(before, width, stride=2 if stage else 1, instance=instance)]
            layers += [ResidualBlock(width, width, stride=1, instance=instance) for _ in range(blocks[stage] - 1)]
            self.stages.append(nn.Sequential(*layers))
        self.upsample, self.decoder, self.scores = nn.ModuleList(), nn.ModuleList(), nn.ModuleDict()
        self.names: list[str | None] = []  # of what each resolution of the decoder predicts, lowest first
        for level in reversed(range(len(widths) - 1)):
            self.upsample.append(Upsample(upsample, widths[level + 1], widths[level]))
            self.decoder.append(_convolution(2 * widths[level], widths[level], instance=instance))
            predicts = level == 0 or (deep_supervision and level < len(widths) - 2)
            self.names.append((f"aux{2**level}" if level else MAIN) if predicts else None)
            if self.names[-1] is not None:
                self.scores[self.names[-1]] = nn.Conv2d(widths[level], classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=_SLOPE)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            if isinstance(module, ResidualBlock):  # a block begins as its shortcut
                nn.init.zeros_(module.norm2.weight)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        values, skips = self.stem(images), []
        for stage in self.stages:
            values = stage(values)
            skips.append(values)
        skips.pop()
        outputs = {}
        for upsample, decode, name in zip(self.upsample, self.decoder, self.names, strict=True):
            values = decode(torch.cat([upsample(values), skips.pop()], dim=1))
            if name is not None and (self.training or name == MAIN):
                outputs[name] = self.scores[name](values)
        return outputs


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut: `(B, inputs, h, w)` → `(B, outputs, h / stride, w / stride)`."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, instance: bool) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.norm1 = _norm(outputs, instance=instance)
        self.convolution2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm2 = _norm(outputs, instance=instance)
        self.activation = nn.LeakyReLU(_SLOPE)
        shortcut: list[nn.Module] = [nn.AvgPool2d(stride)] if stride > 1 else []
        if inputs != outputs:
            shortcut += [nn.Conv2d(inputs, outputs, 1, bias=False), _norm(outputs, instance=instance)]
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, values: Tensor) -> Tensor:
        inner = self.activation(self.norm1(self.convolution1(values)))
        found: Tensor = self.activation(self.norm2(self.convolution2(inner)) + self.shortcut(values))
        return found


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`, and in training those of lower resolutions as well."""
    network = ResidualEncoderUNet(
        channels=channels,
        classes=classes,
        widths=settings.widths,
        blocks=settings.blocks,
        instance=settings.norm == "instance",
        deep_supervision=settings.deep_supervision,
        upsample=settings.upsample,
    )
    auxiliary = {name: 1 / int(name.removeprefix("aux")) for name in network.scores if name != MAIN}
    built = SemanticNetwork(network, stride=2 ** (len(settings.widths) - 1), output_weights=auxiliary)
    exchange(built, settings.norm)
    return built


def _convolution(inputs: int, outputs: int, *, instance: bool) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), _norm(outputs, instance=instance), nn.LeakyReLU(_SLOPE))


def _norm(channels: int, *, instance: bool) -> nn.GroupNorm | nn.BatchNorm2d:
    """Instance norm is group norm with a group for each channel, and torch exports that without a word about training."""
    return nn.GroupNorm(channels, channels) if instance else nn.BatchNorm2d(channels)
