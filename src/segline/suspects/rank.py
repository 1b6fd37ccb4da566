"""A model over the images of some splits: every label is judged by what the model says, and the most suspicious come first.

A model agrees with what it has learnt: of the training images it contradicts the labels that it could not learn, of others all that it knows better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from segline.data.store import SPLITS, PreparedDataset, Split
from segline.errors import DataError
from segline.progress import progress as told
from segline.tasks import catalog as tasks
from segline.tasks.contradiction import Contradiction
from segline_runtime.predictor import Predictor

_WHOLE = 0.25
"""Share of the usual area of a class's objects from which something that nobody annotated counts fully: what is smaller is rather a border or a spot."""


@dataclass(frozen=True)
class Suspect:
    """One object, or what might be one."""

    split: str
    index: int  # of its image, in the split
    image: str
    found: Contradiction


@dataclass(frozen=True)
class SuspectImage:
    """One image as a whole."""

    split: str
    index: int
    image: str
    quality: float  # 0: its labels are contradicted … 1: confirmed


@dataclass(frozen=True)
class Ranking:
    """The most suspicious first; of equal ones the first by split and name."""

    objects: tuple[Suspect, ...]
    images: tuple[SuspectImage, ...]
    annotated: int  # objects that were annotated; what is missing does not count


def splits_for(predictor: Predictor, dataset: PreparedDataset, names: Sequence[str] = ()) -> list[Split]:
    """The splits (default: all that have images) with the truth that the model is judged by. Raises DataError where the model is of other data."""
    specification = predictor.specification
    known, there = [info.name for info in specification.classes], [info.name for info in dataset.info.classes]
    if known != there:
        raise DataError(
            f"The model '{specification.model}' knows the classes {', '.join(known)}, and the data set '{dataset.info.name}' has {', '.join(there)}; "
            "choose a model that was trained on this data."
        )
    task = tasks.get(specification.task)
    return [dataset.split(name, task.truths) for name in names or [name for name in SPLITS if dataset.info.counts.get(name)]]


def rank(predictor: Predictor, splits: Sequence[Split], *, progress: bool = True) -> Ranking:
    """Judge every image of the splits, at its own size. Raises ParametersError where the model's task cannot judge."""
    judge = tasks.judge(predictor.specification.task)
    objects: list[Suspect] = []
    images: list[SuspectImage] = []
    with told("judging labels", sum(len(split) for split in splits), shown=progress) as advance:
        for split in splits:
            for index in range(len(split)):
                sample = split[index]
                verdict = judge(predictor(sample.image, probabilities=True), sample)
                images.append(SuspectImage(split.name, index, sample.name, verdict.quality))
                objects += [Suspect(split.name, index, sample.name, found) for found in verdict.found]
                advance(1)
    usual = _usual_areas(objects)
    weighed = [replace(one, found=_weighed(one.found, usual)) for one in objects]
    weighed.sort(key=lambda one: -one.found.suspicion)
    images.sort(key=lambda image: image.quality)
    return Ranking(tuple(weighed), tuple(images), sum(one.found.doubt != "missing" for one in objects))


def _usual_areas(objects: Sequence[Suspect]) -> dict[int, float]:
    """The median area of what is annotated as a class."""
    areas: dict[int, list[int]] = {}
    for one in objects:
        if one.found.label is not None and one.found.doubt != "missing":
            areas.setdefault(one.found.label, []).append(one.found.area)
    return {label: float(np.median(some)) for label, some in areas.items()}


def _weighed(found: Contradiction, usual: Mapping[int, float]) -> Contradiction:
    if found.doubt != "missing" or found.says is None or found.says not in usual:
        return found
    return replace(found, suspicion=found.suspicion * min(1.0, found.area / (_WHOLE * usual[found.says])))
