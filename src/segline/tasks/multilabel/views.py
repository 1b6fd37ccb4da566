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
        """Of each class for itself."""
        return logits.sigmoid()

    def seen(self, images: Tensor, factor: Fraction = AS_IT_IS) -> Tensor:
        """Images `(B, H, W, C)` → logits of mean probabilities `(B, K, h, w)`, of the size of `content(images, factor)`."""
        mean = self.mean_probabilities(images, factor)
        return mean.clamp(min=_FLOOR).log() - (1 - mean).clamp(min=_FLOOR).log()


def around(graph: EvalGraph, views: Sequence[View]) -> EvalGraph:
    """`graph` with test-time augmentation."""
    assert isinstance(graph, MultilabelGraph)
    return MultilabelViews(graph, views)
