"""The scorer of semantic segmentation: one pooled confusion matrix, and each image's own mean IoU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segline.data.store import Sample
from segline.metrics import confusion, plots
from segline.metrics.names import class_keys
from segline_runtime.predictions import Prediction, SemanticPrediction
from segline_runtime.specification import ClassInfo

State = tuple[confusion.Matrix, list[float]]


class SemanticScorer:
    """IoU, Dice and accuracies from the confusion matrix pooled over all images; see `segline.metrics.scorer`.

    Keys of `metrics()`: miou, mdice, pixel_accuracy, mean_class_accuracy, fw_iou (frequency-weighted), miou_per_image (mean over images of
    each image's own mean IoU), and per class iou/<class>, dice/<class>, support/<class> (true pixels). All but support lie in 0…1.
    Absent classes: see `segline.metrics.confusion.iou`. A figure that nothing was scored for is left out.
    """

    def __init__(self, classes: Sequence[ClassInfo]) -> None:
        self.classes = tuple(classes)
        self.matrix = confusion.empty(len(self.classes))
        self.per_image: list[float] = []

    def add(self, prediction: Prediction, truth: Sample) -> float:
        """Take one image in; return its own mean IoU over the classes present in its truth or prediction, 1 when no pixel of it is scored."""
        assert isinstance(prediction, SemanticPrediction) and truth.mask is not None
        matrix = confusion.count(truth.mask, prediction.class_ids, len(self.classes))
        self.matrix += matrix
        score = confusion.mean(confusion.iou(matrix))
        if math.isnan(score):
            return 1.0
        self.per_image.append(score)
        return score

    def state(self) -> State:
        return self.matrix, self.per_image

    def merge(self, state: State) -> None:
        matrix, per_image = state
        self.matrix = self.matrix + matrix
        self.per_image = [*self.per_image, *per_image]

    def metrics(self) -> dict[str, float]:
        matrix = self.matrix
        iou, dice, support = confusion.iou(matrix), confusion.dice(matrix), confusion.support(matrix)
        figures = {
            "miou": confusion.mean(iou),
            "mdice": confusion.mean(dice),
            "pixel_accuracy": confusion.pixel_accuracy(matrix),
            "mean_class_accuracy": confusion.mean(confusion.class_accuracy(matrix)),
            "fw_iou": confusion.frequency_weighted_iou(matrix),
            # fsum is exact, so the order of the images cannot show.
            "miou_per_image": math.fsum(self.per_image) / len(self.per_image) if self.per_image else math.nan,
        }
        keys = class_keys(self.classes)
        figures |= {f"iou/{key}": float(value) for key, value in zip(keys, iou, strict=True)}
        figures |= {f"dice/{key}": float(value) for key, value in zip(keys, dice, strict=True)}
        figures |= {f"support/{key}": int(value) for key, value in zip(keys, support, strict=True)}
        return {key: value for key, value in figures.items() if not math.isnan(value)}

    def write_plots(self, folder: Path) -> None:
        """confusion_matrix.png (each row in percent of its class's true pixels), confusion_matrix.csv (pixels), classes.png, classes.csv.

        Each table is sorted and has its figure in the last column: that is what DVC draws of a table in a folder of plots.
        """
        names = [info.name for info in self.classes]
        plots.confusion_picture(self.matrix, names, folder / "confusion_matrix.png")
        largest_first = [divmod(int(cell), len(names)) for cell in np.argsort(-self.matrix, axis=None, kind="stable")]
        cells = [(names[truth], names[predicted], self.matrix[truth, predicted]) for truth, predicted in largest_first]
        plots.write_csv(folder / "confusion_matrix.csv", ["truth", "predicted", "pixels"], cells)
        figures = self.metrics()
        columns = {column: [figures.get(f"{column}/{key}") for key in class_keys(self.classes)] for column in ("support", "dice", "iou")}
        plots.write_class_table(folder / "classes.csv", names, columns)
        plots.class_picture(names, {"IoU": columns["iou"], "Dice": columns["dice"]}, folder / "classes.png")
