"""Run a predictor over a split: figures, a ranking of the images, tables and pictures.

It knows predictors as functions alone, so it serves validation, the trained model, the ONNX model and a registered incumbent alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from segline.data.store import Split
from segline.evaluation.overlays import comparison
from segline.files import whole, write_json
from segline.metrics.plots import write_csv
from segline.metrics.scorer import Scorer
from segline_runtime.predictions import Prediction
from segline_runtime.specification import ClassInfo

Predict = Callable[[Sequence[NDArray[np.uint8]]], list[Prediction]]
"""RGB images `(H, W, 3)`, which may differ in size → predictions at their own sizes."""


@dataclass(frozen=True)
class ScoredImage:
    """One image of the ranking."""

    index: int  # into the split
    name: str
    score: float  # 0 worst … 1 best, as the scorer's `add` defines it


@dataclass(frozen=True)
class Evaluation:
    """What a predictor reached on a split."""

    metrics: dict[str, float]  # flat figures
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
    ranking.sort(key=lambda image: (-image.score, image.name))
    return Evaluation(scorer.metrics(), ranking, scorer)


def write(
    evaluation: Evaluation,
    *,
    predict: Predict,
    split: Split,
    split_hash: str,
    classes: Sequence[ClassInfo],
    overlays: int,
    metrics_file: Path,
    plots: Path,
    draw: Callable[[Path], None] | None = None,
) -> None:
    """Write metrics.json and the folder of plots, each whole or not at all.

    metrics.json: `split`, `split_hash`, `images` and the figures.
    Plots: those of the scorer, per_image.csv (name, score; best first), and overlays/ with `overlays` best and as many worst images
    (`best_1_<name>.png` is the best, `worst_1_<name>.png` the worst; none is in both). The few pictures are predicted again, so that no
    masks need to be kept. `draw` adds the caller's own pictures to the folder.
    """
    with whole(plots) as folder:
        folder.mkdir()
        evaluation.scorer.write_plots(folder)
        if draw:
            draw(folder)
        write_csv(folder / "per_image.csv", ["name", "score"], [(image.name, f"{image.score:.6f}") for image in evaluation.ranking])
        _write_overlays(evaluation.ranking, predict, split, classes, overlays, folder / "overlays")
    write_json(metrics_file, {"split": split.name, "split_hash": split_hash, "images": len(split), **evaluation.metrics})


def _write_overlays(ranking: Sequence[ScoredImage], predict: Predict, split: Split, classes: Sequence[ClassInfo], count: int, folder: Path) -> None:
    folder.mkdir()
    best = ranking[:count]
    worst = ranking[len(best) :][::-1][:count]
    digits = len(str(count))
    for kind, images in (("best", best), ("worst", worst)):
        for place, image in enumerate(images, start=1):
            sample = split[image.index]
            [prediction] = predict([sample.image])
            picture = comparison(sample, prediction, classes, score=image.score)
            Image.fromarray(picture).save(folder / f"{kind}_{place:0{digits}}_{image.name}.png")
