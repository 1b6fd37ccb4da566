"""The stage `export`: a trained model's ONNX file, and the proof that it is the same model."""

from __future__ import annotations

import torch

from segline.data.store import PreparedDataset
from segline.export.onnx import write_onnx
from segline.export.parity import prove
from segline.files import whole, write_json
from segline.layout import ModelFolder
from segline.tasks.trained import load


def export(folder: ModelFolder, dataset: PreparedDataset, *, opset: int, tolerance: float, latency_runs: int, progress: bool = True) -> None:
    """Write `model.onnx` and `parity.json` of the model in `folder`, proved on the scored split of `dataset`.

    `tolerance`: largest difference of the task's metric; `latency_runs`: images timed. Raises ModelError when there is no trained model or
    it knows other classes than the data, DataError when the data lacks the truth, and ExportError when the ONNX model is not the same model. After an
    error neither file is there.
    """
    folder.parity.unlink(missing_ok=True)
    folder.onnx.unlink(missing_ok=True)
    trained = load(folder, torch.device("cpu"))
    specification = trained.card.specification
    dataset.require(trained.task.truth, folder.name)
    trained.require_classes(dataset.info.classes)
    graph = trained.graph
    with whole(folder.onnx) as file:
        write_onnx(graph, specification, file, opset)
        proof = prove(
            graph,
            file,
            dataset.split(dataset.info.scored),
            lambda: trained.task.scorer(specification.classes),
            metric=trained.task.metric,
            tolerance=tolerance,
            latency_runs=latency_runs,
            opset=opset,
            progress=progress,
        )
    write_json(folder.parity, proof | {"split_hash": dataset.info.split_hashes[dataset.info.scored]})
