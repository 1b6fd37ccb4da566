"""The stage `evaluate`: a trained model's figures and pictures on the split that models are scored on."""

from __future__ import annotations

from pathlib import Path

import torch

from segline import history, memory
from segline.data.leaks.known import leaked_images
from segline.data.store import PreparedDataset
from segline.drawing.curves import history_picture
from segline.errors import ParametersError
from segline.evaluation.ceiling import Ceiling
from segline.evaluation.evaluate import evaluate
from segline.evaluation.report import write_ceiling, write_figures, write_plots
from segline.evaluation.trained import best_device, load, scored_split
from segline.layout import ModelFolder
from segline.metrics import catalog
from segline.metrics.details import wanted
from segline.plan.plans import EvaluatePlan
from segline_runtime.errors import reason


def evaluate_model(plan: EvaluatePlan, folder: ModelFolder, dataset: PreparedDataset, *, accelerator: str = "auto", progress: bool = True) -> dict[str, float]:
    """Write `metrics.json`, `counts.npz` and `plots/` of the model in `folder`, scored in fp32; returns the figures.

    The plots also hold training_curves.png, drawn from the history that `train` wrote, and ceiling.png: what is reached of what the model's configuration
    lets it reach, of which a sentence is printed too. `accelerator`: Lightning's name.
    Raises ModelError when there is no trained model, it knows other classes than the data, or memory is too small, DataError when the data is not the plan's,
    ParametersError when the accelerator is not there.
    """
    device = _device(accelerator)
    trained = load(folder, plan, device)
    split = scored_split(dataset, plan, trained.task)
    rows = history.read(folder.history)
    metrics = [catalog.get(word) for word in plan.metrics]
    details = wanted(metrics)
    ceiling = Ceiling(trained.task, plan, trained.specification, metrics)
    told: list[str | None] = []

    def draw(plots: Path) -> None:
        history_picture(rows, trained.task.metric, plots / "training_curves.png")
        told.append(write_ceiling(evaluation, ceiling, metrics=metrics, task=trained.task, classes=plan.classes, file=plots / "ceiling.png"))

    # TF32 keeps 10 bits of the mantissa: enough to move a metric that ONNX must meet.
    with memory.told(f"to evaluate '{plan.model}'", device.type), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        scorer = trained.task.scorer(plan.classes, details)
        predict = trained.predict_in_detail if any(detail.probabilities for detail in details) else trained.predict
        evaluation = evaluate(predict, split, scorer, beside=ceiling.beside, batch_size=1 if device.type == "cpu" else 4, progress=progress)
        write_plots(
            evaluation,
            predict=trained.predict,
            split=split,
            task=trained.task,
            classes=plan.classes,
            overlays=plan.overlays,
            plots=folder.plots,
            draw=draw,
            metrics=metrics,
        )
    for sentence in told:
        if sentence is not None and progress:
            print(sentence, flush=True)
    return write_figures(
        evaluation,
        metrics=metrics,
        classes=plan.classes,
        resamples=plan.resamples,
        split=split,
        split_hash=plan.scored.hash,
        metrics_file=folder.metrics,
        counts=folder.counts,
        ceiling=ceiling,
        leaked=leaked_images(dataset.folder, split.name),
    )


def _device(accelerator: str) -> torch.device:
    if accelerator == "auto":
        return best_device()
    gpu = "cuda" if torch.cuda.is_available() or not torch.backends.mps.is_available() else "mps"
    name = gpu if accelerator == "gpu" else accelerator
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ParametersError(f"runtime.accelerator is '{accelerator}', and this machine cannot use it ({reason(error)}). Set it to auto or cpu.") from None
    return device
