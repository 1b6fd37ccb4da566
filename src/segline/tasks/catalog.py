"""The tasks by their words, which architectures imply: word → package with a light half, `task`, and a torch half, `learning`, beside `views`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from segline import choices
from segline.errors import ParametersError
from segline.models.views import View
from segline.tasks.base import Task
from segline.tasks.contradiction import Judge
from segline.tasks.hesitation import Hesitate

if TYPE_CHECKING:
    from segline.tasks.graph import EvalGraph
    from segline.tasks.learning import Learning

TASKS: dict[str, str] = {
    "semantic": "segline.tasks.semantic",
    "instance": "segline.tasks.instance",
    "multilabel": "segline.tasks.multilabel",
}


def get(name: str) -> Task:
    """The light half of a task. Raises ParametersError for an unknown word."""
    found: Task = choices.module(TASKS, "task", name, "task").TASK
    return found


def learning(name: str) -> Learning:
    """The torch half of a task. Raises ParametersError for an unknown word."""
    found: Learning = choices.module(TASKS, "task", name, "learning").LEARNING
    return found


def judge(name: str) -> Judge:
    """How a task doubts labels, in its module `suspects`. Raises ParametersError for an unknown word, and for a task that has none."""
    found: Judge = _optional(name, "suspects", "say which labels a model contradicts").judge
    return found


def hesitate(name: str) -> Hesitate:
    """How a task says what a model is undecided about, in its module `hesitation`. Raises ParametersError for an unknown word, and for a task that has none."""
    found: Hesitate = _optional(name, "hesitation", "say what a model is undecided about").hesitate
    return found


def with_views(name: str, graph: EvalGraph, views: Sequence[View]) -> EvalGraph:
    """A graph of the task with test-time augmentation; `graph` itself where there are no views. Raises ParametersError for an unknown word."""
    if not views:
        return graph
    around: Callable[[EvalGraph, Sequence[View]], EvalGraph] = choices.module(TASKS, "task", name, "views").around
    return around(graph, views)


def _optional(name: str, part: str, purpose: str) -> ModuleType:
    """A module that not every task needs."""
    try:
        return choices.module(TASKS, "task", name, part)
    except ModuleNotFoundError as error:
        if error.name != f"{TASKS[name]}.{part}":
            raise
        raise ParametersError(f"The task '{name}' has no module {error.name}, so it cannot {purpose}.") from None
