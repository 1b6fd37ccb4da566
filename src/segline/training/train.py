"""The train stage: from prepared data to a model folder with weights, card and history."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from segline import environment, provenance
from segline.card import ModelCard
from segline.data.store import PreparedDataset, Split
from segline.errors import DataError
from segline.files import whole
from segline.layout import ModelFolder
from segline.models.weights import IMAGENET
from segline.provenance import Provenance
from segline.tasks import registry as tasks
from segline.tasks.base import Task
from segline.training import resume
from segline.training.callbacks import Row
from segline.training.fit import Fitted, fit
from segline.training.holdout import holdout
from segline_runtime.specification import Specification

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Follow = Callable[[ModelCard], Callable[[int, Row], None]]
"""Given the card of a training that starts: what is to be called with each epoch's row."""


def train(
    *,
    name: str,
    model: Mapping[str, Any],
    seed: int,
    image_size: tuple[int, int],
    dataset: PreparedDataset,
    runtime: Mapping[str, Any],
    code: str,
    commit: str | None,
    resume_root: Path,
    folder: ModelFolder,
    follow: Follow,
) -> None:
    """Train the model `name`, described by its entry of `models:` as plain values, and write weights, card and history.

    An interrupted training of the same parameters, data and code goes on where it stopped. Raises a SeglineError for anything a user can mend.
    """
    task = tasks.get(model["task"])
    dataset.require(task.truth, name)
    specification = _specification(name, model, task, dataset, image_size)
    parameters = {"seed": seed, "image_size": list(image_size), "model": dict(model)}
    origin = Provenance(parameters=provenance.digest(parameters), data=dataset.info.data_hash, code=code)
    card = ModelCard(
        model=name,
        task=task.name,
        parameters=parameters,
        specification=specification,
        provenance=origin,
        dataset=dataset.info.to_dict(),
        versions=provenance.versions(),
        commit=commit,
        experiment=environment.experiment_name(),
        training={},
    )
    training, steering = _splits(dataset, share=model["train"]["holdout"], seed=seed)
    torch.manual_seed(seed)
    network = task.build(model, specification)

    def run(resumable: Path) -> Fitted:
        checkpoint = resume.checkpoint(resumable)
        first = environment.process_rank() == 0
        if first:
            _tell_start(name, resume_root, origin, checkpoint)
        return fit(
            network,
            task=task,
            specification=specification,
            model=model,
            train=training,
            validation=steering,
            seed=seed,
            runtime=runtime,
            folder=resumable,
            checkpoint=checkpoint,
            on_row=follow(card) if first else _nowhere,
        )

    if environment.process_rank() != 0:
        run(resume.folder_of(resume_root, name, origin))  # the first process holds the lock and writes
        return
    parent = os.getppid()
    with resume.claimed(resume_root, name, origin) as resumable:
        fitted = run(resumable)
        _write(folder, card, fitted)
        # A training that outlived the `dvc` that started it keeps its checkpoint: DVC knows nothing of its outputs and will ask for them again.
        if os.getppid() == parent:
            resume.discard(resumable)


def _specification(name: str, model: Mapping[str, Any], task: Task, dataset: PreparedDataset, image_size: tuple[int, int]) -> Specification:
    info = dataset.info
    # Pre-trained weights expect the statistics they were trained with.
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if model["weights"] == IMAGENET else (info.mean, info.std)
    return Specification(task=task.name, model=name, dataset=info.name, classes=info.classes, image_size=image_size, resize=task.resize, mean=mean, std=std)


def _splits(dataset: PreparedDataset, *, share: float, seed: int) -> tuple[Split, Split]:
    """What is trained on, and what steers the training: never the images that are scored at the end."""
    train = dataset.split("train")
    if dataset.info.scored != "val" and dataset.info.counts.get("val"):
        return train, dataset.split("val")
    kept, held = holdout(len(train), share, seed)
    if not held or not kept:
        raise DataError(f"The data set '{dataset.info.name}' has {len(train)} training images; at least 2 are needed to hold one out for validation.")
    return train.part(kept), train.part(held)


def _tell_start(name: str, root: Path, origin: Provenance, checkpoint: Path | None) -> None:
    if checkpoint:
        print(f"'{name}' goes on after epoch {resume.finished_epochs(checkpoint)}, where its training was interrupted.", file=sys.stderr, flush=True)
    elif reason := resume.why_afresh(root, name, origin):
        print(reason, file=sys.stderr, flush=True)


def _write(folder: ModelFolder, card: ModelCard, fitted: Fitted) -> None:
    with whole(folder.weights) as file:
        torch.save(fitted.weights, file)
    with whole(folder.history) as file:
        file.write_text(_table(fitted.history))
    with whole(folder.card) as file:
        ModelCard(**{**vars(card), "training": fitted.summary}).write(file)


def _table(rows: list[Row]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _nowhere(_epoch: int, _row: Row) -> None:
    """Other processes of a distributed training tell nobody."""
