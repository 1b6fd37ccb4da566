"""The tasks by their word in params.yaml."""

from __future__ import annotations

from segline.tasks.base import Task
from segline.tasks.instance import InstanceTask
from segline.tasks.semantic import SemanticTask

TASKS: dict[str, Task] = {"semantic": SemanticTask(), "instance": InstanceTask()}


def get(name: str) -> Task:
    """The task of that name; params.yaml and model cards hold no other."""
    return TASKS[name]
