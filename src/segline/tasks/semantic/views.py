"""Test-time augmentation of a semantic graph: a pixel's probabilities are the mean over several views of the image."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional

from segline.models.views import View
from segline.tasks.graph import EvalGraph, Sides
from segline.tasks.semantic.learning import SemanticGraph

_FLOOR = torch.finfo(torch.float32).tiny
"""A mean probability below it counts as this much, so that its logarithm is a number."""


class SemanticViews(SemanticGraph):
    """Shows a graph each image in several views: larger, smaller, mirrored.

    Its logits are the logarithms of the mean probabilities, of the size at which the graph sees the image itself. `graph` may be any that has
    `seen`, `content` and `scaled`: of one network, or of several.
    """

    def __init__(self, graph: SemanticGraph, views: Sequence[View]) -> None:
        super().__init__(graph.network, graph.specification, factor=graph.factor)
        self.graph = graph
        self.views = tuple(views)
        self.graphs = nn.ModuleDict({_name(factor): graph if factor == 1 else graph.scaled(factor) for factor in dict.fromkeys(v.factor for v in views)})

    def scaled(self, factor: Fraction) -> SemanticViews:
        return SemanticViews(self.graph.scaled(factor), self.views)

    def content(self, images: Tensor) -> Sides:
        return self.graph.content(images)

    def seen(self, images: Tensor) -> Tensor:
        """Images `(B, H, W, C)` → logarithms of mean probabilities `(B, K, h, w)`, of the size of `content(images)`."""
        total: Tensor | None = None
        for view in self.views:
            probabilities = self._of_view(images, view)
            total = probabilities if total is None else total + probabilities
        assert total is not None
        return (total / len(self.views)).clamp(min=_FLOOR).log()

    def _of_view(self, images: Tensor, view: View) -> Tensor:
        """Probabilities `(B, K, h, w)`, in place: turned back, and of the size of `content(images)`."""
        graph = self.graphs[_name(view.factor)]
        assert isinstance(graph, SemanticGraph)
        logits = graph.seen(images.flip(view.axes(1, 2)) if view.flipped else images)
        if view.factor != 1:
            logits = functional.interpolate(logits, size=self.content(images), mode="bilinear", align_corners=False)
        probabilities = logits.softmax(1)
        return probabilities.flip(view.axes(2, 3)) if view.flipped else probabilities


def around(graph: EvalGraph, views: Sequence[View]) -> EvalGraph:
    """`graph` with test-time augmentation."""
    assert isinstance(graph, SemanticGraph)
    return SemanticViews(graph, views)


def _name(factor: Fraction) -> str:
    """Of a scaled graph among its siblings; modules' names have no dots."""
    return f"{factor.numerator}_{factor.denominator}"
