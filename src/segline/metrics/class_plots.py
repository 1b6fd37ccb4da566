"""classes.csv and classes.png: support, Dice and IoU of each class, of any counts that have them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segline.drawing.tables import class_picture, write_class_table
from segline.metrics import class_scores
from segline.metrics.dice import dice
from segline.metrics.iou import iou
from segline.metrics.names import class_keys
from segline.metrics.pixel_counts import ClassPixels
from segline_runtime.specification import ClassInfo


def write_class_plots(counts: ClassPixels, classes: Sequence[ClassInfo], folder: Path) -> None:
    """The table is sorted and has its figure in the last column: that is what DVC draws of a table in a folder of plots."""
    names, sums = [info.name for info in classes], counts.pooled()
    figures = {word: class_scores.by_class(word, scores, classes) for word, scores in (("dice", dice(sums)), ("iou", iou(sums)))}
    columns: dict[str, list[float | None]] = {"support": [int(pixels) for pixels in sums.truth]}
    for word, found in figures.items():
        columns[word] = [class_scores.defined(found).get(f"{word}/{key}") for key in class_keys(classes)]
    write_class_table(folder / "classes.csv", names, columns)
    class_picture(names, {"IoU": columns["iou"], "Dice": columns["dice"]}, folder / "classes.png")
