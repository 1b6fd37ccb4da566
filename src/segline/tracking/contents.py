"""What a model folder says of its training and its figures: all that its run is to hold, read in one go."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segline import history, written
from segline.card import ModelCard
from segline.errors import ModelError
from segline.layout import CheckFolder, ModelFolder
from segline.params import flatten_values

SCORED = {"test": "test_", "val": "scored_val_"}
"""Prefix of the final figures by split. `val_…` is taken by the epochs' figures, of the images that steered the training."""


@dataclass(frozen=True)
class DataPages:
    """What `prepare` has found, as pages for people, and the hash of the training split that they tell of."""

    folder: CheckFolder
    train_hash: str


@dataclass(frozen=True)
class Contents:
    """A model folder, or what there is of it while it is trained. NaN and infinities, which mean `not measured`, are left out."""

    card: ModelCard
    start_ms: int  # of the training, since 1970
    end_ms: int  # now, as long as it lasts
    epochs: dict[int, dict[str, float]]  # metrics by epoch; an epoch without validation lacks some
    scores: dict[str, float]  # the final figures: of metrics.json by split, of parity.json as `parity.…`
    measured_on: dict[str, str]  # split and its hash
    files: tuple[Path, ...]  # files and folders, small enough to be kept with the run; weights and model.onnx are the registry's


def read(folder: ModelFolder, data: DataPages | None = None) -> Contents:
    """`data`: the prepared data of the checkout; its pages are the run's where the model was trained on it.

    Raises ModelError when the folder holds no card, or a file that cannot be read.
    """
    card = ModelCard.read(folder.card)
    rows = history.read(folder.history) if folder.history.is_file() else []
    written_ms = int(1000 * folder.card.stat().st_mtime)  # when the training began, and again when it had ended
    metrics, parity = mapping(folder.metrics, "evaluate"), mapping(folder.parity, "export")
    prefix = SCORED.get(str(metrics.get("split")), f"{metrics.get('split')}_")
    return Contents(
        card=card,
        start_ms=written_ms - int(1000 * float(card.training.get("seconds", 0))),
        end_ms=written_ms if card.training else int(1000 * time.time()),
        epochs={int(row["epoch"]): _finite({name: value for name, value in row.items() if name != "epoch"}) for row in rows},
        scores={prefix + name: value for name, value in _finite(metrics).items()} | _finite(flatten_values(parity, "parity") if parity else {}),
        measured_on={name: value for name, value in metrics.items() if isinstance(value, str)},
        files=tuple(path for path in (folder.card, folder.history, folder.metrics, folder.parity, folder.plots, *_pages(card, data)) if path.exists()),
    )


def _pages(card: ModelCard, data: DataPages | None) -> tuple[Path, ...]:
    """The folder of the pages; none where they are of other data than the model's, or it was made of other models."""
    trained_on = card.plan.get("training", {}).get("hash")
    return (data.folder.path,) if data is not None and data.train_hash == trained_on and data.folder.page.is_file() else ()


def mapping(file: Path, stage: str) -> dict[str, Any]:
    """The mapping in a stage's file without its `version`, which is no figure; empty when there is no such file yet. Raises ModelError."""
    if not file.is_file():
        return {}
    with written.reading(file, ModelError, f"run `dvc repro -f -s {stage}@{file.parent.name}` to write it anew"):
        values = written.mapping(file)
    return {name: value for name, value in values.items() if name != "version"}


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float) and abs(value) <= sys.float_info.max}
