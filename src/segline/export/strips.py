"""What is as large as the image, computed piece by piece: the same numbers up to rounding, and of a large image a fraction of the memory.

ONNX Runtime computes one piece after another and gives the memory of each back before the next.
Legend: B images of H × W pixels and C channels, K classes, h × w pixels of the network's input.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from segline.tasks.graph import Sides

STRIPS = 8
"""Into which an image is cut from top to bottom, whatever its size: the exported graph has so many branches."""


class ResizeByChannels(nn.Module):
    """`segline.tasks.graph.Resize`: floats of one channel alone have the size of the image."""

    def forward(self, images: Tensor, size: Sides, scale: float) -> Tensor:
        """Images `(B, H, W, C)` → float32 `(B, C, h, w)`, divided by `scale`."""
        channels = []
        for number in range(images.shape[3]):
            channel = images[:, :, :, number].unsqueeze(1).to(torch.float32)
            channels.append(functional.interpolate(channel, size=size, mode="bilinear", align_corners=False, antialias=True))
        return torch.cat(channels, dim=1) / scale


class DecideByStrips(nn.Module):
    """`segline.tasks.semantic.learning.Decide`: logits are enlarged along the rows, and then, strip by strip, along the columns."""

    def forward(self, logits: Tensor, size: Sides) -> Tensor:
        """Logits `(B, K, h, w)` → class ids uint8 `(B, H, W)`."""
        height, width = size
        wide = functional.interpolate(logits, size=(logits.shape[2], width), mode="bilinear", align_corners=False)
        # Where the centre of each row of the image lies among the centres of the logits' rows.
        position = ((torch.arange(height, device=logits.device) + 0.5) * (logits.shape[2] / height) - 0.5).clamp(min=0)
        above = position.to(torch.int64)
        below = (above + 1).clamp(max=logits.shape[2] - 1)
        share = (position - above).view(1, 1, -1, 1).to(logits.dtype)
        ids = []
        for number in range(STRIPS):
            start, stop = height * number // STRIPS, height * (number + 1) // STRIPS
            upper, lower = wide.index_select(2, above[start:stop]), wide.index_select(2, below[start:stop])
            ids.append((upper + (lower - upper) * share[:, :, start:stop]).argmax(1).to(torch.uint8))
        return torch.cat(ids, dim=1)
