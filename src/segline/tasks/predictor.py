"""A network's graph as a predictor: images in, predictions at their own sizes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.tasks.graph import EvalGraph
from segline_runtime import tasks
from segline_runtime.predict import predict, predict_batch
from segline_runtime.specification import Specification
from segline_runtime.task import Prediction


class GraphPredictor:
    """Predicts with a graph on its device, in fp32; images of one size go through a graph that takes batches together."""

    def __init__(self, graph: EvalGraph, specification: Specification) -> None:
        self._graph = graph
        self._specification = specification
        refines = tasks.reading(specification).refines(specification)
        self._batches = 0 in next(iter(graph.inputs.values())) and specification.geometry.tile is None and not refines

    def __call__(self, images: Sequence[NDArray[Any]]) -> list[Prediction]:
        """Images `(H, W, C)`, which may differ in size."""
        if not self._batches:
            return [predict(self._graph.run, self._specification, image) for image in images]
        found: list[Prediction | None] = [None] * len(images)
        for size in dict.fromkeys((image.shape[0], image.shape[1]) for image in images):
            same = [i for i, image in enumerate(images) if image.shape[:2] == size]
            batch = np.stack([images[i] for i in same])
            for i, prediction in zip(same, predict_batch(self._graph.run, self._specification, batch), strict=True):
                found[i] = prediction
        return [prediction for prediction in found if prediction is not None]
