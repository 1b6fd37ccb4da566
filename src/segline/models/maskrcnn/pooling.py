"""RoIAlign (He 2017, section 3) of several pyramid levels at once, for learning on a processor.

Each bin of a box's grid is a weighted sum of whole feature vectors: of the four pixels around each point that is sampled in it. That is what
`embedding_bag` computes, with all pixels of all levels and images as its table, so that one vectorised kernel for all boxes takes the place of torchvision's
scalar loops, which use one thread and take a sixth of a step, or more. Values and gradients are torchvision's to float rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops.poolers import MultiScaleRoIAlign, initLevelMapper

_POOLED = ("0", "1", "2", "3")
"""Names of the pyramid levels from which boxes are pooled."""

_LEVELS = (2, 3, 4, 5)
"""Their numbers; level k has stride 2**k."""

_POINTS = 2
"""Sampled in a bin along each side."""


class Pooling(MultiScaleRoIAlign):  # type: ignore[misc]
    """torchvision's module, whose operator is exported and serves on other devices, and on a processor that learns `pooled`.

    The scales are set here: left to itself it takes them from the first image that it meets, and rounding makes them wrong ones where that is an odd size.
    """

    def __init__(self, bins: int) -> None:
        """bins: of the grid along each side of a box."""
        super().__init__(list(_POOLED), bins, _POINTS)
        self.scales = [2.0**-level for level in _LEVELS]
        self.map_levels = initLevelMapper(_LEVELS[0], _LEVELS[-1], self.canonical_scale, self.canonical_level)

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Levels `(B, C, h, w)` by name, boxes `(n, 4)` xyxy by image, in pixels of the network's input → `(N, C, bins, bins)`, image by image."""
        levels = [x[name] for name in _POOLED]
        if levels[0].device.type != "cpu" or not torch.is_grad_enabled() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            values: Tensor = super().forward(x, boxes, image_shapes)
            return values
        mapper: Any = self.map_levels
        assert self.scales is not None
        return pooled(levels, boxes, mapper(boxes), self.scales, self.output_size[0], self.sampling_ratio)


def pooled(levels: Sequence[Tensor], boxes: Sequence[Tensor], level_of: Tensor, scales: Sequence[float], bins: int, points: int) -> Tensor:
    """Levels `(B, C, h, w)`, boxes `(n, 4)` xyxy of each of the B images, all N in a row from which level each is pooled `(N,)` → `(N, C, bins, bins)`.

    scales: pixels of a level for one of the boxes' pixels. points: sampled in a bin along each side; a bin is their mean.
    A box that is no number, as a training has it that breaks down, gives values that are none: the loss says so.
    """
    level_of = level_of.clamp(0, len(levels) - 1)
    table = torch.cat([level.permute(0, 2, 3, 1).flatten(0, 2) for level in levels])
    heights, widths = ([level.shape[side] for level in levels] for side in (2, 3))
    sizes = torch.tensor([level.shape[0] * height * width for level, height, width in zip(levels, heights, widths, strict=True)])
    first_rows = sizes.cumsum(0) - sizes
    with torch.no_grad():
        corners = torch.cat(list(boxes)) * torch.tensor(scales)[level_of][:, None]
        image = torch.repeat_interleave(torch.tensor([len(some) for some in boxes]))
        height, width = torch.tensor(heights)[level_of], torch.tensor(widths)[level_of]
        rows, row_weights = _along(corners[:, 1], corners[:, 3], height, bins, points)
        columns, column_weights = _along(corners[:, 0], corners[:, 2], width, bins, points)
        first = (first_rows[level_of] + image * height * width)[:, None, None, None, None]
        pixels = first + rows[:, :, None, :, None] * width[:, None, None, None, None] + columns[:, None, :, None, :]
        weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
        of_a_bin = (2 * points) ** 2
    bags = functional.embedding_bag(pixels.reshape(-1, of_a_bin), table, mode="sum", per_sample_weights=weights.reshape(-1, of_a_bin).to(table.dtype))
    return bags.view(-1, bins, bins, table.shape[1]).permute(0, 3, 1, 2)


def _along(start: Tensor, end: Tensor, length: Tensor, bins: int, points: int) -> tuple[Tensor, Tensor]:
    """One side of boxes `(N,)` from start to end on levels `(N,)` pixels long → the pixels that each bin reads, and their weights, `(N, bins, 2 * points)`.

    As torchvision samples with `aligned=False`: a pixel's value lies at its whole number, a box is one pixel long at least, what lies less than a pixel
    outside has the value of the edge, and what lies further is 0.
    """
    side = (end - start).clamp(min=1.0) / bins
    within = (torch.arange(points) + 0.5) / points
    at = start[:, None, None] + side[:, None, None] * (torch.arange(bins)[:, None] + within)
    last = (length - 1)[:, None, None]
    seen = (at >= -1.0) & (at <= last + 1)
    at = at.clamp(min=0.0).minimum(last)
    before = at.floor()
    share = at - before
    pixels = torch.stack([before, (before + 1).minimum(last)], dim=-1).nan_to_num().long()
    weights = torch.stack([1 - share, share], dim=-1) * (seen / points)[..., None]
    return pixels.flatten(2), weights.flatten(2)
