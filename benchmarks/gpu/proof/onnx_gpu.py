"""Part 4: the models that part 1 exported, on ONNX Runtime's provider for this device, against its CPU provider: the same figures, and how fast."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from proof import works
from proof.findings import Findings, Result
from proof.settings import Settings
from proof.workspace import Workspace
from segline.evaluation.evaluate import evaluate
from segline.export.parity import latency
from segline.metrics import catalog
from segline.metrics.figures import figures
from segline.tasks import catalog as tasks
from segline_runtime.predictor import Predictor

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"

TOLERANCE = 0.005
"""Largest difference of the task's metric: the GPU's convolutions may be computed in TF32."""


def run(settings: Settings, findings: Findings) -> None:
    if CUDA not in onnxruntime.get_available_providers() and not settings.tiny:
        findings.step("provider", lambda: {"skipped": f"The installed ONNX Runtime has no {CUDA}; the wheel onnxruntime-gpu brings it."})
        return
    models = works.models_with_onnx(settings.scratch)
    if not models:
        findings.step("models", lambda: {"skipped": "Part `works` has exported no model here; run it first."})
    for folder in models:
        findings.step(folder.name, lambda folder=folder: _compare(settings, folder), needs=5)  # type: ignore[misc]


def _compare(settings: Settings, folder: Path) -> Result:
    """Tried where there is no such provider, the CPU's stands in for it."""
    here = CUDA if CUDA in onnxruntime.get_available_providers() else CPU
    dataset = Workspace(settings.scratch / "works").dataset
    found = {}
    for word, provider in (("here", here), ("cpu", CPU)):
        predictor = Predictor(folder / "model.onnx", providers=[provider])
        task = tasks.get(predictor.specification.task)
        split = dataset.split(dataset.info.scored, task.truths)
        classes = predictor.specification.classes
        evaluation = evaluate(predictor.predict, split, task.scorer(classes))
        score = figures(evaluation.counts, [catalog.get(word) for word in task.metrics], classes).get(task.metric)
        found[word] = (score, latency(predictor, split[0].image, 3 if settings.tiny else 50), task.metric)
    (score, times, metric), (on_cpu, cpu_times, _) = found["here"], found["cpu"]
    difference = None if score is None or on_cpu is None else abs(score - on_cpu)
    return {
        "passed": times["provider"] == here and (difference is None) == (score is None) and (difference is None or difference <= TOLERANCE),
        "provider": times["provider"],
        "metric": metric,
        "score": score,
        "score_on_cpu": on_cpu,
        "difference": difference,
        "median_ms": times["median_ms"],
        "median_ms_on_cpu": cpu_times["median_ms"],
    }
