"""How good a model could be in its configuration: the truth itself, sent through its resizing, its targets and its pasting, and scored like a prediction.

No network runs. What an ensemble's members are resized by is told of all of them together; refinement by a CRF is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from segline.evaluation.evaluate import Beside
from segline.metrics.base import Metric
from segline.metrics.details import wanted
from segline.metrics.figures import figures
from segline.metrics.scorer import Scorer
from segline.plan.plans import InferencePlan, Member
from segline.tasks.base import Task
from segline_runtime.specification import ClassInfo, Geometry, Specification

PREFIX = "ceiling_"
"""Before the key of a figure in metrics.json."""


class Ceiling:
    """Collects the counts of the truth while a model is scored."""

    def __init__(self, task: Task, plan: InferencePlan, specification: Specification, metrics: Sequence[Metric]) -> None:
        self._metrics = [metric for metric in metrics if metric.headline is not None and not _of_probabilities(metric)]
        self._scorer: Scorer = task.scorer(plan.classes, wanted(self._metrics))
        self.beside: Beside = (partial(task.ceiling, geometries=tuple(geometries(plan)), specification=specification), self._scorer)

    def figures(self, classes: Sequence[ClassInfo]) -> dict[str, float]:
        """`ceiling_<figure>` of each metric's headline; those of probabilities have none, as the truth is sure of itself."""
        found = figures(self._scorer.counts(), self._metrics, classes)
        return {f"{PREFIX}{metric.headline}": found[metric.headline] for metric in self._metrics if metric.headline in found}


def geometries(plan: InferencePlan | Member) -> Iterator[Geometry]:
    """By which the images come into each network that predicts."""
    if not plan.members:
        yield plan.geometry
    for member in plan.members:
        yield from geometries(member)


def sentence(figures: dict[str, float], metric: str) -> str | None:
    """What the ceiling of a figure means; None where it is undefined."""
    key = f"{PREFIX}{metric}"
    if key not in figures:
        return None
    reached = f" ({figures[metric]:.4f} of it is reached)" if metric in figures else ""
    return f"The truth itself, sent through this model's resizing, targets and pasting, has {metric} {figures[key]:.4f}{reached}."


def _of_probabilities(metric: Metric) -> bool:
    return any(detail.probabilities for detail in wanted([metric]))
