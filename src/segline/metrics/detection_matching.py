"""Which detections of one image are right, by COCO's rules: pycocotools decides it, image by image, so that no masks need to be kept.

Legend: D detections, G true objects, A ranges of area, T thresholds of IoU.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval, Params

from segline.data.store import Instances
from segline.metrics.detection_counts import AREAS, KINDS, THRESHOLDS
from segline_runtime.predictions import InstancePrediction

MAX_DETECTIONS = 100
"""Per image and class, as COCO has it; pycocotools answers −1 for any list without 100."""

_IOU_TYPES = {"mask": "segm", "box": "bbox"}
_RANGES = np.array(Params(iouType="segm").areaRng)  # (A, 2) pixels, both ends belong to it
assert tuple(Params(iouType="segm").areaRngLbl) == AREAS
assert np.array_equal(Params(iouType="segm").iouThrs, THRESHOLDS)


def record(truth: Instances, prediction: InstancePrediction, size: tuple[int, int]) -> dict[str, dict[str, NDArray[Any]]]:
    """The rows of one image in the tables of `DetectionCounts`; `size`: height, width.

    Detections are in pycocotools' order: by class, the best first, at most MAX_DETECTIONS of each; equal scores as they were given.
    """
    found_rles = [rle.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in prediction.masks]
    true = _annotations(truth.rles(), truth.boxes, truth.labels, iscrowd=truth.crowd.astype(int))
    found = _annotations(found_rles, prediction.boxes, prediction.labels, score=prediction.scores.astype(float))
    by_kind = [_matched(true, found, size, kind) for kind in KINDS]
    labels, scores, _, _ = by_kind[0]  # the ranking is that of the scores, whatever overlaps
    hits, ignored = [outcome[2] for outcome in by_kind], [outcome[3] for outcome in by_kind]
    areas = np.array([annotation["area"] for annotation in true], dtype=np.float64).reshape(-1, 1)
    counted = ~truth.crowd[:, None] & (areas >= _RANGES[:, 0]) & (areas <= _RANGES[:, 1])
    return {
        "found": {"label": labels, "score": scores, "hit": np.stack(hits, axis=1), "ignored": np.stack(ignored, axis=1)},
        "truth": {"label": truth.labels.astype(np.int32), "counted": counted},
    }


def _annotations(rles: Sequence[Any], boxes: NDArray[np.float32], labels: NDArray[np.int64], **more: NDArray[Any]) -> list[dict[str, Any]]:
    """COCO annotations without ids, of masks as RLE; boxes xyxy `(N, 4)` become xywh."""
    annotations = []
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        annotations.append(
            {
                "segmentation": rles[i],
                "area": float(rle.area(rles[i])),
                "bbox": [float(x1), float(y1), float(x2) - float(x1), float(y2) - float(y1)],
                # COCO ids start at 1: pycocotools takes 0 for "none".
                "category_id": int(labels[i]) + 1,
                **{key: values[i].item() for key, values in more.items()},
            }
        )
    return annotations


Outcome = tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]


def _matched(true: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]], size: tuple[int, int], kind: str) -> Outcome:
    """Labels `(D,)`, scores `(D,)`, hits and ignored `(D, A, T)` of the detections of one image."""
    categories = sorted({annotation["category_id"] for annotation in (*true, *found)})
    boxes = kind == "box"
    evaluation = COCOeval(_coco(true, size, categories), _coco(found, size, categories, box_areas=boxes), _IOU_TYPES[kind])
    evaluation.params.maxDets = [MAX_DETECTIONS]
    with contextlib.redirect_stdout(io.StringIO()):  # COCOeval prints its progress; errors are raised all the same
        evaluation.evaluate()
    labels: list[int] = []
    scores: list[float] = []
    hits, ignored = [np.zeros((0, len(AREAS), len(THRESHOLDS)), np.bool_)], [np.zeros((0, len(AREAS), len(THRESHOLDS)), np.bool_)]
    for k, category in enumerate(categories):
        # One outcome for each range of area; all have the same detections in the same order.
        outcomes = evaluation.evalImgs[k * len(AREAS) : (k + 1) * len(AREAS)]
        of_category = outcomes[0]["dtScores"]
        labels += [category - 1] * len(of_category)
        scores += of_category
        matched = np.stack([outcome["dtMatches"].T > 0 for outcome in outcomes], axis=1)  # (D, A, T)
        out_of_question = np.stack([outcome["dtIgnore"].T.astype(np.bool_) for outcome in outcomes], axis=1)
        hits.append(matched & ~out_of_question)
        ignored.append(out_of_question)
    return np.array(labels, dtype=np.int32), np.array(scores, dtype=np.float64), np.concatenate(hits), np.concatenate(ignored)


def _coco(annotations: Sequence[Mapping[str, Any]], size: tuple[int, int], categories: Sequence[int], *, box_areas: bool = False) -> COCO:
    """One side of one image. `box_areas`: an object's area is that of its box, as COCO.loadRes has it for results of boxes."""
    numbered = []
    for i, annotation in enumerate(annotations, start=1):
        box = annotation["bbox"]
        area = box[2] * box[3] if box_areas else annotation["area"]
        numbered.append({**annotation, "id": i, "image_id": 1, "iscrowd": annotation.get("iscrowd", 0), "area": area})
    coco = COCO()
    coco.dataset = {
        "images": [{"id": 1, "height": size[0], "width": size[1]}],
        "categories": [{"id": category} for category in categories],
        "annotations": numbered,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco
