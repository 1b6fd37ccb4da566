"""The stage `evaluate`: a trained model's figures and pictures on the split that models are scored on."""

from __future__ import annotations

import csv

import torch

from segline.data.store import PreparedDataset
from segline.errors import ModelError, ParametersError
from segline.evaluation.evaluate import evaluate, write
from segline.layout import ModelFolder
from segline.metrics.plots import history_picture
from segline.tasks.trained import best_device, load


def evaluate_model(folder: ModelFolder, dataset: PreparedDataset, *, overlays: int, accelerator: str = "auto", progress: bool = True) -> dict[str, float]:
    """Write `metrics.json` and `plots/` of the model in `folder`, scored in fp32 on the scored split of `dataset`; returns the figures.

    The plots also hold training_curves.png, drawn from the history that `train` wrote.

    `overlays`: best and worst images drawn, each; `accelerator`: Lightning's name. Raises ModelError when there is no trained model or it knows other
    classes than the data, DataError when the data lacks the truth, ParametersError when the accelerator is not there.
    """
    device = _device(accelerator)
    trained = load(folder, device)
    info = dataset.info
    dataset.require(trained.task.truth, folder.name)
    trained.require_classes(info.classes)
    split = dataset.split(info.scored)
    # TF32 keeps 10 bits of the mantissa: enough to move a metric that ONNX must meet.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        evaluation = evaluate(trained.predict, split, trained.task.scorer(info.classes), batch_size=1 if device.type == "cpu" else 4, progress=progress)
        write(
            evaluation,
            predict=trained.predict,
            split=split,
            split_hash=info.split_hashes[info.scored],
            classes=info.classes,
            overlays=overlays,
            metrics_file=folder.metrics,
            plots=folder.plots,
            draw=lambda plots: history_picture(_history(folder), trained.task.metric, plots / "training_curves.png"),
        )
    return evaluation.metrics


def _history(folder: ModelFolder) -> list[dict[str, float]]:
    try:
        with folder.history.open(newline="") as stream:
            return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(stream)]
    except FileNotFoundError:
        raise ModelError(f"{folder.path} has no {folder.history.name}; run `dvc repro -f train@{folder.name}`.") from None


def _device(accelerator: str) -> torch.device:
    if accelerator == "auto":
        return best_device()
    name = "cuda" if accelerator == "gpu" else accelerator
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ParametersError(f"runtime.accelerator is '{accelerator}', and this machine cannot use it ({reason}). Set it to auto or cpu.") from None
    return device
