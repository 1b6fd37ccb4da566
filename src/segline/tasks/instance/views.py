"""Test-time augmentation of a detector, as Detectron2's GeneralizedRCNNWithTTA does it (Wu 2019).

Each view of the image gives boxes, which are mapped back into the image and joined by class-wise NMS: of those that overlap the one of the highest score
is kept. Then each view gives the masks of the boxes that were kept, whatever view they come from, and the mean over the views is the mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segline.models.views import View
from segline.tasks.graph import EvalGraph, evaluating, registered_once
from segline.tasks.instance.learning import InstanceGraph


class InstanceViews(InstanceGraph):
    """Shows a detector one image in several views: larger, smaller, mirrored."""

    def __init__(self, graph: InstanceGraph, views: Sequence[View]) -> None:
        super().__init__(graph.network, graph.specification)
        self.inner = graph  # not by the name `graph`, which torch.fx has for its own
        self.views = tuple(views)
        registered_once(self, graph)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images `(1, H, W, C)` → detections by falling score; see `InstanceGraph.forward`."""
        size = torch._shape_as_tensor(images)[1:3].to(images.device, torch.float32)
        looks = []
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        with evaluating(self.network):
            for view in self.views:
                shown = images.flip(view.axes(1, 2)) if view.flipped else images
                seen, ratio = self.inner.look(shown, view.factor), self.inner.ratio(shown, view.factor)
                boxes, labels, scores = self.detector.boxes(seen)
                found.append((_turned(boxes if ratio is None else boxes * ratio, view, size), labels, scores))
                looks.append((view, seen, ratio))
            boxes, labels, scores = (torch.cat(values) for values in zip(*found, strict=True))
            kept = self.detector.strongest(boxes, labels, scores)
            boxes, labels, scores = boxes[kept], labels[kept], scores[kept]
            masks: Tensor | None = None
            for view, seen, ratio in looks:
                turned = _turned(boxes, view, size)
                of_view = self.detector.masks(seen, turned if ratio is None else turned / ratio, labels)
                of_view = of_view.flip(view.axes(1, 2)) if view.flipped else of_view
                masks = of_view if masks is None else masks + of_view
        assert masks is not None
        return boxes, labels, scores, masks / len(looks)


def around(graph: EvalGraph, views: Sequence[View]) -> EvalGraph:
    """`graph` with test-time augmentation."""
    assert isinstance(graph, InstanceGraph)
    return InstanceViews(graph, views)


def _turned(boxes: Tensor, view: View, size: Tensor) -> Tensor:
    """Boxes `(N, 4)` xyxy of an image of `size` `(2,)` (height, width) as they lie in the view of it, or, which is the same, back."""
    x0, y0, x1, y1 = boxes.unbind(1)
    if view.upside_down:
        y0, y1 = size[0] - y1, size[0] - y0
    if view.mirrored:
        x0, x1 = size[1] - x1, size[1] - x0
    return torch.stack([x0, y0, x1, y1], dim=1) if view.flipped else boxes
