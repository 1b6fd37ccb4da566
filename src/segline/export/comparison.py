"""A trained model beside the file that is to be the same one: both are shown the same images, and told apart from rounding.

Two machines add the same numbers in another order, so their figures differ in the last digits; and where two classes, two boxes or a score and its
threshold are nearly equal, the last digits decide what is found at all. What such a difference may amount to is asked of the trained model itself: its
weights are changed by about as much as rounding changes what it computes, several times, and it is compared with what it said before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state
from PIL import Image

from segline.errors import ExportError
from segline.tasks.base import Task
from segline.tasks.graph import EvalGraph
from segline_runtime.errors import memory_is_short, reason
from segline_runtime.predict import predict, predict_batch
from segline_runtime.predictions import Prediction
from segline_runtime.predictor import Predictor

SCALES = (0.75, 1.5)
"""Of an image's own size: sizes that the network was not trained on."""

ROUNDING = 1e-5
"""Relative change of each weight that stands for rounding: some ten times what fp32 does in a sum of thousands."""

DRAWS = 8
"""How often the weights are changed; a near tie then falls the other way at least once."""

SLACK = 2.0
"""A difference is rounding's when it is at most this many times the largest that the changed weights make."""

_GROUP = 8  # inputs that are judged at once: what the trained model said of each is kept meanwhile
_DARK = 0.04  # of full scale
_FAILS = (state.Fail, state.InvalidArgument, state.RuntimeException, state.NotImplemented)

Pixels = NDArray[Any]
"""An image `(H, W, C)` or a batch of them `(B, H, W, C)`, of the specification's kind."""


@dataclass(frozen=True)
class Comparison:
    """How far the two models are apart on one input."""

    name: str  # of the image, or what was done to one
    size: tuple[int, int]  # height, width
    figures: dict[str, float]  # see `Task.disagreement`; of several images the largest
    findings: int  # see `Task.findings`; of both models
    again: Callable[[], list[Prediction]]  # what the trained model says of it now


class Pair:
    """The trained model, on the CPU, and the exported one."""

    def __init__(self, graph: EvalGraph, predictor: Predictor, task: Task) -> None:
        self.graph, self.predictor, self.task = graph, predictor, task

    def predictions(self, image: Pixels) -> tuple[Prediction, Prediction]:
        """What both say of an image, the trained one first. Raises ExportError when the exported one cannot run on it."""
        with _failing(image.shape[:2]):
            return self._trained(image), self.predictor(image, probabilities=True)

    def compare(self, name: str, image: Callable[[], Pixels], both: tuple[Prediction, Prediction], size: tuple[int, int]) -> Comparison:
        """`image` gives the input of `both` once more, where it is needed."""
        findings = sum(self.task.findings(one) for one in both)
        return Comparison(name, size, self.task.disagreement(*both), findings, lambda: [self._trained(image())])

    def on_other_sizes(self, image: Pixels) -> Iterator[Comparison]:
        """On an image scaled, transposed and dark, and, where the graph takes batches, on two images at once."""
        height, width = image.shape[:2]
        others = {f"scaled by {scale:g}": resized(image, round(height * scale), round(width * scale)) for scale in SCALES}
        others["transposed"] = np.ascontiguousarray(image.transpose(1, 0, 2))
        # Not quite black: on an even image all positions score alike, and rounding picks the detections.
        others["dark"] = (np.random.default_rng(0).random(image.shape) * self.graph.specification.image.scale * _DARK).astype(image.dtype)
        for name, other in others.items():
            yield self.compare(name, lambda other=other: other, self.predictions(other), (other.shape[0], other.shape[1]))  # type: ignore[misc]
        if 0 in next(iter(self.graph.inputs.values())):
            yield self._batch_of_two(image)

    def _trained(self, image: Pixels) -> Prediction:
        return predict(self.graph.run, self.graph.specification, image, probabilities=True)

    def _batch_of_two(self, image: Pixels) -> Comparison:
        size = (image.shape[0], image.shape[1])
        specification, batch = self.graph.specification, np.stack([image, image[::-1]])

        def trained() -> list[Prediction]:
            return predict_batch(self.graph.run, specification, batch, probabilities=True)

        with _failing(size):
            ours, theirs = trained(), predict_batch(self.predictor.run, specification, batch, probabilities=True)
        figures = largest([self.task.disagreement(a, b) for a, b in zip(ours, theirs, strict=True)])
        return Comparison("batch of two", size, figures, sum(self.task.findings(one) for one in (*ours, *theirs)), trained)


def beyond_rounding(suspects: Sequence[Comparison], pair: Pair) -> Iterator[dict[str, float]]:
    """For each suspect, in their order: the figures above the task's limits that rounding could not have made of the trained model.

    The first is judged by itself, as the end of the search may hang on it, and the others in groups: the weights are changed once for a whole group.
    """
    yield from _group_beyond_rounding(suspects[:1], pair)
    for start in range(1, len(suspects), _GROUP):
        yield from _group_beyond_rounding(suspects[start : start + _GROUP], pair)


def _group_beyond_rounding(suspects: Sequence[Comparison], pair: Pair) -> list[dict[str, float]]:
    task = pair.task
    beyond = [above_limits(one, task) for one in suspects]
    # What no rounding explains is not asked for again.
    open_ones = [i for i in range(len(suspects)) if beyond[i] and not task.beyond_rounding & beyond[i].keys()]
    before = {i: suspects[i].again() for i in open_ones}
    for draw in range(DRAWS):
        if not open_ones:
            break
        with shaken_weights(pair.graph, draw):
            for i in open_ones:
                shaken = largest([task.disagreement(one, other) for one, other in zip(before[i], suspects[i].again(), strict=True)])
                beyond[i] = {name: value for name, value in beyond[i].items() if not value <= SLACK * shaken.get(name, math.nan)}
        open_ones = [i for i in open_ones if beyond[i]]
    return beyond


def above_limits(compared: Comparison, task: Task) -> dict[str, float]:
    """The figures that are above the task's limits, undefined or missing (NaN)."""
    figures = {name: compared.figures.get(name, math.nan) for name in task.limits}
    return {name: value for name, value in figures.items() if not value <= task.limits[name]}


def largest(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    """The largest value of each figure; NaN where one of them is NaN, or has no such figure."""
    names = dict.fromkeys(name for one in figures for name in one)
    return {name: float(np.max([one.get(name, math.nan) for one in figures])) for name in names}


@contextmanager
def shaken_weights(graph: EvalGraph, seed: int) -> Iterator[None]:
    """Inside the block each weight is another by about `ROUNDING` of itself."""
    random = torch.Generator().manual_seed(seed)
    kept = {name: weight.detach().clone() for name, weight in graph.named_parameters()}
    with torch.no_grad():
        for weight in graph.parameters():
            weight.mul_(1 + ROUNDING * torch.randn(weight.shape, generator=random))
    try:
        yield
    finally:
        with torch.no_grad():
            for name, weight in graph.named_parameters():
                weight.copy_(kept[name])


def resized(image: Pixels, height: int, width: int) -> Pixels:
    """Each channel by itself, so that any number and type of them will do."""
    size = (max(width, 1), max(height, 1))
    channels = [Image.fromarray(image[:, :, c].astype(np.float32)).resize(size, Image.Resampling.BILINEAR) for c in range(image.shape[2])]
    return np.stack([np.asarray(channel) for channel in channels], axis=2).astype(image.dtype)


@contextmanager
def _failing(size: tuple[int, ...]) -> Iterator[None]:
    """A graph that holds for the size alone that it was traced with fails at others; any fails where the memory is too small."""
    try:
        yield
    except _FAILS as error:
        if memory_is_short(error):
            raise ExportError(
                f"The ONNX model needs more memory than there is for an image of {size[0]}×{size[1]} pixels. Free some, or use smaller images."
            ) from None
        raise ExportError(f"The ONNX model cannot run on an image of {size[0]}×{size[1]} pixels ({reason(error)}). Try another export.opset.") from None
