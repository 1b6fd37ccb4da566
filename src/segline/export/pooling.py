"""RoIAlign over the levels of a pyramid, its results put into order by one gather: the same numbers as torchvision's, which scatters each level's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align
from torchvision.ops.poolers import MultiScaleRoIAlign


class GatheredRoIAlign(nn.Module):
    """A pool whose scales are known. Legend: N boxes xyxy in pixels of the network's input, C channels, each box pooled to s × s cells."""

    def __init__(self, pool: MultiScaleRoIAlign) -> None:
        super().__init__()
        assert pool.scales is not None and pool.map_levels is not None
        self.pool = pool

    def forward(self, features: Mapping[str, Tensor], boxes: list[Tensor], _image_shapes: list[tuple[int, int]]) -> Tensor:
        """Levels `(B, C, h, w)` by name, the boxes `(n, 4)` of each image → `(N, C, s, s)`, in the boxes' order."""
        pool = self.pool
        assert pool.scales is not None and pool.map_levels is not None
        numbers = [torch.full_like(each[:, :1], number) for number, each in enumerate(boxes)]
        regions = torch.cat([torch.cat(numbers), torch.cat(boxes)], dim=1)
        levels = pool.map_levels(boxes)
        pooled, places = [], []
        for level, (name, scale) in enumerate(zip(pool.featmap_names, pool.scales, strict=True)):
            [inside] = torch.where(levels == level)
            pooled.append(roi_align(features[name], regions[inside], pool.output_size, scale, pool.sampling_ratio))
            places.append(inside)
        return torch.cat(pooled)[torch.cat(places).argsort()]
