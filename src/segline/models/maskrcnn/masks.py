"""What the mask head learns: the part of an object's mask that lies in a proposal, as a small grid over that box.

Pixel (x, y) of a mask covers the square from (x, y) to (x + 1, y + 1), its centre is at (x + 0.5, y + 0.5), and a box that fits a mask ends at the outer edge
of its last pixel. `segline_runtime.instance.paste_masks` goes the other way by the same rule, so nothing is shifted on the way there and back.
torchvision's `maskrcnn_loss` takes pixel centres for whole numbers: its targets are off by half a pixel of the network's input.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import roi_align


def mask_targets(masks: Tensor, boxes: Tensor, matched: Tensor, side: int) -> Tensor:
    """Masks `(N, h, w)` of an image's objects, boxes `(P, 4)` xyxy in its pixels, the object `(P,)` of each → grids float32 `(P, side, side)`.

    Each cell holds the share of the object in it, 0…1. Any box will do, whole pixels or not.
    """
    regions = torch.cat([matched[:, None].to(boxes), boxes], dim=1)
    grids: Tensor = roi_align(masks[:, None].to(boxes), regions, (side, side), spatial_scale=1.0, aligned=True)
    return grids[:, 0]


def mask_loss(logits: Tensor, proposals: Sequence[Tensor], targets: Sequence[dict[str, Tensor]], matched: Sequence[Tensor]) -> Tensor:
    """Cross-entropy of the matched object's class alone, so that classes do not compete (He 2017, section 3); 0 where no proposal hit an object.

    logits `(P, K, M, M)` of the proposals of all images, proposals and the number of the object that each hit `(p, 4)` and `(p,)` by image.
    """
    grids, labels = [], []
    for boxes, objects, target in zip(proposals, matched, targets, strict=True):
        grids.append(mask_targets(target["masks"], boxes, objects, logits.shape[-1]))
        labels.append(target["labels"][objects])
    wanted, classes = torch.cat(grids), torch.cat(labels)
    if not len(classes):
        return logits.sum() * 0  # keeps the parameters in the backward pass
    return functional.binary_cross_entropy_with_logits(logits[torch.arange(len(classes), device=classes.device), classes], wanted)
