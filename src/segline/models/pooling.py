"""Pooling to a grid of fixed size, as pyramid pooling has it (PSPNet, Zhao 2017), such that it trains with one image and exports for any size.

torch's exporters write the windows of its own adaptive pooling into the file as numbers: the file then serves one size alone, or fails at others.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segline.models.norm import PooledNorm

SIZES = (1, 2, 3, 6)
"""Sides of the grids of PSPNet's pyramid."""


class GridAverage(nn.Module):
    """What `nn.AdaptiveAvgPool2d(side)` computes, by two matrix products: the windows are made from the input's size when it runs."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, values: Tensor) -> Tensor:
        """`(B, C, H, W)` → `(B, C, side, side)`."""
        rows, columns = (_windows(length, self.side, values.device) for length in (values.shape[2], values.shape[3]))  # (side, H), (side, W)
        summed = rows.to(values.dtype) @ values @ columns.to(values.dtype).T
        return summed / (rows.sum(1)[:, None] * columns.sum(1))


def _windows(length: int, count: int, device: torch.device) -> Tensor:
    """Which of `length` places are in each of `count` windows, `(count, length)`: window i goes from ⌊i · length / count⌋ to ⌈(i + 1) · length / count⌉."""
    windows, places = torch.arange(count, device=device)[:, None], torch.arange(length, device=device)
    first = windows * length // count
    end = ((windows + 1) * length + count - 1) // count
    return (places >= first) & (places < end)


class PyramidPooling(nn.Module):
    """Averages over grids of several sizes, each brought to few channels and enlarged again, beside the features themselves."""

    def __init__(self, channels: int, branch_channels: int) -> None:
        """channels: of the features; branch_channels: of each of the four branches."""
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(side),
                nn.Conv2d(channels, branch_channels, 1, bias=False),
                nn.BatchNorm2d(branch_channels),
                nn.ReLU(inplace=True),
            )
            for side in SIZES
        )

    def forward(self, features: Tensor) -> Tensor:
        """`(B, C, h, w)` → `(B, C + 4 · branch channels, h, w)`."""
        size = (features.shape[2], features.shape[3])
        branches = (nn.functional.interpolate(branch(features), size=size, mode="bilinear", align_corners=False) for branch in self.branches)
        return torch.cat([features, *branches], dim=1)


def prepare(decoder: nn.Module) -> None:
    """Make the branches of a decoder that begin with adaptive pooling export for any size, and those that pool to one value train with one image."""
    for branch in decoder.modules():
        if not (isinstance(branch, nn.Sequential) and len(branch) and isinstance(branch[0], nn.AdaptiveAvgPool2d)):
            continue
        side = branch[0].output_size
        assert isinstance(side, int)
        if side == 1:
            _pooled_norms(branch)
        else:
            branch[0] = GridAverage(side)


def _pooled_norms(branch: nn.Module) -> None:
    for name, child in branch.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(branch, name, PooledNorm(child))
        else:
            _pooled_norms(child)
