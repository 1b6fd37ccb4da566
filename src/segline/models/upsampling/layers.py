"""Five ways to twice the resolution, one word each, for every decoder that is written here.

nearest        each value four times
bilinear       interpolated between neighbours
bed_of_nails   each value at the top left of four, zeros beside it
max_unpool     each value where the encoder's max pooling had found the largest of four, zeros beside it (Zeiler 2014)
transposed     a learned transposed convolution; with a kernel that is no multiple of its stride it leaves a checkerboard (Odena 2016)

Legend: B images, C channels, h × w before and 2h × 2w after.
"""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from segline.models.upsampling.settings import Upsampling


class Upsample(nn.Module):
    """`(B, inputs, h, w)` → `(B, outputs, 2h, 2w)`. All but `transposed` have no weights of their own, but for a 1×1 convolution before them where the
    number of channels changes: the decoder's convolutions follow."""

    def __init__(self, kind: Upsampling, inputs: int, outputs: int, *, kernel: int = 2) -> None:
        """kernel: side of the transposed convolution's, 2 to 4. `max_unpool` wants as many `outputs` as the pooling had channels."""
        super().__init__()
        assert kind in get_args(Upsampling)
        self.kind = kind
        self.layer: nn.Module
        if kind == "transposed":
            padding = (kernel - 1) // 2
            self.layer = nn.ConvTranspose2d(inputs, outputs, kernel, stride=2, padding=padding, output_padding=2 * padding + 2 - kernel)
        else:
            self.layer = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, values: Tensor, indices: Tensor | None = None) -> Tensor:
        """indices: of the pooling that `max_unpool` undoes, as `pooled` gives them, `(B, outputs, h, w)`."""
        values = self.layer(values)
        if self.kind == "transposed":
            return values
        if self.kind == "bed_of_nails":
            return bed_of_nails(values)
        if self.kind == "max_unpool":
            assert indices is not None
            return max_unpool(values, indices)
        return interpolated(values, 2, self.kind)


def interpolated(values: Tensor, factor: int, mode: str) -> Tensor:
    """`(B, C, h, w)` → `(B, C, factor·h, factor·w)`. mode: nearest or bilinear."""
    return functional.interpolate(values, scale_factor=factor, mode=mode, align_corners=False if mode == "bilinear" else None)


def pooled(values: Tensor) -> tuple[Tensor, Tensor]:
    """2×2 max pooling: `(B, C, 2h, 2w)` → the largest of four `(B, C, h, w)`, and where in its channel each stood: row · 2w + column."""
    found, indices = functional.max_pool2d(values, 2, return_indices=True)
    return found, indices


def max_unpool(values: Tensor, indices: Tensor) -> Tensor:
    """`pooled` undone: values to where the largest had been, zeros elsewhere. As torch's function of that name, which torch cannot export to ONNX."""
    batch, channels, height, width = values.shape
    flat = values.new_zeros((batch, channels, 4 * height * width)).scatter(2, indices.flatten(2), values.flatten(2))
    return flat.reshape(batch, channels, 2 * height, 2 * width)


def bed_of_nails(values: Tensor) -> Tensor:
    """`(B, C, h, w)` → `(B, C, 2h, 2w)`: a value in each 2×2 cell, at its top left."""
    cells = functional.pad(values[:, :, :, None, :, None], (0, 1, 0, 0, 0, 1))  # (B, C, h, 2, w, 2)
    return cells.flatten(4, 5).flatten(2, 3)


def bilinear_kernel(channels: int, factor: int) -> Tensor:
    """The weights `(channels, channels, 2·factor, 2·factor)` by which a transposed convolution of stride `factor` interpolates each channel bilinearly."""
    centre = factor - 0.5
    ramp = 1 - (torch.arange(2 * factor) - centre).abs() / factor
    return torch.eye(channels)[:, :, None, None] * (ramp[:, None] * ramp[None, :])
