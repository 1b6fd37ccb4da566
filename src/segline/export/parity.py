"""Proof that an ONNX model is the trained model: both run over the scored split, are scored alike, and are compared image by image.

Both run on the CPU in fp32: a GPU's shortened products (TF32) would be a difference of the machine, not of the model.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from segline.data.store import Sample, Split
from segline.errors import ExportError
from segline.metrics.base import Metric
from segline.metrics.figures import figures
from segline.metrics.scorer import Scorer
from segline.provenance import file_digest, versions
from segline.tasks.base import Task
from segline.tasks.graph import EvalGraph
from segline_runtime import tasks as runtime_tasks
from segline_runtime.predict import graph_input, predict
from segline_runtime.predictions import Prediction
from segline_runtime.predictor import Predictor

_SCALES = (0.75, 1.5)  # of an image's own size: sizes that the network was not trained on
_PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime")
_WARM_UP = 3
_DARK = 0.04  # of full scale

VERSION = 1

Pixels = NDArray[Any]
"""An image `(H, W, C)` or a batch of them `(B, H, W, C)`, of the specification's kind."""


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
    progress: bool = True,
) -> dict[str, Any]:
    """The content of parity.json. `graph` is on the CPU; the task's own metric must not differ by more than `tolerance`.

    Raises ExportError, with both figures, when the ONNX model at `file` is not the same model.
    """
    threads = _cores()
    predictor = Predictor(file, providers=["CPUExecutionProvider"], threads=threads)
    classes, metric = graph.specification.classes, task.metric
    scorers = task.scorer(classes), task.scorer(classes)
    worst = _compare_split(graph, predictor, split, task, *scorers, progress)
    trained, exported = (figures(scorer.counts(), metrics, classes) for scorer in scorers)
    differences = {key: _difference(trained.get(key, math.nan), exported.get(key, math.nan)) for key in trained.keys() | exported.keys()}
    largest = max(sorted(differences), key=lambda key: differences[key], default=metric)
    difference = differences.get(metric, math.nan)
    image = split[0].image
    other_sizes = list(_compare_other_sizes(graph, predictor, task, image))
    problems = [f"{text}. The export is not the trained model; try another export.opset." for text in _gross(other_sizes, task)]
    if metric not in trained or metric not in exported:
        problems.insert(
            0,
            f"Nothing is proved: {metric} is undefined on the {len(split)} images of {split.name}, which show nothing to be found. "
            "Give that split images with annotated objects.",
        )
    elif not difference <= tolerance:
        problems.insert(
            0,
            f"The ONNX model is not the trained model: on {len(split)} images of {split.name}, {metric} is {trained.get(metric, math.nan):.6f} trained "
            f"and {exported.get(metric, math.nan):.6f} exported, a difference of {difference:.6f}; at most {tolerance:g} is allowed (export.tolerance). "
            "Try another export.opset.",
        )
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
        "worst": worst,
        "other_sizes": other_sizes,
        "latency": latency(predictor, image, latency_runs) | {"threads": threads},
        "onnx_bytes": file.stat().st_size,
        "sha256": file_digest(file),
        "opset": opset,
        "versions": {name: version for name, version in versions().items() if name in _PACKAGES},
    }


def latency(predictor: Predictor, image: Pixels, runs: int) -> dict[str, Any]:
    """Milliseconds from a decoded image `(H, W, 3)` to its prediction, one image at a time."""
    for _ in range(_WARM_UP):
        predictor(image)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        predictor(image)
        times.append(1000 * (time.perf_counter() - start))
    median, p95 = (round(float(np.percentile(times, q)), 3) for q in (50, 95))
    return {"median_ms": median, "p95_ms": p95, "runs": runs, "batch": 1, "image_size": list(image.shape[:2]), "provider": predictor.provider}


def _compare_split(
    graph: EvalGraph, predictor: Predictor, split: Split, task: Task, trained: Scorer, exported: Scorer, progress: bool
) -> dict[str, dict[str, Any]]:
    """Score both; for each kind of disagreement its largest value with the name of the image."""
    worst: dict[str, dict[str, Any]] = {}
    samples: Iterable[Sample] = track(split, "ONNX parity", len(split), console=Console(stderr=True), disable=not progress)
    for sample in samples:
        ours, theirs = _both(graph, predictor, sample.image)
        trained.add(ours, sample)
        exported.add(theirs, sample)
        for name, value in task.disagreement(ours, theirs).items():
            if name not in worst or value > worst[name]["value"]:
                worst[name] = {"value": value, "image": sample.name}
    return worst


def _compare_other_sizes(graph: EvalGraph, predictor: Predictor, task: Task, image: Pixels) -> Iterator[dict[str, Any]]:
    """Disagreement on an image scaled, transposed, dark and empty, and, where the graph takes batches, on two images at once."""
    height, width = image.shape[:2]
    others = {f"scaled by {scale:g}": _resized(image, round(height * scale), round(width * scale)) for scale in _SCALES}
    others["transposed"] = np.ascontiguousarray(image.transpose(1, 0, 2))
    # Not quite black: on an even image all positions score alike, and rounding picks the detections.
    others["dark"] = (np.random.default_rng(0).random(image.shape) * graph.specification.image.scale * _DARK).astype(image.dtype)
    for name, other in others.items():
        ours, theirs = _both(graph, predictor, other)
        yield {"input": name, "size": list(other.shape[:2]), **task.disagreement(ours, theirs)}
    if 0 in next(iter(graph.inputs.values())):
        found = [task.disagreement(a, b) for a, b in zip(*_batches(graph, predictor, np.stack([image, image[::-1]])), strict=True)]
        yield {"input": "batch of two", "size": [height, width], **{key: max(one[key] for one in found) for key in found[0]}}


def _both(graph: EvalGraph, predictor: Predictor, image: Pixels) -> tuple[Prediction, Prediction]:
    """Predictions of the trained and of the exported model for an image."""
    specification = graph.specification
    return predict(graph.run, specification, image, probabilities=True), predict(predictor.run, specification, image, probabilities=True)


def _batches(graph: EvalGraph, predictor: Predictor, images: Pixels) -> tuple[list[Prediction], list[Prediction]]:
    """Likewise for a batch in one pass."""
    task, size = runtime_tasks.get(graph.specification.task), (images.shape[1], images.shape[2])
    batch = graph_input(images, graph.specification.image)
    return task.decode(graph.run(batch), size), task.decode(predictor.run(batch), size)


def _gross(other_sizes: Iterable[dict[str, Any]], task: Task) -> Iterator[str]:
    for compared in other_sizes:
        for name, limit in task.gross.items():
            if compared.get(name, 0.0) > limit:
                height, width = compared["size"]
                where = f"On an image of {height}×{width} pixels ({compared['input']})"
                yield f"{where}, trained and ONNX model differ: {name} is {compared[name]:.4f}, above {limit:g}"


def _difference(first: float, second: float) -> float:
    """Both undefined is agreement; one undefined is the largest difference there can be."""
    if math.isnan(first) or math.isnan(second):
        return 0.0 if math.isnan(first) and math.isnan(second) else math.inf
    return abs(first - second)


def _number(value: float) -> float | None:
    """JSON has no name for what is undefined."""
    return value if math.isfinite(value) else None


def _resized(image: Pixels, height: int, width: int) -> Pixels:
    """Each channel by itself, so that any number and type of them will do."""
    size = (max(width, 1), max(height, 1))
    channels = [Image.fromarray(image[:, :, c].astype(np.float32)).resize(size, Image.Resampling.BILINEAR) for c in range(image.shape[2])]
    return np.stack([np.asarray(channel) for channel in channels], axis=2).astype(image.dtype)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
