"""Test-time augmentation of a semantic graph: a pixel's probabilities are the mean over several views of the image."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional

from segline.models.views import View
from segline.tasks.graph import AS_IT_IS, EvalGraph, Sides, registered_once
from segline.tasks.semantic.learning import SemanticGraph

_FLOOR = torch.finfo(torch.float32).tiny
"""A mean probability below it counts as this much, so that its logarithm is a number."""


class SemanticViews(SemanticGraph):
    """Shows a graph each image in several views: larger, smaller, mirrored.

    Its logits are the logarithms of the mean probabilities, of the size at which the graph sees the image itself. `graph` may be any that has `seen` and
    `content`: of one network, or of several.
    """

    def __init__(self, graph: SemanticGraph, views: Sequence[View]) -> None:
        super().__init__(graph.network, graph.specification)
        self.inner = graph  # not by the name `graph`, which torch.fx has for its own
        self.views = tuple(views)
        registered_once(self, graph)

    def content(self, images: Tensor, factor: Fraction = AS_IT_IS) -> Sides:
        return self.inner.content(images, factor)

    def seen(self, images: Tensor, factor: Fraction = AS_IT_IS) -> Tensor:
        """Images `(B, H, W, C)` → logarithms of mean probabilities `(B, K, h, w)`, of the size of `content(images, factor)`."""
        return self.mean_probabilities(images, factor).clamp(min=_FLOOR).log()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of logits `(B, K, h, w)`, of the same shape."""
        return logits.softmax(1)

    def mean_probabilities(self, images: Tensor, factor: Fraction) -> Tensor:
        """Images `(B, H, W, C)` → `(B, K, h, w)`, of the size of `content(images, factor)`."""
        total: Tensor | None = None
        for view in self.views:
            probabilities = self._of_view(images, view, factor)
            total = probabilities if total is None else total + probabilities
        assert total is not None
        return total / len(self.views)

    def _of_view(self, images: Tensor, view: View, factor: Fraction) -> Tensor:
        """Probabilities `(B, K, h, w)`, in place: turned back, and of the size of `content(images, factor)`."""
        logits = self.inner.seen(images.flip(view.axes(1, 2)) if view.flipped else images, view.factor * factor)
        if view.factor != 1:
            logits = functional.interpolate(logits, size=self.content(images, factor), mode="bilinear", align_corners=False)
        probabilities = self.probabilities(logits)
        return probabilities.flip(view.axes(2, 3)) if view.flipped else probabilities


def around(graph: EvalGraph, views: Sequence[View]) -> EvalGraph:
    """`graph` with test-time augmentation."""
    assert isinstance(graph, SemanticGraph)
    return SemanticViews(graph, views)
