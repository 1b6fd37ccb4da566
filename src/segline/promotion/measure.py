"""What a version's ONNX model counts on the scored split. The same content on the same split, counted by the same code, is run once:
the counts are kept. What is counted on request alone (`segline.metrics.details`) is, where the question needs it, and then kept apart."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import segline
from segline import registry
from segline.data.store import PreparedDataset
from segline.errors import DataError, ModelError, RegistryError
from segline.evaluation.evaluate import evaluate
from segline.inference.predict import load_predictor
from segline.metrics import counts_file
from segline.metrics.base import Counts
from segline.metrics.details import Detail
from segline.plan.code import Code
from segline.registry import Version
from segline.tasks import catalog as tasks
from segline_runtime.predictions import Prediction
from segline_runtime.predictor import Predictor


def candidate_counts(
    store: str, version: Version, dataset: PreparedDataset, kept: Path | None, *, details: Sequence[Detail] = (), progress: bool
) -> Counts | str:
    """Counts of the version that is to be promoted, or a sentence that says why there are none. `kept`: the folder of kept counts, if any.

    Its files are asked for in any case: a model that is gone is not promoted. Raises RegistryError when they are.
    """
    with registry.onnx_file(store=store, version=version) as file:
        return _kept(version, dataset, kept, details) or _counted(file, version, dataset, kept, details, progress)


def incumbent_counts(
    store: str, version: Version, dataset: PreparedDataset, kept: Path | None, *, details: Sequence[Detail] = (), progress: bool
) -> Counts | str:
    """As `candidate_counts`, of the version that would be replaced: where its counts are kept, its files are not asked for; when they are gone,
    the sentence says so, and `--force` can pass over it."""
    found = _kept(version, dataset, kept, details)
    if found is not None:
        return found
    try:
        with registry.onnx_file(store=store, version=version) as file:
            return _counted(file, version, dataset, kept, details, progress)
    except RegistryError as error:
        return str(error)


def _counted(file: Path, version: Version, dataset: PreparedDataset, kept: Path | None, details: Sequence[Detail], progress: bool) -> Counts | str:
    predictor = load_predictor(file)
    specification = predictor.specification
    names = [info.name for info in specification.classes]
    if strangers := _other_classes(version, names, dataset):
        return strangers
    task = tasks.get(specification.task)
    try:
        for truth in task.truths:
            dataset.require(truth, specification.model)
    except DataError as error:
        return str(error)
    split = dataset.split(dataset.info.scored, task.truths)
    in_detail = any(detail.probabilities for detail in details)
    predict = partial(_in_detail, predictor) if in_detail else predictor.predict
    counts = evaluate(predict, split, task.scorer(specification.classes, details), progress=progress).counts
    place = _place(version, dataset, kept, details)
    if place is not None:
        counts_file.save(counts, place)
    return counts


def _in_detail(predictor: Predictor, images: Sequence[NDArray[Any]]) -> list[Prediction]:
    """With class probabilities."""
    return [predictor(image, probabilities=True) for image in images]


def _kept(version: Version, dataset: PreparedDataset, kept: Path | None, details: Sequence[Detail]) -> Counts | None:
    """None where they are not kept, cannot be read, or are of other classes than the data."""
    place = _place(version, dataset, kept, details)
    if place is None or not place.is_file():
        return None
    try:
        counts = counts_file.load(place)
    except ModelError:
        return None  # a broken or later file is of no use; it is written anew
    return None if _other_classes(version, counts.classes, dataset) else counts


def _place(version: Version, dataset: PreparedDataset, kept: Path | None, details: Sequence[Detail]) -> Path | None:
    if kept is None or version.digest is None:
        return None
    recorded = tuple(sorted(detail.record.__module__ for detail in details))
    return kept / f"{version.digest}-{dataset.info.split_hashes[dataset.info.scored]}-{_rules(version.task, recorded)}.npz"


@cache
def _rules(task: str, recorded: tuple[str, ...]) -> str:
    """Digest of the code that predicts and counts: what was counted by other rules is not compared with. recorded: the modules of the details."""
    source = Path(segline.__file__).parents[1]
    counting = [f"{tasks.TASKS[task]}.task", f"segline_runtime.{task}"] if task in tasks.TASKS else []
    # A version's task does not say whether its objects are components, or fused.
    predicting = ["segline.evaluation.evaluate", "segline_runtime.predictor", "segline_runtime.components", "segline_runtime.fusion"]
    return Code(source).digest([*predicting, *counting, *recorded])[:12]


def _other_classes(version: Version, theirs: list[str] | tuple[str, ...], dataset: PreparedDataset) -> str | None:
    ours = [info.name for info in dataset.info.classes]
    if list(theirs) == ours:
        return None
    return f"version {version.number} knows the classes {', '.join(theirs)}; the data in {dataset.folder} has {', '.join(ours)}"
