"""The scorer of instance segmentation: COCO's matching of each image, for masks and boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segline.data.store import Sample
from segline.drawing.precision_recall import precision_recall_picture
from segline.drawing.tables import class_picture, write_class_table, write_csv
from segline.metrics import box_ap, mask_ap, object_support
from segline.metrics.average_precision import Precision, precision
from segline.metrics.details import Detail, Rows, rows_of
from segline.metrics.detection_counts import DetectionCounts
from segline.metrics.detection_matching import Seen, records, seen
from segline.metrics.figures import figures
from segline.metrics.matching import match
from segline.metrics.names import class_keys
from segline.metrics.overlaps import mask_overlaps, outlines
from segline_runtime.predictions import InstancePrediction, Prediction
from segline_runtime.specification import ClassInfo

State = dict[int, tuple[str, Seen, Mapping[str, Rows]]]
"""Image id → name, what decides which detections are right, and the rows of what is counted beside."""

_LEVELS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.9)  # IoU of the drawn curves


class InstanceScorer:
    """See `segline.metrics.scorer`."""

    def __init__(self, classes: Sequence[ClassInfo], details: Sequence[Detail] = ()) -> None:
        """details: what is counted beside what always is."""
        self.classes = tuple(classes)
        self.details = tuple(details)
        self._images: State = {}
        self._counts: DetectionCounts | None = None  # of all images, until there is one more

    def add(self, prediction: Prediction, truth: Sample) -> float:
        """Take one image in; return its panoptic quality, see `segline.metrics.matching.Matching.score`."""
        assert isinstance(prediction, InstancePrediction) and truth.instances is not None
        around = outlines(prediction)
        overlaps = mask_overlaps(truth.instances, prediction, around)
        beside = rows_of(self.details, prediction, truth, len(self.classes))
        self._images[truth.image_id] = (truth.name, seen(truth.instances, prediction, overlaps, around.areas), beside)
        self._counts = None
        return match(truth.instances, prediction, overlaps).score

    def counts(self) -> DetectionCounts:
        if self._counts is None:
            rows = records([one for _, one, _ in self._images.values()])
            images = {i: (name, {**found, **beside}) for (i, (name, _, beside)), found in zip(self._images.items(), rows, strict=True)}
            self._counts = DetectionCounts.of(images, [info.name for info in self.classes])
        return self._counts

    def state(self) -> State:
        return self._images

    def merge(self, state: State) -> None:
        self._images = self._images | state
        self._counts = None

    def write_plots(self, folder: Path) -> None:
        """pr_curve.csv (masks at IoU 0.5: recall, precision/<class>, and precision, the mean), pr_curve.png (masks, several IoU), classes.csv, classes.png.

        Each table is sorted and has its figure in the last column: that is what DVC draws of a table in a folder of plots.
        Without any true object there is no pr_curve.csv.
        """
        counts = self.counts()
        self._write_curves(precision(counts, "mask"), folder)
        keys = class_keys(self.classes)
        found = figures(counts, [mask_ap.METRIC, box_ap.METRIC, object_support.METRIC], self.classes)
        listed = [(info.name, key) for info, key in zip(self.classes, keys, strict=True) if f"support/{key}" in found]
        names = [name for name, _ in listed]
        columns = {column: [found.get(f"{column}/{key}") for _, key in listed] for column in ("support", "box_ap50", "mask_ap50", "box_ap", "mask_ap")}
        write_class_table(folder / "classes.csv", names, columns)
        class_picture(names, {"mask AP": columns["mask_ap"], "mask AP50": columns["mask_ap50"]}, folder / "classes.png")

    def _write_curves(self, found: Precision, folder: Path) -> None:
        keys = class_keys(self.classes)
        everything = found.precision[..., 0]  # (T, P, K)
        with_truth = [k for k in range(len(keys)) if not np.isnan(everything[:, :, k]).all()]
        by_class = {k: everything[_at(found, 0.5), :, k] for k in with_truth}
        levels = {}
        if with_truth:
            curves = np.stack([found.recalls, *by_class.values(), _mean_curve(found, 0.5)], axis=1)
            header = ["recall", *(f"precision/{keys[k]}" for k in with_truth), "precision"]
            write_csv(folder / "pr_curve.csv", header, [[f"{value:.6g}" for value in row] for row in curves])
            levels = {f"IoU {threshold:.2f}": _mean_curve(found, threshold) for threshold in _LEVELS}
        precision_recall_picture(found.recalls, levels, {self.classes[k].name: curve for k, curve in by_class.items()}, folder / "pr_curve.png")


def _at(found: Precision, threshold: float) -> int:
    return int(np.argmin(np.abs(found.thresholds - threshold)))


def _mean_curve(found: Precision, threshold: float) -> NDArray[np.float64]:
    """Precision by recall `(P,)`, mean over the classes with truth."""
    return np.asarray(np.nanmean(found.precision[_at(found, threshold), :, :, 0], axis=1))
