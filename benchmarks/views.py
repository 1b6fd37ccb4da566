"""Test-time augmentation measured: the metric of a trained model with and without, and what it costs.

    python benchmarks/views.py CHECKOUT MODEL

CHECKOUT ran the line (`data/plan`, `data/prepared`, `models`) with an entry MODEL. Each way of predicting is scored on the split that the plan names, by
the trained network in PyTorch. Latencies are of the exported files, asked in turns, one thread; where other work shares the cores, only `cpu_ms` and the
factor mean something. Nothing in CHECKOUT is changed. The result is `benchmarks/views-MODEL.json`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import results
import torch
from numpy.typing import NDArray

from segline.data.store import PreparedDataset, Split
from segline.evaluation.evaluate import evaluate
from segline.evaluation.trained import Trained, load, scored_split
from segline.export.onnx import write_onnx
from segline.layout import Checkout
from segline.metrics import catalog
from segline.metrics.figures import figures
from segline.plan import plans
from segline.plan.plans import EvaluatePlan
from segline_runtime.predictor import Predictor

WAYS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "mirrored": {"flips": "horizontal"},
    "all four flips": {"flips": "both"},
    "three scales": {"scales": [0.75, 1.0, 1.25]},
    "mirrored, three scales": {"flips": "horizontal", "scales": [0.75, 1.0, 1.25]},
}
ROUNDS = 8
NOT_COUNTED = 2
OPSET = 18


def main(root: Path, model: str) -> None:
    checkout = Checkout(root)
    dataset = PreparedDataset(checkout.prepared)
    measured = _measured(plans.read(EvaluatePlan, checkout.plan(model).evaluate), checkout, dataset)
    results.write(Path(__file__).with_name(f"views-{model}.json"), {"dataset": dataset.info.name, **measured})


def _measured(plan: EvaluatePlan, checkout: Checkout, dataset: PreparedDataset) -> dict[str, Any]:
    ways: dict[str, dict[str, Any]] = {}
    predictors: dict[str, Predictor] = {}
    with tempfile.TemporaryDirectory(prefix="segline-benchmark-") as folder:
        for number, (way, changes) in enumerate(WAYS.items()):
            predict = plan.settings.predict.model_copy(update=changes)
            trained = load(
                checkout.model(plan.model),
                replace(plan, settings=plan.settings.model_copy(update={"predict": predict})),
                torch.device("cpu"),
            )
            split = scored_split(dataset, plan, trained.task)
            file = Path(folder) / f"{number}.onnx"
            write_onnx(trained.graph, trained.specification, file, OPSET)
            predictors[way] = Predictor(file, providers=["CPUExecutionProvider"], threads=1)
            ways[way] = {"views": max(1, len(predict.views)), **_scored(trained, split), "onnx_bytes": file.stat().st_size}
        times = _alternating(predictors, split[0].image)
    for way, found in ways.items():
        found |= times[way] | {"times_as_it_is": round(times[way]["cpu_ms"] / times["as it is"]["cpu_ms"], 2)}
    return {"arch": plan.settings.arch, "split": plan.scored.split, "images": len(split), "image_size": list(split[0].image.shape[:2]), "ways": ways}


def _scored(trained: Trained, split: Split) -> dict[str, float]:
    evaluation = evaluate(trained.predict, split, trained.task.scorer(trained.specification.classes))
    metric = trained.task.metric
    found = figures(evaluation.counts, [catalog.get(word) for word in trained.task.metrics], trained.specification.classes)
    return {metric: round(found[metric], 4)}


def _alternating(predictors: dict[str, Predictor], image: NDArray[Any]) -> dict[str, dict[str, float]]:
    """Median milliseconds of each way."""
    spent: dict[str, list[tuple[float, float]]] = {way: [] for way in predictors}
    for _ in range(NOT_COUNTED + ROUNDS):
        for way, predictor in predictors.items():
            wall, cpu = time.perf_counter(), time.process_time()
            predictor(image)
            spent[way].append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)))
    medians = {way: np.median(times[NOT_COUNTED:], axis=0).round(1).tolist() for way, times in spent.items()}
    return {way: {"wall_ms": wall, "cpu_ms": cpu} for way, (wall, cpu) in medians.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
