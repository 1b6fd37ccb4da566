"""Upsampling by two and the layers around it, computed at the low resolution: the same numbers up to rounding, by fewer multiplications.

Of each 2 × 2 pixels of a large map the same filter computes the upper left one from the small map, another the upper right one, and so on (Shi 2016):
four small filters at the low resolution do what one large filter does on a map whose neighbours are copies of each other.
Legend: B maps, C channels in, O channels out, h × w pixels of the low resolution; the phases (0, 0), (0, 1), (1, 0), (1, 1) are row and column within 2 × 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoderBlock
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor

_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))


class SubpixelBlock(nn.Module):
    """A block of a U-Net's decoder: to twice the size by copying pixels, joined with the encoder's features, convolved twice.

    The first 3×3 convolution is split: what it makes of the upsampled channels is made by 2×2 convolutions before upsampling, with 16 multiplications for 36.
    """

    def __init__(self, block: UnetDecoderBlock, channels: int) -> None:
        """channels: of the map from below, C; the other channels of the first convolution are the skip connection's. The block must be in eval mode."""
        super().__init__()
        conv, norm, activation = block.conv1
        assert isinstance(conv, nn.Conv2d)
        if isinstance(norm, nn.BatchNorm2d):
            conv, norm = fuse_conv_bn_eval(conv, norm), nn.Identity()
        above, skip = conv.weight.detach()[:, :channels], conv.weight.detach()[:, channels:]
        bias = None if conv.bias is None else conv.bias.detach()
        self.skip = _convolution(skip, bias, padding=1) if skip.shape[1] else None
        self.phases = nn.ModuleList(_convolution(_taps(_taps(above, row, 2), column, 3), None if self.skip else bias) for row, column in _PHASES)
        self.norm, self.activation = norm, activation
        self.rest = nn.Sequential(block.conv2, block.attention2)

    def forward(self, feature_map: Tensor, _height: int, _width: int, skip_connection: Tensor | None = None) -> Tensor:
        """Maps `(B, C, h, w)` and of the encoder `(B, S, 2h, 2w)` → `(B, O, 2h, 2w)`. The size above is that of twice as many pixels."""
        phases = []
        for convolution, (row, column) in zip(self.phases, _PHASES, strict=True):
            # ONNX Runtime makes padding a part of the convolution where its value is said.
            phases.append(convolution(functional.pad(feature_map, (1 - column, column, 1 - row, row), value=0.0)))
        if self.skip is None and isinstance(self.norm, nn.Identity):
            first = interleaved([self.activation(phase) for phase in phases])  # where the runtime joins it with the convolution
        else:
            joined = interleaved(phases)
            first = self.activation(self.norm(joined if self.skip is None else joined + self.skip(skip_connection)))
        out: Tensor = self.rest(first)
        return out


class SubpixelMasks(nn.Module):
    """The end of Mask R-CNN's mask head: a transposed 2×2 convolution with stride 2, ReLU, and a 1×1 convolution to one mask per class.

    No pixel of the large map knows its neighbours, so each phase goes through all three by itself, and only the masks are interleaved.
    """

    def __init__(self, head: MaskRCNNPredictor) -> None:
        super().__init__()
        enlarge, activation, last = head
        assert isinstance(enlarge, nn.ConvTranspose2d)
        bias = None if enlarge.bias is None else enlarge.bias.detach()
        self.phases = nn.ModuleList()
        for row, column in _PHASES:
            weight = enlarge.weight.detach()[:, :, row, column].transpose(0, 1)
            self.phases.append(nn.Sequential(_convolution(weight[:, :, None, None], bias), activation, last))

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C, h, w)` → logits `(B, K, 2h, 2w)`."""
        return interleaved([phase(features) for phase in self.phases])


def interleaved(phases: Sequence[Tensor]) -> Tensor:
    """The four phases of a map, each `(B, O, h, w)` → `(B, O, 2h, 2w)`."""
    count, channels, height, width = phases[0].shape
    # A pixel shuffle by joining alone. ONNX Runtime is slower at its own operator, and at transposing: it shares out each row's few pixels among its threads.
    upper, lower = (torch.stack(list(pair), dim=4).reshape(count, channels, height, 2 * width) for pair in (phases[:2], phases[2:]))
    return torch.stack([upper, lower], dim=3).reshape(count, channels, 2 * height, 2 * width)


def _taps(weight: Tensor, phase: int, axis: int) -> Tensor:
    """Three taps along an axis of a map whose pixels stand there in pairs → two taps over the pairs: what falls on the same pair is added up."""
    before, here, after = weight.unbind(axis)
    return torch.stack([before, here + after] if phase == 0 else [before + here, after], dim=axis)


def _convolution(weight: Tensor, bias: Tensor | None, padding: int = 0) -> nn.Conv2d:
    outputs, inputs, height, width = weight.shape
    made = nn.Conv2d(inputs, outputs, (height, width), padding=padding, bias=bias is not None, device=weight.device, dtype=weight.dtype)
    made.weight = nn.Parameter(weight.clone(), requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias.clone(), requires_grad=False)
    return made
