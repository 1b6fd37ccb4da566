"""Proof that an ONNX model is the trained model: both run over the scored split, are scored alike, and are compared image by image.

No figure of the comparison may be above the task's limits (`Task.limits`) on any image, unless rounding explains it (`segline.export.comparison`); and
the task's metric may differ by the tolerance at most. Where a detector finds nothing above its score threshold, there is nothing to be compared: then the
models are compared without it, and the file without it must be the exported one in all but that number.
Both run on the CPU in fp32: a GPU's shortened products (TF32) would be a difference of the machine, not of the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from segline import progress as told
from segline.data.store import Split
from segline.errors import ExportError
from segline.export.comparison import Comparison, Pair, Pixels, above_limits, beyond_rounding
from segline.export.cost import timed
from segline.export.onnx import differ_in_zeroed_scalars_alone
from segline.machine import cores
from segline.metrics.base import Metric
from segline.metrics.figures import figures
from segline.metrics.scorer import Scorer
from segline.provenance import file_digest, versions
from segline.tasks.base import Task
from segline.tasks.graph import EvalGraph
from segline_runtime.predictor import Predictor

_PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime")
VERSION = 1

Unthresholded = Callable[[], tuple[EvalGraph, Path]]
"""Makes the same model without its score threshold: the trained one, and its file."""


def prove(
    graph: EvalGraph,
    file: Path,
    split: Split,
    task: Task,
    *,
    metrics: Sequence[Metric],
    tolerance: float,
    latency_runs: int,
    opset: int,
    unthresholded: Unthresholded | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """The content of parity.json. `graph` is on the CPU; the task's own metric must not differ by more than `tolerance`.

    unthresholded: asked for where nothing is found on any image. Raises ExportError, with all figures that are too large, when the ONNX model at `file`
    is not the same model, and when nothing could be compared.
    """
    if not len(split):
        raise ExportError(f"Nothing is proved: {split.name} has no images. Give that split images with annotated objects.")
    threads = cores()
    predictor = Predictor(file, providers=["CPUExecutionProvider"], threads=threads)
    classes, metric = graph.specification.classes, task.metric
    scorers = task.scorer(classes), task.scorer(classes)
    pair = Pair(graph, predictor, task)
    compared = _compare_split(pair, split, scorers, progress)
    trained, exported = (figures(scorer.counts(), metrics, classes) for scorer in scorers)
    differences = {key: _difference(trained.get(key, math.nan), exported.get(key, math.nan)) for key in trained.keys() | exported.keys()}
    largest = max(sorted(differences), key=lambda key: differences[key], default=metric)
    difference = differences.get(metric, math.nan)
    problems = []
    if metric not in trained or metric not in exported:
        problems.append(
            f"Nothing is proved: {metric} is undefined on the {len(split)} images of {split.name}, which show nothing to be found. "
            "Give that split images with annotated objects."
        )
    elif not difference <= tolerance:
        problems.append(
            f"The ONNX model is not the trained model: on {len(split)} images of {split.name}, {metric} is {trained.get(metric, math.nan):.6f} trained "
            f"and {exported.get(metric, math.nan):.6f} exported, a difference of {difference:.6f}; at most {tolerance:g} is allowed (export.tolerance). "
            "Try another export.opset."
        )
    found_nothing = not any(one.findings for one in compared)
    if found_nothing and not problems:
        pair = _without_threshold(file, split, task, unthresholded)
        compared = _compare_split(pair, split, (), progress)
        if not any(one.findings for one in compared):
            raise ExportError(_nothing(split))
    other_sizes = list(pair.on_other_sizes(split[0].image))
    explained, unexplained = _judged([*compared, *other_sizes], pair, progress)
    problems += unexplained
    if problems:
        raise ExportError(*problems)
    return {
        "version": VERSION,
        "passed": True,
        "tolerance": tolerance,
        "metric": metric,
        "trained": _number(trained.get(metric, math.nan)),
        "onnx": _number(exported.get(metric, math.nan)),
        "difference": difference,
        "largest_difference": {"metric": largest, "difference": _number(differences.get(largest, 0.0))},
        "split": split.name,
        "images": len(split),
        "worst": _worst(compared, task),
        "explained_by_rounding": explained,
        "without_threshold": found_nothing,
        "other_sizes": [{"input": one.name, "size": list(one.size), **one.figures} for one in other_sizes],
        "latency": latency(predictor, split[0].image, latency_runs) | {"threads": threads},
        "onnx_bytes": file.stat().st_size,
        "sha256": file_digest(file),
        "opset": opset,
        "versions": {name: version for name, version in versions().items() if name in _PACKAGES},
    }


def latency(predictor: Predictor, image: Pixels, runs: int) -> dict[str, Any]:
    """Milliseconds from a decoded image `(H, W, 3)` to its prediction, one image at a time."""
    return timed(lambda: predictor(image), image, runs) | {"provider": predictor.provider}


def _compare_split(pair: Pair, split: Split, scorers: Sequence[Scorer], progress: bool) -> list[Comparison]:
    """Image by image; `scorers` take the predictions of the trained and of the exported model."""
    compared = []
    with told.progress("ONNX parity", len(split), shown=progress) as advance:
        for number, sample in enumerate(split):
            both = pair.predictions(sample.image)
            for scorer, prediction in zip(scorers, both, strict=False):
                scorer.add(prediction, sample)
            size = (sample.image.shape[0], sample.image.shape[1])
            compared.append(pair.compare(sample.name, lambda number=number: split[number].image, both, size))  # type: ignore[misc]
            advance(1)
    return compared


def _without_threshold(file: Path, split: Split, task: Task, unthresholded: Unthresholded | None) -> Pair:
    if unthresholded is None:
        raise ExportError(_nothing(split))
    graph, other = unthresholded()
    if not differ_in_zeroed_scalars_alone(file, other):
        raise ExportError(
            f"The ONNX model finds nothing on the {len(split)} images of {split.name}, and it is not the file that the trained model gives once more. "
            "Run the export again, or try another export.opset."
        )
    return Pair(graph, Predictor(other, providers=["CPUExecutionProvider"], threads=cores()), task)


def _nothing(split: Split) -> str:
    return (
        f"Nothing is proved: neither the trained nor the ONNX model finds anything on the {len(split)} images of {split.name}, so there is nothing to compare. "
        "Train the model longer, or lower predict.score_threshold."
    )


def _judged(compared: Sequence[Comparison], pair: Pair, progress: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """What rounding explains of the figures above the limits, and a sentence for the first input of which it does not explain them, the worst first."""
    explained: list[dict[str, Any]] = []
    suspects = sorted((one for one in compared if above_limits(one, pair.task)), key=lambda one: -_excess(one, pair.task))
    with told.progress("rounding or not", len(suspects), shown=progress) as advance:
        for one, beyond in zip(suspects, beyond_rounding(suspects, pair), strict=True):
            if beyond:
                return explained, list(_sentences(one, beyond, len(suspects), pair.task))
            explained.append({"input": one.name, **one.figures})
            advance(1)
    return explained, []


def _sentences(compared: Comparison, beyond: dict[str, float], count: int, task: Task) -> Iterator[str]:
    height, width = compared.size
    for name, value in beyond.items():
        yield (
            f"On an image of {height}×{width} pixels ({compared.name}), trained and ONNX model differ by more than rounding: {name} is {value:.4f}, "
            f"above {task.limits[name]:g}; in all, {count} inputs are above a limit. The export is not the trained model; try another export.opset."
        )


def _excess(compared: Comparison, task: Task) -> float:
    """The largest figure as a multiple of its limit; what is undefined is infinitely much."""
    multiples = [value / task.limits[name] if task.limits[name] else math.inf for name, value in above_limits(compared, task).items()]
    return max((math.inf if math.isnan(multiple) else multiple for multiple in multiples), default=0.0)


def _worst(compared: Sequence[Comparison], task: Task) -> dict[str, dict[str, Any]]:
    """For each kind of disagreement its largest value, the name of the image, and what is allowed without asking for rounding (null: anything)."""
    worst = {}
    for name in compared[0].figures:
        most = max(compared, key=lambda one: one.figures[name])
        worst[name] = {"value": most.figures[name], "image": most.name, "limit": task.limits.get(name)}
    return worst


def _difference(first: float, second: float) -> float:
    """Both undefined is agreement; one undefined is the largest difference there can be."""
    if math.isnan(first) or math.isnan(second):
        return 0.0 if math.isnan(first) and math.isnan(second) else math.inf
    return abs(first - second)


def _number(value: float) -> float | None:
    """JSON has no name for what is undefined."""
    return value if math.isfinite(value) else None
