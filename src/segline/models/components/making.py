"""The graph of a model whose objects are connected components: the semantic model's own. The runtime finds the components in what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from segline.models.components.settings import Settings
from segline.tasks.graph import EvalGraph
from segline_runtime.specification import Components, Specification


def specification(settings: Settings, model: str, members: Sequence[Specification]) -> Specification:
    """The semantic model's, with the rules by which objects are found."""
    [semantic] = members
    return replace(semantic, model=model, task=settings.task, components=Components(**settings.predict.model_dump()))


def graph(_settings: Settings, members: Sequence[EvalGraph], specified: Specification) -> EvalGraph:
    """The semantic model's graph, under that specification."""
    [semantic] = members
    semantic.specification = specified
    return semantic
