"""The stage `export`: a trained model's ONNX file, and the proof that it is the same model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from segline import memory
from segline.data.store import PreparedDataset
from segline.evaluation.trained import load, scored_split
from segline.export.cost import cost
from segline.export.onnx import write_onnx
from segline.export.parity import prove
from segline.files import whole, write_json
from segline.layout import ModelFolder
from segline.metrics import catalog
from segline.models import licences
from segline.models.settings import Entry
from segline.plan.plans import ExportPlan, Member
from segline.tasks.graph import EvalGraph


def export(plan: ExportPlan, folder: ModelFolder, dataset: PreparedDataset, *, progress: bool = True) -> None:
    """Write `model.onnx` and `parity.json` of the model in `folder`, proved on the plan's images.

    Raises ModelError when there is no trained model, it knows other classes than the data, or memory is too small, DataError when the data is not the plan's,
    and ExportError when the ONNX model is not the same model. After an error neither file is there.
    """
    folder.parity.unlink(missing_ok=True)
    folder.onnx.unlink(missing_ok=True)
    trained = load(folder, plan, torch.device("cpu"))
    split = scored_split(dataset, plan, trained.task)
    with memory.told(f"to export '{plan.model}'", "cpu"), whole(folder.onnx) as file, tempfile.TemporaryDirectory(prefix="segline-parity-") as beside:
        write_onnx(trained.graph, trained.specification, file, plan.opset, exporter=plan.exporter)
        proof = prove(
            trained.graph,
            file,
            split,
            trained.task,
            metrics=[catalog.get(word) for word in trained.task.metrics],
            tolerance=plan.tolerance,
            latency_runs=plan.latency_runs,
            opset=plan.opset,
            unthresholded=lambda: _unthresholded(plan, folder, Path(beside) / "model.onnx"),
            progress=progress,
        )
        proof["cost"] = cost(trained.graph, split[0].image, plan.latency_runs)
    proof["licences"] = {"code": licences.of_code(trained.graph), "weights": licences.of_weights(plan.settings, _starts(plan.members))}
    write_json(folder.parity, proof | {"split_hash": plan.scored.hash})


def _starts(members: Sequence[Member]) -> Iterator[Entry]:
    """The settings of all networks that members are made of."""
    for member in members:
        yield from _starts(member.members) if member.members else (member.settings,)


def _unthresholded(plan: ExportPlan, folder: ModelFolder, file: Path) -> tuple[EvalGraph, Path]:
    """The trained model as it is when no detection is dropped for its score, and its file."""
    trained = load(folder, plan.unthresholded(), torch.device("cpu"))
    write_onnx(trained.graph, trained.specification, file, plan.opset, exporter=plan.exporter)
    return trained.graph, file
