"""How long it takes to score an instance model: Segline's scorer beside pycocotools on the same detections, and the memory that large masks need.

    python benchmarks/evaluation.py

Made-up photographs' worth of objects and detections, as a detector gives them: boxes, scores, and masks of 28 × 28 per box. pycocotools gets the pasted masks
the usual way: each whole mask as a run-length code, then `COCOeval` for masks and for boxes. The figures of both are equal, or the script fails.
The result is `benchmarks/evaluation.json`: CPU seconds, of which the ratio says more than the seconds, machine, commit.
"""

from __future__ import annotations

import contextlib
import io
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import results
from numpy.typing import NDArray
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segline.data.store import EncodedMasks, Instances, Sample
from segline.metrics import catalog
from segline.metrics.figures import figures
from segline.metrics.instance import InstanceScorer
from segline_runtime.instance import TASK
from segline_runtime.predictions import InstancePrediction
from segline_runtime.specification import ClassInfo

SIZE = (480, 640)
IMAGES, CLASSES, DETECTIONS, MOST_OBJECTS = 80, 80, 100, 15
REPEATS = 3
LARGE = (60, 1000, 1500)  # masks, height, width
CATALOGUE = [ClassInfo(0, "background", (0, 0, 0), False), *(ClassInfo(i, f"class{i}", (9, 9, 9), True) for i in range(1, CLASSES + 1))]
TWELVE = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", None, None, "ar")  # of COCOeval's figures, those that Segline has

Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Pair:
    """One image: what a network gives, and the truth."""

    outputs: Outputs
    truth: Sample


def main() -> None:
    random = np.random.default_rng(0)
    pairs = [_pair(random, i) for i in range(IMAGES)]
    seconds: dict[str, float] = {}
    pasted, seconds["pasting"] = _fastest(lambda: [TASK.decode(pair.outputs, SIZE)[0] for pair in pairs])
    ours, seconds["segline"] = _fastest(lambda: _segline(pairs, pasted))
    theirs, seconds["pycocotools"] = _fastest(lambda: _pycocotools(pairs, pasted))
    for key, value in theirs.items():
        assert abs(ours[key] - value) < 1e-12, (key, ours[key], value)
    result = {
        "images": IMAGES,
        "size": SIZE,
        "detections": IMAGES * DETECTIONS,
        "objects": sum(len(pair.truth.instances) for pair in pairs if pair.truth.instances is not None),
        "classes": CLASSES,
        "equal_figures": len(theirs),
        "cpu_seconds": {name: round(value, 2) for name, value in seconds.items()},
        "pycocotools_by_segline": round(seconds["pycocotools"] / seconds["segline"], 1),
        "memory_of_large_masks": {"masks": LARGE[0], "megapixels": LARGE[1] * LARGE[2] / 1e6, "peak_mb": round(_peak() / 1e6, 1)},
    }
    results.write(results.beside(__file__), result)


def _pair(random: np.random.Generator, number: int) -> Pair:
    """Ellipses of all sizes, some of them crowds; detections are moved, of wrong classes, or of nothing."""
    count = int(random.integers(1, MOST_OBJECTS + 1))
    boxes, labels = _boxes(random, count), random.choice(random.integers(1, CLASSES + 1, 4), count)
    masks = [_ellipse(box) for box in boxes]
    truth = Instances(EncodedMasks([rle.encode(np.asfortranarray(mask, np.uint8)) for mask in masks], SIZE), boxes, labels, random.random(count) < 0.05)
    of = random.integers(0, count, DETECTIONS)
    nothing = random.random(DETECTIONS) < 0.4
    sides = np.tile(boxes[of, 2:] - boxes[of, :2], 2)
    moved = boxes[of] + sides * random.normal(0, 0.08, (DETECTIONS, 4))
    found = np.where(nothing[:, None], _boxes(random, DETECTIONS), moved).astype(np.float32)
    found = np.concatenate([np.minimum(found[:, :2], found[:, 2:]), np.maximum(found[:, :2], found[:, 2:])], axis=1)
    y, x = np.mgrid[:28, :28] - 13.5
    shapes = np.clip(1.3 - (y**2 + x**2) / 14**2 + random.normal(0, 0.1, (DETECTIONS, 28, 28)), 0, 1).astype(np.float32)
    guessed = np.where(random.random(DETECTIONS) < 0.7, labels[of], random.integers(1, CLASSES + 1, DETECTIONS))
    outputs = {"boxes": found, "labels": guessed, "scores": random.random(DETECTIONS).round(2).astype(np.float32), "masks": shapes}
    return Pair(outputs, Sample(number + 1, f"image{number}", np.zeros((*SIZE, 3), np.uint8), None, truth))


def _boxes(random: np.random.Generator, count: int) -> NDArray[np.float32]:
    """xyxy `(N, 4)`, inside the image; most are small."""
    sides = np.exp(random.uniform(np.log(12), np.log(400), (count, 2)))
    corners = random.random((count, 2)) * (np.array(SIZE[::-1]) - 12)
    return np.concatenate([corners, np.minimum(corners + sides, SIZE[::-1])], axis=1).astype(np.float32)


def _ellipse(box: NDArray[np.float32]) -> NDArray[np.bool_]:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    (x0, y0, x1, y1) = box
    return np.asarray(((x + 0.5 - (x0 + x1) / 2) / (x1 - x0)) ** 2 + ((y + 0.5 - (y0 + y1) / 2) / (y1 - y0)) ** 2 <= 0.25)


def _segline(pairs: list[Pair], pasted: list[InstancePrediction]) -> dict[str, float]:
    scorer = InstanceScorer(CATALOGUE)
    for pair, prediction in zip(pairs, pasted, strict=True):
        scorer.add(prediction, pair.truth)
    return figures(scorer.counts(), [catalog.get(word) for word in ("mask_ap", "box_ap")], CATALOGUE)


def _pycocotools(pairs: list[Pair], pasted: list[InstancePrediction]) -> dict[str, float]:
    images = [{"id": pair.truth.image_id, "height": SIZE[0], "width": SIZE[1]} for pair in pairs]
    true, detected = [], []
    for pair, prediction in zip(pairs, pasted, strict=True):
        objects, image = pair.truth.instances, pair.truth.image_id
        assert objects is not None
        for code, box, label, crowd in zip(objects.rles(), objects.boxes, objects.labels, objects.crowd, strict=True):
            annotation = {"id": len(true) + 1, "image_id": image, "category_id": int(label), "iscrowd": int(crowd)}
            true.append({**annotation, "area": float(rle.area(code)), "bbox": _xywh(box), "segmentation": code})
        for mask, box, label, score in zip(prediction.masks, prediction.boxes, prediction.labels, prediction.scores, strict=True):
            code = rle.encode(np.asfortranarray(mask, np.uint8))
            detected.append({"image_id": image, "category_id": int(label), "score": float(score), "bbox": _xywh(box), "segmentation": code})
    found: dict[str, float] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"info": {}, "images": images, "annotations": true, "categories": [{"id": info.id} for info in CATALOGUE if info.thing]}
        coco.createIndex()
        for kind, iou_type, without in (("mask", "segm", "bbox"), ("box", "bbox", "segmentation")):
            given = [{key: value for key, value in result.items() if key != without} for result in detected]
            evaluation = COCOeval(coco, coco.loadRes(given), iou_type)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            found |= {f"{kind}_{name}": float(value) for name, value in zip(TWELVE, evaluation.stats[: len(TWELVE)], strict=True) if name}
    return found


def _xywh(box: NDArray[np.float32]) -> list[float]:
    x0, y0, x1, y1 = (float(v) for v in box)
    return [x0, y0, x1 - x0, y1 - y0]


def _peak() -> int:
    """Bytes needed to score one image of many large masks, beyond the masks themselves."""
    masks = np.zeros(LARGE, np.bool_)
    for i, mask in enumerate(masks):
        mask[10 * i : 10 * i + 200, 20 * i : 20 * i + 150] = True
    count = len(masks)
    boxes, labels = np.zeros((count, 4), np.float32), np.ones(count, np.int64)
    truth = Sample(1, "large", np.zeros((*LARGE[1:], 3), np.uint8), None, Instances(masks, boxes, labels, np.zeros(count, np.bool_)))
    scorer = InstanceScorer(CATALOGUE)
    tracemalloc.start()
    scorer.add(InstancePrediction(np.full(count, 0.9, np.float32), labels, boxes, masks), truth)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def _fastest(work: Callable[[], Any]) -> tuple[Any, float]:
    """Its result, and the CPU seconds of the fastest of several runs."""
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return result, min(seconds)


if __name__ == "__main__":
    main()
