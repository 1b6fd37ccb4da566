"""A model over images without labels → the images in the order in which to label them (pool-based active learning)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segline.data.check import brief
from segline.data.leaks.fingerprint import fingerprint
from segline.errors import DataError
from segline.labelling.scores import Score
from segline.labelling.source import Labelled, read
from segline.labelling.spread import Order, by_worth, descriptor, spread
from segline.progress import progress as told
from segline.tasks import catalog as tasks
from segline_runtime.predictor import Predictor

_LIKE = 0.5
"""Distance below which two images are told to be alike."""


@dataclass(frozen=True)
class Seen:
    """What is remembered of one image: few kilobytes, whatever its size."""

    doubt: NDArray[np.float64]  # (K,) as `Hesitation` has them
    amount: NDArray[np.float64]
    why: str
    looks: NDArray[np.float32]  # (P,) `spread.descriptor`


@dataclass(frozen=True)
class Choice:
    """One image in its place."""

    file: Path
    name: str
    worth: float  # the score
    newness: float  # how unlike it is to what is labelled and to what comes before it, 0…1; 1 where that is not asked for
    why: str


@dataclass(frozen=True)
class Ranking:
    """The first to be labelled first."""

    choices: tuple[Choice, ...]
    first: int  # so many stand apart, each chosen with those before it in mind
    labelled: int  # images that were left out, as they are labelled already
    unreadable: tuple[str, ...]  # a sentence for each that could not be read


def rank(predictor: Predictor, files: Mapping[Path, str], *, score: Score, known: Labelled, apart: bool, first: int, progress: bool = True) -> Ranking:
    """Let the model look at every image. apart: among the `first` ones, images that are alike do not follow each other.

    Raises DataError where every image is labelled or unreadable, ParametersError where the model's task cannot say what it is undecided about.
    """
    specification = predictor.specification
    hesitate = tasks.hesitate(specification.task)
    seen: list[Seen] = []
    places: list[tuple[Path, str]] = []
    unreadable: list[str] = []
    with told("looking at images", len(files), shown=progress) as advance:
        for file, name in files.items():
            try:
                image = read(file, name, specification.image, known)
            except DataError as error:
                unreadable.append(" ".join(error.problems))
            else:
                if image is not None:
                    prediction = predictor(image.pixels, probabilities=True)
                    found = hesitate(prediction, score.measure, specification.classes)
                    seen.append(Seen(found.doubt, found.amount, found.why, descriptor(fingerprint(image.pixels))))
                    places.append((file, name))
            advance(1)
    there = len(files) - len(seen) - len(unreadable)
    if not seen:
        raise DataError(*unreadable, _nothing_left(there, len(unreadable)))
    worth, order = ordered(seen, score=score, known=known, apart=apart, first=first)
    choices = []
    for number, newness, like in zip(order.numbers.tolist(), order.newness.tolist(), order.like.tolist(), strict=True):
        file, name = places[number]
        why = seen[number].why
        if newness < _LIKE:
            why += f"; it is like {brief(places[like][1]) if like >= 0 else 'an image that is labelled'}"
        choices.append(Choice(file, name, float(worth[number]), newness, why))
    return Ranking(tuple(choices), min(first, len(choices)) if apart else 0, there, tuple(unreadable))


def ordered(seen: Sequence[Seen], *, score: Score, known: Labelled, apart: bool, first: int) -> tuple[NDArray[np.float64], Order]:
    """The worth of each image, and their order."""
    worth = score(np.stack([one.doubt for one in seen]), np.stack([one.amount for one in seen]))
    if not apart:
        return worth, by_worth(worth)
    return worth, spread(worth, np.stack([one.looks for one in seen]), known.looks, first=first)


def _nothing_left(labelled: int, unreadable: int) -> str:
    if not unreadable:
        return f"All {labelled} images are in the prepared data already, so none is left to label; give a folder with new ones."
    return f"No image is left to rank: {unreadable} cannot be read, and {labelled} are in the prepared data already; give a folder with others."
