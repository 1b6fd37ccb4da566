"""Proof that an ONNX model is the trained model: both run over the scored split, are scored alike, and are compared image by image.

Both run on the CPU in fp32: a GPU's shortened products (TF32) would be a difference of the machine, not of the model.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from segline.data.store import Sample, Split
from segline.errors import ExportError
from segline.export.disagreement import GROSS, disagreement
from segline.metrics.scorer import Scorer
from segline.provenance import file_digest, versions
from segline.tasks.graphs import EvalGraph
from segline_runtime.postprocess import decode
from segline_runtime.predictions import Prediction
from segline_runtime.predictor import Predictor

_SCALES = (0.75, 1.5)  # of an image's own size: sizes that the network was not trained on
_PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime")
_WARM_UP = 3

Pixels = NDArray[np.uint8]


def prove(
    graph: EvalGraph,
    file: Path,
    split: Split,
    scorer: Callable[[], Scorer],
    *,
    metric: str,
    tolerance: float,
    latency_runs: int,
    opset: int,
    progress: bool = True,
) -> dict[str, Any]:
    """The content of parity.json. `graph` is on the CPU; `metric` is the key that must not differ by more than `tolerance`; `scorer` makes fresh scorers.

    Raises ExportError, with both figures, when the ONNX model at `file` is not the same model.
    """
    threads = _cores()
    predictor = Predictor(file, providers=["CPUExecutionProvider"], threads=threads)
    trained, exported, worst = _compare_split(graph, predictor, split, scorer(), scorer(), progress)
    differences = {key: _difference(trained.get(key, math.nan), exported.get(key, math.nan)) for key in trained.keys() | exported.keys()}
    largest = max(sorted(differences), key=lambda key: differences[key], default=metric)
    difference = differences.get(metric, 0.0)
    image = split[0].image
    other_sizes = list(_compare_other_sizes(graph, predictor, image))
    problems = [f"{text}. The export is not the trained model; try another export.opset." for text in _gross(other_sizes)]
    if not difference <= tolerance:
        problems.insert(
            0,
            f"The ONNX model is not the trained model: on {len(split)} images of {split.name}, {metric} is {trained.get(metric, math.nan):.6f} trained "
            f"and {exported.get(metric, math.nan):.6f} exported, a difference of {difference:.6f}; at most {tolerance:g} is allowed (export.tolerance). "
            "Try another export.opset.",
        )
    if problems:
        raise ExportError(*problems)
    return {
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
    graph: EvalGraph, predictor: Predictor, split: Split, trained: Scorer, exported: Scorer, progress: bool
) -> tuple[dict[str, float], dict[str, float], dict[str, dict[str, Any]]]:
    """Metrics of both, and for each kind of disagreement its largest value with the name of the image."""
    worst: dict[str, dict[str, Any]] = {}
    samples: Iterable[Sample] = track(split, "ONNX parity", len(split), console=Console(stderr=True), disable=not progress)
    for sample in samples:
        ours, theirs = _both(graph, predictor, sample.image[None])
        trained.add(ours[0], sample)
        exported.add(theirs[0], sample)
        for name, value in disagreement(ours[0], theirs[0]).items():
            if name not in worst or value > worst[name]["value"]:
                worst[name] = {"value": value, "image": sample.name}
    return trained.metrics(), exported.metrics(), worst


def _compare_other_sizes(graph: EvalGraph, predictor: Predictor, image: Pixels) -> Iterator[dict[str, Any]]:
    """Disagreement on an image scaled, transposed, dark and empty, and, where the graph takes batches, on two images at once."""
    height, width = image.shape[:2]
    batches = {f"scaled by {scale:g}": _resized(image, round(height * scale), round(width * scale))[None] for scale in _SCALES}
    batches["transposed"] = np.ascontiguousarray(image.transpose(1, 0, 2))[None]
    # Not quite black: on an even image all positions score alike, and rounding picks the detections.
    batches["dark"] = np.random.default_rng(0).integers(0, 9, (1, *image.shape), dtype=np.uint8)
    if 0 in next(iter(graph.inputs.values())):
        batches["batch of two"] = np.stack([image, image[::-1]])
    for name, images in batches.items():
        ours, theirs = _both(graph, predictor, images)
        figures = [disagreement(a, b) for a, b in zip(ours, theirs, strict=True)]
        yield {"input": name, "size": list(images.shape[1:3]), **{key: max(f[key] for f in figures) for key in figures[0]}}


def _both(graph: EvalGraph, predictor: Predictor, images: Pixels) -> tuple[list[Prediction], list[Prediction]]:
    """Predictions of the trained and of the exported model for a batch `(B, H, W, 3)`."""
    size = (images.shape[1], images.shape[2])
    return decode(predictor.specification, graph.run(images), size), decode(predictor.specification, predictor.run(images), size)


def _gross(other_sizes: Iterable[dict[str, Any]]) -> Iterator[str]:
    for figures in other_sizes:
        for name, limit in GROSS.items():
            if figures.get(name, 0.0) > limit:
                height, width = figures["size"]
                where = f"On an image of {height}×{width} pixels ({figures['input']})"
                yield f"{where}, trained and ONNX model differ: {name} is {figures[name]:.4f}, above {limit:g}"


def _difference(first: float, second: float) -> float:
    """Both undefined is agreement; one undefined is the largest difference there can be."""
    if math.isnan(first) or math.isnan(second):
        return 0.0 if math.isnan(first) and math.isnan(second) else math.inf
    return abs(first - second)


def _number(value: float) -> float | None:
    """JSON has no name for what is undefined."""
    return value if math.isfinite(value) else None


def _resized(image: Pixels, height: int, width: int) -> Pixels:
    return np.asarray(Image.fromarray(image).resize((max(width, 1), max(height, 1)), Image.Resampling.BILINEAR))


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
