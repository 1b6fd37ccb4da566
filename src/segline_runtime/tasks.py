"""The tasks that the runtime knows, by the specification's word."""

from __future__ import annotations

from typing import Any

from segline_runtime import components, fusion, instance, multilabel, semantic
from segline_runtime.errors import InputError
from segline_runtime.specification import Specification
from segline_runtime.task import Prediction, RuntimeTask

TASKS: dict[str, RuntimeTask[Any]] = {
    "semantic": semantic.TASK,
    "instance": instance.TASK,
    "multilabel": multilabel.TASK,
}


def get(name: str) -> RuntimeTask[Any]:
    """Raises InputError for a task that this code does not know."""
    if name not in TASKS:
        raise InputError(f"The model's task is '{name}'; known are {', '.join(TASKS)}. Use a newer Segline.")
    return TASKS[name]


def reading(specification: Specification) -> RuntimeTask[Any]:
    """The task whose outputs the model's graph gives: its own; semantic segmentation where objects are components of what that finds; or several detectors'."""
    if specification.components is not None:
        return semantic.TASK
    return get(specification.task) if specification.fusion is None else fusion.Fused(specification.fusion)


def finished(prediction: Prediction, specification: Specification) -> Prediction:
    """What the model says, from what its graph says of the whole image."""
    if specification.components is None:
        return prediction
    assert isinstance(prediction, semantic.SemanticPrediction)
    return components.objects(prediction, specification)
