"""Run a predictor over a split: counts per image, and a ranking of the images by their own scores.

It knows predictors as functions alone, so it serves validation, the trained model, the ONNX model and a registered incumbent alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from segline.data.store import Split
from segline.metrics.base import Counts
from segline.metrics.scorer import Scorer
from segline_runtime.predictions import Prediction

Predict = Callable[[Sequence[NDArray[Any]]], list[Prediction]]
"""Images `(H, W, C)`, which may differ in size → predictions at their own sizes."""


@dataclass(frozen=True)
class ScoredImage:
    """One image of the ranking."""

    index: int  # into the split
    name: str
    score: float  # 0 worst … 1 best, as the scorer's `add` defines it


@dataclass(frozen=True)
class Evaluation:
    """What a predictor reached on a split."""

    counts: Counts  # per image, with the images' content hashes
    ranking: list[ScoredImage]  # best first; equal scores by name
    scorer: Scorer


def evaluate(predict: Predict, split: Split, scorer: Scorer, *, batch_size: int = 1, progress: bool = False) -> Evaluation:
    """Score a predictor on every image of a split, at the images' own size; `progress` shows a bar with the time left on stderr."""
    ranking: list[ScoredImage] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        row = bar.add_task(f"scoring {split.name}", total=len(split))
        for start in range(0, len(split), batch_size):
            samples = [split[i] for i in range(start, min(start + batch_size, len(split)))]
            predictions = predict([sample.image for sample in samples])
            for i, (sample, prediction) in enumerate(zip(samples, predictions, strict=True), start):
                ranking.append(ScoredImage(i, sample.name, scorer.add(prediction, sample)))
            bar.advance(row, len(samples))
    hashes = dict(zip([image.name for image in ranking], split.hashes(), strict=True))
    ranking.sort(key=lambda image: (-image.score, image.name))
    return Evaluation(scorer.counts().hashed(hashes), ranking, scorer)
