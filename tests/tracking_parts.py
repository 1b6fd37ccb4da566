"""Small parts for tests of tracking: cards, folders as a training grows them and as the stages leave them, and all that a run holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segline import history, tracking
from segline.card import ModelCard
from segline.layout import ModelFolder
from segline_runtime.specification import ClassInfo, Geometry, Specification

CLASSES = (ClassInfo(0, "ground", (0, 0, 0), False), ClassInfo(1, "ball", (255, 0, 0), True))
METRICS = {"version": 2, "split": "test", "split_hash": "cafe", "images": 6, "miou": 0.75, "iou/ball": 0.5, "iou/ground": float("nan")}
ROWS = [{"epoch": epoch, "train_loss": 1 / epoch, "val_miou": epoch / 10} for epoch in range(1, 6)]

Row = Mapping[str, float]


def card(model: str = "unet", key: str | None = None, **changes: Any) -> ModelCard:
    values: dict[str, Any] = {
        "model": model,
        "task": "semantic",
        "key": key or f"key of {model}",
        "plan": {
            "version": 1,
            "seed": 3,
            "settings": {"arch": "unet", "input": {"size": [64, 80]}, "train": {"lr": 0.001, "clip": None}, "augment": [{"Flip": {"p": 0.5}}]},
            "statistics": {"pixels": [1, 2]},
        },
        "specification": Specification("semantic", model, "shapes", CLASSES, Geometry("stretch", (64, 80)), (0.5,) * 3, (0.2,) * 3),
        "dataset": {
            "name": "shapes",
            "counts": {"train": 9, "test": 6},
            "classes": [{"name": c.name} for c in CLASSES],
            "fingerprint": "f00",
            "licence": "CC0",
        },
        "parts": {"parameters": f"parameters of {model}", "data": "d" * 12 + "-" + "e" * 12 + "-" + "f" * 12, "code": "code"},
        "versions": {"torch": "2.15.0"},
        "commit": "abc-dirty",
        "experiment": "brave-fox",
        "training": {"seconds": 30.0, "epochs": 3},
    }
    return ModelCard(**values | changes)


class Training:
    """What a training does for its logbook: a card in the resume folder before it starts, the history after each epoch."""

    def __init__(self, path: Path, card: ModelCard) -> None:
        self.folder = ModelFolder(path)
        self._rows: list[Row] = []
        path.mkdir(parents=True, exist_ok=True)
        card.write(self.folder.card)

    def add(self, *rows: Row) -> None:
        self._rows += rows
        history.write(self.folder.history, self._rows)


def trained(models: Path, card: ModelCard, rows: Sequence[Row] = ROWS) -> ModelFolder:
    """A model folder as train and evaluate leave it."""
    made = ModelFolder(models / card.model)
    made.plots.mkdir(parents=True)
    card.write(made.card)
    history.write(made.history, rows)
    made.metrics.write_text(json.dumps({"version": 2, "split": "test", "miou": 0.5}))
    (made.plots / "worst_1.png").write_bytes(b"png")
    return made


def contents(client: Any, run_id: str) -> dict[str, Any]:
    """All that a run holds."""
    run = client.get_run(run_id)
    files, waiting = [], [""]
    while waiting:
        for artifact in client.list_artifacts(run_id, waiting.pop()):
            if artifact.is_dir:
                waiting.append(artifact.path)
            else:
                files.append(artifact.path)
    return {
        "parameters": run.data.params,
        "tags": run.data.tags,
        "history": {name: [(m.step, m.value) for m in client.get_metric_history(run_id, name)] for name in run.data.metrics},
        "files": sorted(files),
        "inputs": [(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs],
        "status": run.info.status,
        "name": run.info.run_name,
    }


def run_of(client: Any, card: ModelCard) -> str | None:
    return tracking.run_id(client.tracking_uri, card.key, "shapes")
