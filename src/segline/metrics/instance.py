"""The scorer of instance segmentation: COCO average precision of boxes and masks, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segline.data.store import Sample
from segline.metrics import plots
from segline.metrics.matching import match
from segline.metrics.names import class_keys
from segline_runtime.predictions import InstancePrediction, Prediction
from segline_runtime.specification import ClassInfo

AREAS = ("all", "small", "medium", "large")
"""COCO's ranges of a true object's mask area in pixels: small < 32², medium < 96², large; the axis `A` of Precision."""

MAX_DETECTIONS = 100
"""Per image and class, as COCO has it; pycocotools answers −1 for any list without 100."""


@dataclass(frozen=True)
class Precision:
    """What COCOeval found for boxes or for masks. NaN where there is no truth of that kind."""

    thresholds: NDArray[np.float64]  # (T,) IoU 0.50:0.05:0.95
    recalls: NDArray[np.float64]  # (R,) 0:0.01:1
    precision: NDArray[np.float64]  # (T, R, K, A), interpolated
    recall: NDArray[np.float64]  # (T, K, A), largest


@dataclass(frozen=True)
class _Image:
    """One image in COCO's terms, without ids."""

    size: tuple[int, int]  # height, width
    truth: list[dict[str, Any]]
    found: list[dict[str, Any]]


State = dict[int, _Image]


class InstanceScorer:
    """COCO AP, AP50, AP75, AP by size and AR at 100 detections, for masks and boxes; see `segline.metrics.scorer`.

    Keys of `metrics()`: mask_ap, mask_ap50, mask_ap75, mask_ap_small, mask_ap_medium, mask_ap_large, mask_ar, mask_ap/<class>,
    mask_ap50/<class>, the same with box_, and support/<class> (true objects without crowds). All but support lie in 0…1.
    A figure that has no truth (a class or a size that the split lacks) is left out, and takes no part in a mean: that is COCO's rule.
    Sizes are by the area of the true mask, also for boxes. Crowds are neither to be found nor wrong when found.
    """

    def __init__(self, classes: Sequence[ClassInfo]) -> None:
        self.classes = tuple(classes)
        self._images: State = {}
        self._precision: dict[str, Precision] = {}

    def add(self, prediction: Prediction, truth: Sample) -> float:
        """Take one image in; return its panoptic quality, see `segline.metrics.matching.Matching.score`."""
        assert isinstance(prediction, InstancePrediction) and truth.instances is not None
        objects = truth.instances
        self._images[truth.image_id] = _Image(
            size=(truth.image.shape[0], truth.image.shape[1]),
            truth=_annotations(objects.masks, objects.boxes, objects.labels, iscrowd=objects.crowd.astype(int)),
            found=_annotations(prediction.masks, prediction.boxes, prediction.labels, score=prediction.scores.astype(float)),
        )
        self._precision.clear()
        return match(objects, prediction).score

    def state(self) -> State:
        return self._images

    def merge(self, state: State) -> None:
        self._images = self._images | state
        self._precision.clear()

    def precision(self, kind: str) -> Precision:
        """Precision and recall of `mask` or `box`, over all images taken in."""
        if kind not in self._precision:
            self._precision[kind] = _evaluate(self._images, len(self.classes), kind)
        return self._precision[kind]

    def metrics(self) -> dict[str, float]:
        keys = class_keys(self.classes)
        figures: dict[str, float] = {}
        for kind in ("mask", "box"):
            found = self.precision(kind)
            by_area = {area: found.precision[..., a] for a, area in enumerate(AREAS)}
            figures[f"{kind}_ap"] = _mean(by_area["all"])
            figures[f"{kind}_ap50"] = _mean(by_area["all"][_at(found, 0.5)])
            figures[f"{kind}_ap75"] = _mean(by_area["all"][_at(found, 0.75)])
            figures |= {f"{kind}_ap_{area}": _mean(by_area[area]) for area in AREAS[1:]}
            figures[f"{kind}_ar"] = _mean(found.recall[..., 0])
            figures |= {f"{kind}_ap/{key}": _mean(by_area["all"][:, :, k]) for k, key in enumerate(keys)}
            figures |= {f"{kind}_ap50/{key}": _mean(by_area["all"][_at(found, 0.5), :, k]) for k, key in enumerate(keys)}
        labels = [a["category_id"] - 1 for image in self._images.values() for a in image.truth if not a["iscrowd"]]
        counts = np.bincount(np.array(labels, dtype=np.int64), minlength=len(keys))
        figures |= {f"support/{key}": int(counts[info.id]) for key, info in zip(keys, self.classes, strict=True) if info.thing}
        return {key: value for key, value in figures.items() if not np.isnan(value)}

    def write_plots(self, folder: Path) -> None:
        """pr_curve.csv (masks at IoU 0.5: recall, precision/<class>, and precision, the mean), pr_curve.png (masks, several IoU), classes.csv, classes.png.

        Each table is sorted and has its figure in the last column: that is what DVC draws of a table in a folder of plots.
        Without any true object there is no pr_curve.csv.
        """
        keys = class_keys(self.classes)
        found = self.precision("mask")
        everything = found.precision[..., 0]  # (T, R, K)
        with_truth = [k for k in range(len(keys)) if not np.isnan(everything[:, :, k]).all()]
        by_class = {k: everything[_at(found, 0.5), :, k] for k in with_truth}
        if with_truth:
            curves = np.stack([found.recalls, *by_class.values(), _mean_curve(everything, 0.5, found)], axis=1)
            header = ["recall", *(f"precision/{keys[k]}" for k in with_truth), "precision"]
            plots.write_csv(folder / "pr_curve.csv", header, [[f"{value:.6g}" for value in row] for row in curves])
        levels = {f"IoU {t:.2f}": _mean_curve(everything, t, found) for t in (0.5, 0.6, 0.7, 0.75, 0.8, 0.9)} if with_truth else {}
        plots.precision_recall_picture(found.recalls, levels, {self.classes[k].name: curve for k, curve in by_class.items()}, folder / "pr_curve.png")
        figures = self.metrics()
        listed = [(info.name, key) for info, key in zip(self.classes, keys, strict=True) if f"support/{key}" in figures]
        names = [name for name, _ in listed]
        columns = {column: [figures.get(f"{column}/{key}") for _, key in listed] for column in ("support", "box_ap50", "mask_ap50", "box_ap", "mask_ap")}
        plots.write_class_table(folder / "classes.csv", names, columns)
        plots.class_picture(names, {"mask AP": columns["mask_ap"], "mask AP50": columns["mask_ap50"]}, folder / "classes.png")


def _annotations(masks: NDArray[np.bool_], boxes: NDArray[np.float32], labels: NDArray[np.int64], **more: NDArray[Any]) -> list[dict[str, Any]]:
    """COCO annotations without ids; masks `(N, H, W)` become RLE, boxes xyxy `(N, 4)` become xywh."""
    if not len(masks):
        return []
    encoded = rle.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
    areas = rle.area(encoded)
    return [
        {
            "segmentation": encoded[i],
            "area": float(areas[i]),
            "bbox": [float(x1), float(y1), float(x2) - float(x1), float(y2) - float(y1)],
            # COCO ids start at 1: pycocotools takes 0 for "none".
            "category_id": int(labels[i]) + 1,
            **{key: values[i].item() for key, values in more.items()},
        }
        for i, (x1, y1, x2, y2) in enumerate(boxes)
    ]


def _evaluate(images: State, classes: int, kind: str) -> Precision:
    evaluation = COCOeval(_coco(images, classes, "truth", kind), _coco(images, classes, "found", kind), {"mask": "segm", "box": "bbox"}[kind])
    evaluation.params.maxDets = [MAX_DETECTIONS]
    assert tuple(evaluation.params.areaRngLbl) == AREAS
    with contextlib.redirect_stdout(io.StringIO()):  # COCOeval prints its progress; errors are raised all the same
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = (np.where(evaluation.eval[part][..., 0] < 0, np.nan, evaluation.eval[part][..., 0]) for part in ("precision", "recall"))
    return Precision(np.asarray(evaluation.params.iouThrs), np.asarray(evaluation.params.recThrs), precision, recall)


def _coco(images: State, classes: int, part: str, kind: str) -> COCO:
    """All annotations of one side, numbered from 1 in the order of the image ids."""
    annotations = [
        {**annotation, "id": 0, "image_id": image_id, "iscrowd": annotation.get("iscrowd", 0)}
        for image_id, image in sorted(images.items())
        for annotation in getattr(image, part)
    ]
    for i, annotation in enumerate(annotations, start=1):
        annotation["id"] = i
        if part == "found" and kind == "box":
            annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]  # as COCO.loadRes has it for results of boxes
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image_id, "height": image.size[0], "width": image.size[1]} for image_id, image in sorted(images.items())],
        "categories": [{"id": k + 1} for k in range(classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _at(found: Precision, threshold: float) -> int:
    return int(np.argmin(np.abs(found.thresholds - threshold)))


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _mean_curve(everything: NDArray[np.float64], threshold: float, found: Precision) -> NDArray[np.float64]:
    """Precision by recall `(R,)`, mean over the classes with truth."""
    return np.asarray(np.nanmean(everything[_at(found, threshold)], axis=1))
