"""How long COCO's twelve figures take, for masks and for boxes: Segline's scorer beside pycocotools and hotcoco, on the same masks.

    python benchmarks/coco_engine.py [NAME FOLDER ...]        (each a prepared data set with objects, as `data/prepared` after `dvc repro`)

Truth is made up, or is that of the scored split of a prepared data set; detections are its objects moved, lost, and called by other names, and others of
nothing. Scores are tenths, so that many are equal. Each engine begins with whole masks, as a model predicts them. pycocotools and hotcoco get them the usual
way: as run-length codes, by `loadRes`, and `COCOeval` for masks and then for boxes. `codes`: what of its time goes into looking for the masks' pixels and
encoding them (for hotcoco by Segline's `run_lengths`, which is quicker than its own); the ratios are told with and without. Segline encodes the masks alone
that may meet a true object, keeps what each image counts, and gives each image a score of its own.

All 24 figures are equal to 1e-12, or the script fails. The result is `benchmarks/coco_engine.json`: CPU seconds on one thread, and ratios.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")  # before numpy is imported

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hotcoco
import numpy as np
import results
from numpy.typing import NDArray
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segline.data import run_lengths
from segline.data.store import EncodedMasks, Instances, PreparedDataset, Sample
from segline.metrics import catalog, instance, overlaps, placed_codes
from segline.metrics.figures import figures
from segline.metrics.instance import InstanceScorer
from segline.metrics.overlaps import outlines
from segline_runtime.masks import extent
from segline_runtime.predictions import InstancePrediction
from segline_runtime.specification import ClassInfo

IMAGES, SIZE, CLASSES, MOST_OBJECTS, INVENTED = 960, (480, 640), 80, 15, 15
REAL_IMAGES = 200
NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar", "ar_small", "ar_medium", "ar_large")
KINDS = {"mask": ("segm", "bbox"), "box": ("bbox", "segmentation")}  # the name of each in COCOeval, and the key that is not given

Pair = tuple[InstancePrediction, Sample]


def main(folders: dict[str, Path]) -> None:
    made_up = tuple(ClassInfo(i, f"class{i}", (9, 9, 9), True) for i in range(CLASSES))
    sets = {"made up": measured(made_up_pairs(np.random.default_rng(0)), made_up)}
    for name, folder in folders.items():
        dataset = PreparedDataset(folder)
        sets[name] = measured(real_pairs(dataset, np.random.default_rng(0)), dataset.info.classes)
    results.write(results.beside(__file__), {"numpy": np.__version__, "hotcoco": hotcoco.__version__, "sets": sets})


def measured(pairs: Iterator[Pair], classes: Sequence[ClassInfo]) -> dict[str, Any]:
    """One image at a time, so that not all masks are in memory; the engines' own accumulation at the end."""
    scorer, told = InstanceScorer(classes), [catalog.get("mask_ap"), catalog.get("box_ap")]
    spent = {"segline": 0.0, "codes in segline": 0.0, "codes for pycocotools": 0.0, "codes for hotcoco": 0.0}
    instance.outlines = _counting(spent, outlines)
    overlaps.encode = _counting(spent, placed_codes.encode)
    images, true, detected = [], [], []
    for prediction, sample in pairs:
        assert sample.instances is not None
        images.append({"id": sample.image_id, "height": sample.image.shape[0], "width": sample.image.shape[1]})
        true += _annotations(sample, len(true))
        with _timed(spent, "segline"):
            scorer.add(prediction, sample)
        with _timed(spent, "codes for pycocotools"):
            codes = [rle.encode(np.asfortranarray(mask, np.uint8)) for mask in prediction.masks]
        with _timed(spent, "codes for hotcoco"):
            quicker = [run_lengths.encode(mask) for mask in prediction.masks]
        assert codes == quicker
        for code, box, label, score in zip(codes, prediction.boxes, prediction.labels, prediction.scores, strict=True):
            found = {"image_id": sample.image_id, "category_id": int(label) + 1, "score": float(score), "bbox": _xywh(box), "segmentation": code}
            detected.append(found)
    with _timed(spent, "segline"):
        ours = figures(scorer.counts(), told, classes)
    dataset = {"info": {}, "images": images, "annotations": true, "categories": [{"id": info.id + 1, "name": info.name} for info in classes]}
    theirs: dict[str, dict[str, float]] = {}
    for name, module in (("pycocotools", (COCO, COCOeval)), ("hotcoco", (hotcoco.COCO, hotcoco.COCOeval))):
        spent[f"{name} without codes"] = 0.0
        with _timed(spent, f"{name} without codes"):
            theirs[name] = _evaluated(*module, dataset, detected)
    for name, found in theirs.items():
        for key, value in found.items():
            assert abs(ours.get(key, -1) - value) < 1e-12, (name, key, ours.get(key), value)
    spent["segline without codes"] = spent["segline"] - spent["codes in segline"]
    for name in theirs:
        spent[name] = spent[f"codes for {name}"] + spent[f"{name} without codes"]
    return {
        "images": len(images),
        "objects": len(true),
        "detections": len(detected),
        "equal_figures": {name: len(found) for name, found in theirs.items()},
        "cpu_seconds": {name: round(value, 3) for name, value in spent.items()},
        "times_as_fast_as_pycocotools": {name: round(spent["pycocotools"] / spent[name], 1) for name in ("segline", "hotcoco")},
        "without_codes": {name: round(spent["pycocotools without codes"] / spent[f"{name} without codes"], 1) for name in ("segline", "hotcoco")},
    }


def _counting(spent: dict[str, float], work: Callable[..., Any]) -> Callable[..., Any]:
    """The same function; its time counts as that of codes in Segline."""

    def counted(*given: Any) -> Any:
        with _timed(spent, "codes in segline"):
            return work(*given)

    return counted


@contextlib.contextmanager
def _timed(spent: dict[str, float], name: str) -> Iterator[None]:
    start = time.process_time()
    yield
    spent[name] += time.process_time() - start


def _evaluated(coco: Any, evaluate: Any, dataset: dict[str, Any], detected: list[dict[str, Any]]) -> dict[str, float]:
    """The figures that `COCOeval` prints, by Segline's names."""
    found: dict[str, float] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        if coco is COCO:
            truth = COCO()
            truth.dataset = dataset
            truth.createIndex()
        else:
            truth = coco(dataset)
        for kind, (iou_type, without) in KINDS.items():
            given = [{key: value for key, value in one.items() if key != without} for one in detected]
            evaluation = evaluate(truth, truth.loadRes(given), iou_type)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            found |= {f"{kind}_{name}": float(value) for name, value in zip(NAMES, evaluation.stats, strict=True)}
    return found


def _annotations(sample: Sample, before: int) -> Iterator[dict[str, Any]]:
    objects = sample.instances
    assert objects is not None
    for i, code in enumerate(objects.rles()):
        annotation = {"id": before + i + 1, "image_id": sample.image_id, "category_id": int(objects.labels[i]) + 1, "iscrowd": int(objects.crowd[i])}
        yield {**annotation, "area": float(objects.areas[i]), "bbox": _xywh(objects.boxes[i]), "segmentation": code}


def made_up_pairs(random: np.random.Generator) -> Iterator[Pair]:
    """Ellipses of all sizes, some of them crowds."""
    for number in range(IMAGES):
        count = int(random.integers(1, MOST_OBJECTS + 1))
        masks = np.stack([_ellipse(random, SIZE) for _ in range(count)])
        labels = random.choice(random.integers(0, CLASSES, 4), count)
        objects = Instances(EncodedMasks([run_lengths.encode(mask) for mask in masks], SIZE), _boxes(masks), labels, random.random(count) < 0.05)
        sample = Sample(number + 1, f"image{number}", np.zeros((*SIZE, 3), np.uint8), None, objects)
        yield detections(random, sample, CLASSES), sample


def real_pairs(dataset: PreparedDataset, random: np.random.Generator) -> Iterator[Pair]:
    split = dataset.split(dataset.info.scored, ["instances"])
    for i in range(min(len(split), REAL_IMAGES)):
        yield detections(random, split[i], len(dataset.info.classes)), split[i]


def detections(random: np.random.Generator, sample: Sample, classes: int) -> InstancePrediction:
    """Most objects, some of them twice, moved by up to a tenth of their sides, some under another name; and ellipses where nothing is."""
    objects, size = sample.instances, (sample.image.shape[0], sample.image.shape[1])
    assert objects is not None
    masks, labels = [], []
    for i in range(len(objects)):
        for _ in range(int(random.integers(0, 3))):
            height, width = (objects.boxes[i, 2:] - objects.boxes[i, :2])[::-1]
            shift = (random.uniform(-0.1, 0.1, 2) * (height, width)).astype(int)
            masks.append(np.roll(objects.mask(i), shift, (0, 1)))
            labels.append(int(objects.labels[i]) if random.random() < 0.85 else int(random.integers(0, classes)))
    for _ in range(int(random.integers(0, INVENTED))):
        masks.append(_ellipse(random, size))
        labels.append(int(random.choice(objects.labels)) if len(objects) and random.random() < 0.5 else int(random.integers(0, classes)))
    stacked = np.stack(masks) if masks else np.zeros((0, *size), np.bool_)
    scores = random.random(len(masks)).round(1).astype(np.float32)
    return InstancePrediction(scores, np.array(labels, np.int64), _boxes(stacked), stacked)


def _ellipse(random: np.random.Generator, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Inside the image; most are small."""
    height, width = (int(np.exp(random.uniform(np.log(8), np.log(0.8 * side)))) for side in size)
    y, x = np.mgrid[:height, :width]
    mask = np.zeros(size, np.bool_)
    top, left = int(random.integers(0, size[0] - height)), int(random.integers(0, size[1] - width))
    mask[top : top + height, left : left + width] = ((y + 0.5) / height - 0.5) ** 2 + ((x + 0.5) / width - 0.5) ** 2 <= 0.25
    return mask


def _boxes(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """xyxy `(N, 4)` of masks `(N, H, W)`."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = extent(mask)
        box[:] = columns.start, rows.start, columns.stop, rows.stop
    return boxes


def _xywh(box: NDArray[np.float32]) -> list[float]:
    x0, y0, x1, y1 = (float(v) for v in box)
    return [x0, y0, x1 - x0, y1 - y0]


if __name__ == "__main__":
    main(dict(zip(sys.argv[1::2], map(Path, sys.argv[2::2]), strict=True)))
