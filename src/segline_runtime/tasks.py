"""The tasks that the runtime knows, by the specification's word."""

from __future__ import annotations

from typing import Any

from segline_runtime import instance, semantic
from segline_runtime.errors import InputError
from segline_runtime.task import RuntimeTask

TASKS: dict[str, RuntimeTask[Any]] = {
    "semantic": semantic.TASK,
    "instance": instance.TASK,
}


def get(name: str) -> RuntimeTask[Any]:
    """Raises InputError for a task that this code does not know."""
    if name not in TASKS:
        raise InputError(f"The model's task is '{name}'; known are {', '.join(TASKS)}. Use a newer Segline.")
    return TASKS[name]
