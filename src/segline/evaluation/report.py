"""What `evaluate` leaves behind: metrics.json, counts.npz and a folder of plots, each whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from segline.data.store import Split
from segline.drawing.ceiling import ceiling_picture
from segline.drawing.comparison import comparison
from segline.drawing.tables import write_csv
from segline.evaluation.ceiling import PREFIX, Ceiling, sentence
from segline.evaluation.evaluate import Evaluation, Predict, ScoredImage
from segline.files import whole, write_json
from segline.metrics import counts_file
from segline.metrics.base import Metric
from segline.metrics.details import Pictured
from segline.metrics.figures import figures
from segline.metrics.inflation import inflation
from segline.metrics.intervals import Resampling, intervals
from segline.tasks.base import Task
from segline_runtime.specification import ClassInfo

VERSION = 1


def write_figures(
    evaluation: Evaluation,
    *,
    metrics: Sequence[Metric],
    classes: Sequence[ClassInfo],
    resamples: int,
    split: Split,
    split_hash: str,
    metrics_file: Path,
    counts: Path,
    ceiling: Ceiling | None = None,
    leaked: Collection[str] = (),
) -> dict[str, float]:
    """Write metrics.json and counts.npz.

    metrics.json has `version`, `split`, `split_hash`, `images`, the figures, the bootstrap's interval of each headline as `<headline>_low` and
    `<headline>_high`, and its ceiling as `ceiling_<headline>` (see `segline.evaluation.ceiling`).

    leaked: names of the images that were seen before; by how much they raise the first headline is told on stderr and in metrics.json, as `leaks`.
    """
    found: dict[str, Any] = figures(evaluation.counts, metrics, classes)
    found |= intervals(evaluation.counts, metrics, Resampling(resamples))
    if ceiling is not None:
        found |= ceiling.figures(classes)
    too_good = inflation(evaluation.counts, next(metric for metric in metrics if metric.headline), leaked, Resampling(resamples)) if leaked else None
    if too_good is not None:
        told = too_good.sentence(split.name)
        found |= {**too_good.figures(), "leaks": told}
        print(told, file=sys.stderr)
    counts_file.save(evaluation.counts, counts)
    write_json(metrics_file, {"version": VERSION, "split": split.name, "split_hash": split_hash, "images": len(split), **found})
    return found


def write_plots(
    evaluation: Evaluation,
    *,
    predict: Predict,
    split: Split,
    task: Task,
    classes: Sequence[ClassInfo],
    overlays: int,
    plots: Path,
    draw: Callable[[Path], None],
    metrics: Sequence[Metric] = (),
) -> None:
    """Write the folder of plots: those of the scorer and of `metrics`, per_image.csv (name, score; best first), overlays/, and what `draw` adds.

    overlays/ has `overlays` best and as many worst images (`best_1_<name>.png` is the best, `worst_1_<name>.png` the worst; none is in both).
    The few pictures are predicted again, so that no masks need to be kept.
    """
    with whole(plots) as folder:
        folder.mkdir()
        evaluation.scorer.write_plots(folder)
        for metric in metrics:
            if isinstance(metric, Pictured):
                metric.write_plots(evaluation.counts, classes, folder)
        draw(folder)
        write_csv(folder / "per_image.csv", ["name", "score"], [(image.name, f"{image.score:.6f}") for image in evaluation.ranking])
        (folder / "overlays").mkdir()
        best = evaluation.ranking[:overlays]
        worst = evaluation.ranking[len(best) :][::-1][:overlays]
        for kind, images in (("best", best), ("worst", worst)):
            for place, image in enumerate(images, start=1):
                name = f"{kind}_{place:0{len(str(overlays))}}_{image.name}.png"
                _overlay(image, predict, split, task, classes, folder / "overlays" / name)


def write_ceiling(evaluation: Evaluation, ceiling: Ceiling, *, metrics: Sequence[Metric], task: Task, classes: Sequence[ClassInfo], file: Path) -> str | None:
    """Draw what is reached of each figure's ceiling; returns the sentence about the task's own figure, None (and no picture) where it is undefined."""
    found = figures(evaluation.counts, metrics, classes) | ceiling.figures(classes)
    told = sentence(found, task.metric)
    keys = [metric.headline for metric in metrics if metric.headline in found and f"{PREFIX}{metric.headline}" in found]
    shown = [key for key in keys if key is not None]
    if told is None or not shown:
        return None
    ceiling_picture(shown, [found[key] for key in shown], [found[f"{PREFIX}{key}"] for key in shown], told, file)
    return told


def _overlay(image: ScoredImage, predict: Predict, split: Split, task: Task, classes: Sequence[ClassInfo], file: Path) -> None:
    sample = split[image.index]
    [prediction] = predict([sample.image])
    Image.fromarray(comparison(sample, prediction, classes, score=image.score, task=task)).save(file)
