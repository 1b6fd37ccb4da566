"""The train stage: from prepared data to a model folder with weights, card, history and the list of what it was trained on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from segline import environment, history, provenance
from segline.card import Member, ModelCard
from segline.data.store import PreparedDataset, Split, Truth
from segline.errors import DataError, ModelError
from segline.files import whole, write_json
from segline.layout import ModelFolder
from segline.models import catalog as architectures
from segline.models.imagenet import IMAGENET_STATISTICS
from segline.plan.plans import ComposePlan, Part, TrainPlan
from segline.tasks import catalog as tasks
from segline.training import resume
from segline.training.augment import Augmentation, pastes
from segline.training.callbacks import Row
from segline.training.fit import Fitted, fit
from segline.training.holdout import holdout
from segline.training.settings import Runtime
from segline.training.truth_maps import TruthMaps
from segline_runtime.specification import Specification

Notify = Callable[[], None]
Follow = Callable[[ModelFolder], Notify]
"""Given the folder into which a running training writes its card and its history: what is to be called when they changed."""


def train(
    plan: TrainPlan,
    *,
    dataset: PreparedDataset,
    runtime: Runtime,
    commit: str | None,
    resume_root: Path,
    folder: ModelFolder,
    weights: Path | None,
    follow: Follow,
    maps: Path | None = None,
) -> None:
    """Train by `plan` and write weights, card, history and trained_on.json into `folder`.

    weights: where the weight file that the plan names lies. maps: the folder in which maps of the truth are kept that losses read, if they are to be.
    An interrupted training of the same plan goes on where it stopped. Raises a SeglineError for anything a user can mend.
    """
    task, learning = tasks.get(plan.task), tasks.learning(plan.task)
    settings = plan.settings
    wanted = settings.wanted_maps
    steered_by = tuple(dict.fromkeys([*task.truths, *(one.truth for one in wanted)]))
    learnt_from = tuple(dict.fromkeys([*steered_by, *(("instances",) if pastes(settings.augment) else ())]))
    training, steering = splits(dataset, plan, learnt_from, steered_by)
    network = _network(plan, weights)  # first: it knows whether the encoder is there, whose statistics are asked for next
    specification = specification_of(plan)
    augmentation = Augmentation(
        settings.augment,
        geometry=plan.geometry,
        truth=task.truths[0],
        image=plan.image,
        crop=settings.input.training_crop,
        padding=[value * plan.image.scale for value in specification.mean],
        maps=TruthMaps(wanted, plan.classes, kept=maps) if wanted else None,
    )
    criterion = learning.criterion(settings, network, plan.class_weights)
    card = card_of(plan, specification, dataset, commit)

    def run(resumable: ModelFolder) -> Fitted:
        begun = resume.begun(resumable.path)
        on_row: Callable[[list[Row]], None] = _nowhere
        if environment.process_rank() == 0:
            resume.tell_start(resume_root, plan.model, plan.key, plan.parts, begun)
            resume.forget_unreadable(resumable.path, begun)
            on_row = _following(resumable, card, follow)
        return fit(
            network,
            criterion,
            task=task,
            learning=learning,
            specification=specification,
            settings=settings.train,
            augmentation=augmentation,
            train=training,
            validation=steering,
            seed=plan.seed,
            runtime=runtime,
            folder=resumable.path,
            begun=begun,
            on_row=on_row,
        )

    if environment.process_rank() != 0:
        run(ModelFolder(resume.folder_of(resume_root, plan.model, plan.key)))  # the first process holds the lock and writes
        return
    parent = os.getppid()
    with resume.claimed(resume_root, plan.model, plan.key, plan.parts) as resumable:
        fitted = run(ModelFolder(resumable))
        _write(folder, card.finished(fitted.summary), fitted, sorted({*training.hashes(), *steering.hashes()}))
        # A training that outlived the `dvc` that started it keeps its checkpoint: DVC knows nothing of its outputs and will ask for them again.
        if os.getppid() == parent:
            resume.discard(resumable)


def card_of(
    plan: TrainPlan | ComposePlan, specification: Specification, dataset: PreparedDataset, commit: str | None, members: tuple[Member, ...] = ()
) -> ModelCard:
    """The card of a training that starts; `members`: of what is made of others."""
    return ModelCard(
        model=plan.model,
        task=plan.task,
        key=plan.key,
        plan=plan.to_json(),
        parts=plan.parts,
        specification=specification,
        dataset=dataset.info.to_dict(),
        versions=provenance.versions(),
        commit=commit,
        experiment=environment.experiment_name(),
        training={},
        members=members,
    )


def specification_of(plan: TrainPlan) -> Specification:
    """What a model trained by `plan` eats, and what its numbers mean."""
    mean, std = plan.mean, plan.std
    if mean is None or std is None:
        mean, std = architectures.pretrained_statistics(plan.settings) or IMAGENET_STATISTICS
    return Specification(
        task=plan.task,
        model=plan.model,
        dataset=plan.dataset,
        classes=plan.classes,
        geometry=plan.geometry,
        mean=mean,
        std=std,
        image=plan.image,
    )


def _network(plan: TrainPlan, weights: Path | None) -> nn.Module:
    settings = plan.settings
    if settings.weights_file is not None:
        assert weights is not None
        if not weights.is_file() or provenance.file_digest(weights) != plan.weights_digest:
            raise ModelError(f"The weight file {weights} is not there or was changed since the plan was made; run `dvc repro train@{plan.model}`.")
        settings = settings.model_copy(update={"weights": str(weights)})
    torch.manual_seed(plan.seed)
    return architectures.build(settings, channels=plan.image.channels, classes=len(plan.classes))


def splits(dataset: PreparedDataset, plan: TrainPlan | ComposePlan, truths: Sequence[Truth], steered_by: Sequence[Truth]) -> tuple[Split, Split]:
    """What is trained on, and what steers the training, each with its kinds of truth. Raises DataError when the prepared data is not the plan's."""
    for part in (plan.training, plan.steering):
        if dataset.info.split_hashes.get(part.split) != part.hash:
            raise DataError(f"The {part.split} split in {dataset.folder} is not the one that the plan was made for; run `dvc repro train@{plan.model}`.")
    return _part(dataset, plan.training, plan.seed, truths, held=False), _part(dataset, plan.steering, plan.seed, steered_by, held=True)


def _part(dataset: PreparedDataset, part: Part, seed: int, truths: Sequence[Truth], *, held: bool) -> Split:
    split = dataset.split(part.split, truths)
    if part.holdout is None:
        return split
    kept, away = holdout(len(split), part.holdout, seed)
    if not away or not kept:
        raise DataError(f"The data set '{dataset.info.name}' has {len(split)} training images; at least 2 are needed to hold one out for validation.")
    return split.part(away if held else kept)


def _following(resumable: ModelFolder, card: ModelCard, follow: Follow) -> Callable[[list[Row]], None]:
    """Card and history stand in the resume folder as the training goes, for the tracker and for who looks."""
    with whole(resumable.card) as file:
        card.write(file)
    notify = follow(resumable)

    def on_row(rows: list[Row]) -> None:
        history.write(resumable.history, rows)
        notify()

    return on_row


def _write(folder: ModelFolder, card: ModelCard, fitted: Fitted, trained_on: list[str]) -> None:
    with whole(folder.weights) as file:
        resume.save(fitted.weights, file)
    history.write(folder.history, fitted.history)
    write_json(folder.trained_on, {"version": 1, "images": trained_on})
    with whole(folder.card) as file:
        card.write(file)


def _nowhere(_rows: list[Row]) -> None:
    """Other processes of a distributed training tell nobody."""
