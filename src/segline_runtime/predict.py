"""From an image to a prediction, whatever runs the model: training's validation, evaluation, parity, promotion and serving all predict by this function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline_runtime import tasks
from segline_runtime.errors import InputError
from segline_runtime.geometry import Window, windows
from segline_runtime.specification import ImageKind, Specification
from segline_runtime.task import Prediction, RuntimeTask

Run = Callable[[NDArray[Any], bool], Mapping[str, NDArray[Any]]]
"""Images `(B, H, W, C)` of one size, as `graph_input` makes them, and whether class probabilities are wanted → the model's named outputs."""


def predict(run: Run, specification: Specification, image: NDArray[Any], *, probabilities: bool = False) -> Prediction:
    """What a model says of one image `(H, W, C)` of the specification's kind, at the image's own size.

    `probabilities`: class probabilities too, where the task has them. With `geometry.tile` a larger image is predicted by windows, one after another,
    each refined by itself, so that memory is bounded by a window's. A `tile.context` makes what they say together what one pass over the image would say.
    Raises InputError for an array of another kind, and for a task that this code does not know.
    """
    _check(image, specification.image)
    task = tasks.reading(specification)
    probabilities = probabilities or specification.components is not None
    size = (image.shape[0], image.shape[1])
    tile = specification.geometry.tile
    parts = [(0, 0, *size)] if tile is None else windows(size, tile)
    if tile is None or len(parts) == 1:
        found = _of_part(run, task, image, specification, probabilities)
    else:
        # To blend, a task needs them.
        detailed = probabilities or not tile.context
        found = task.join(parts, _of_parts(run, task, image, specification, parts, detailed), size, tile, probabilities=probabilities)
    return tasks.finished(found, specification)


def predict_batch(run: Run, specification: Specification, images: NDArray[Any], *, probabilities: bool = False) -> list[Prediction]:
    """As `predict`, of images `(B, H, W, C)` of one size that go through the model together; none is cut into windows."""
    task = tasks.reading(specification)
    probabilities = probabilities or specification.components is not None
    outputs = run(graph_input(images, specification.image), probabilities or task.refines(specification))
    found = task.decode(outputs, (images.shape[1], images.shape[2]))
    refined = [task.refined(one, image, specification, probabilities=probabilities) for one, image in zip(found, images, strict=True)]
    return [tasks.finished(one, specification) for one in refined]


def graph_input(images: NDArray[Any], kind: ImageKind) -> NDArray[Any]:
    """Images `(B, H, W, C)` in the type that a model's graph takes: uint8 as they are, all others as float32, their values unchanged."""
    return np.ascontiguousarray(images, dtype=np.uint8 if kind.dtype == "uint8" else np.float32)


def _of_parts(
    run: Run, task: RuntimeTask[Any], image: NDArray[Any], specification: Specification, parts: Sequence[Window], probabilities: bool
) -> Iterator[Prediction]:
    for top, left, bottom, right in parts:
        yield _of_part(run, task, image[top:bottom, left:right], specification, probabilities)


def _of_part(run: Run, task: RuntimeTask[Any], image: NDArray[Any], specification: Specification, probabilities: bool) -> Prediction:
    outputs = run(graph_input(image[None], specification.image), probabilities or task.refines(specification))
    prediction: Prediction = task.decode(outputs, (image.shape[0], image.shape[1]))[0]
    refined: Prediction = task.refined(prediction, image, specification, probabilities=probabilities)
    return refined


def _check(image: NDArray[Any], kind: ImageKind) -> None:
    if image.ndim != 3 or image.shape[2] != kind.channels or image.dtype != kind.dtype or 0 in image.shape:
        words = {1: ", grey", 3: ", RGB"}.get(kind.channels, "")
        raise InputError(
            f"An image must be {kind.dtype} of shape (height, width, {kind.channels}){words}; this is {image.dtype} of shape {tuple(image.shape)}."
        )
