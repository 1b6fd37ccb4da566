"""The tasks by their words, which architectures imply: word → package with a light half, `task`, and a torch half, `learning`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segline import choices
from segline.tasks.base import Task

if TYPE_CHECKING:
    from segline.tasks.learning import Learning

TASKS: dict[str, str] = {
    "semantic": "segline.tasks.semantic",
    "instance": "segline.tasks.instance",
}


def get(name: str) -> Task:
    """The light half of a task. Raises ParametersError for an unknown word."""
    found: Task = choices.module(TASKS, "task", name, "task").TASK
    return found


def learning(name: str) -> Learning:
    """The torch half of a task. Raises ParametersError for an unknown word."""
    found: Learning = choices.module(TASKS, "task", name, "learning").LEARNING
    return found
