"""Run a predictor over a split: counts per image, and a ranking of the images by their own scores.

It knows predictors as functions alone, so it serves validation, the trained model, the ONNX model and a registered incumbent alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from segline.data.store import Sample, Split
from segline.metrics.base import Counts
from segline.metrics.scorer import Scorer
from segline.progress import progress as told
from segline_runtime.predictions import Prediction

Predict = Callable[[Sequence[NDArray[Any]]], list[Prediction]]
"""Images `(H, W, C)`, which may differ in size → predictions at their own sizes."""


Beside = tuple[Callable[[Sample], Prediction], Scorer]
"""Another answer for each image, made of its truth, and who scores it."""


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


def evaluate(predict: Predict, split: Split, scorer: Scorer, *, beside: Beside | None = None, batch_size: int = 1, progress: bool = False) -> Evaluation:
    """Score a predictor on every image of a split, at the images' own size; `progress` tells on stderr how far it is."""
    ranking: list[ScoredImage] = []
    with told(f"scoring {split.name}", len(split), shown=progress) as advance:
        for start in range(0, len(split), batch_size):
            samples = [split[i] for i in range(start, min(start + batch_size, len(split)))]
            predictions = predict([sample.image for sample in samples])
            for i, (sample, prediction) in enumerate(zip(samples, predictions, strict=True), start):
                ranking.append(ScoredImage(i, sample.name, scorer.add(prediction, sample)))
                if beside is not None:
                    beside[1].add(beside[0](sample), sample)
            advance(len(samples))
    hashes = dict(zip([image.name for image in ranking], split.hashes(), strict=True))
    ranking.sort(key=lambda image: (-image.score, image.name))
    return Evaluation(scorer.counts().hashed(hashes), ranking, scorer)
