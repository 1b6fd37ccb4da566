"""Test-time augmentation of a multi-label graph: a class's probability at a pixel is the mean over several views of the image."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from segline.models.views import View
from segline.tasks.graph import AS_IT_IS, EvalGraph
from segline.tasks.multilabel.learning import MultilabelGraph
from segline.tasks.semantic.views import SemanticViews

_FLOOR = torch.finfo(torch.float32).tiny
"""A mean probability below it counts as this much, so that its logarithm is a number."""


class MultilabelViews(SemanticViews, MultilabelGraph):
    """Shows a graph each image in several views: larger, smaller, mirrored. Of its logits a sigmoid makes the mean probabilities."""

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each class for itself, and behind these `(B, 2 K, h, w)` that a pixel is not of it: 1 minus the former would round to 0 where that is small."""
        # By exponentials: ONNX Runtime's own sigmoid is right to 1e-7, and of small ones the logarithm is taken.
        return torch.cat([1 / (1 + (-logits).exp()), 1 / (1 + logits.exp())], dim=1)

    def seen(self, images: Tensor, factor: Fraction = AS_IT_IS) -> Tensor:
        """Images `(B, H, W, C)` → logits of mean probabilities `(B, K, h, w)`, of the size of `content(images, factor)`."""
        of_class, not_of_class = self.mean_probabilities(images, factor).clamp(min=_FLOOR).log().chunk(2, dim=1)
        return of_class - not_of_class


def around(graph: EvalGraph, views: Sequence[View]) -> EvalGraph:
    """`graph` with test-time augmentation."""
    assert isinstance(graph, MultilabelGraph)
    return MultilabelViews(graph, views)
