"""How long the intervals take: 1,000 resamples of a made-up split, computed from its counts.

    python benchmarks/bootstrap.py

The result is `benchmarks/bootstrap.json`: seconds for the figures, the interval of the headline and the paired comparison of two models, machine, commit.
Absolute times are of that machine on that day.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import results

from segline.metrics import catalog, intervals
from segline.metrics.base import Counts
from segline.metrics.detection_counts import AREAS, KINDS, THRESHOLDS, DetectionCounts
from segline.metrics.paired import paired
from segline.metrics.pixel_counts import PixelCounts
from segline.metrics.ragged import Ragged
from segline_runtime.specification import ClassInfo

IMAGES = 1000
DETECTIONS = 15_000
OBJECTS = 9_000
REPEATS = 5


def main() -> None:
    cases: dict[str, tuple[str, Callable[[int], Counts]]] = {
        "miou, 21 classes": ("iou", lambda seed: pixel_counts(21, seed)),
        "miou, 150 classes": ("iou", lambda seed: pixel_counts(150, seed)),
        "mask_ap, 3 classes": ("mask_ap", lambda seed: detection_counts(3, seed)),
        "mask_ap, 80 classes": ("mask_ap", lambda seed: detection_counts(80, seed)),
    }
    result = {
        "load_before": results.load(),
        "numpy": np.__version__,
        "images": IMAGES,
        "detections": DETECTIONS,
        "resamples": intervals.USUAL.resamples,
        "seconds": {name: _measured(word, make) for name, (word, make) in cases.items()},
    }
    results.write(results.beside(__file__), result)


def _measured(word: str, make: Callable[[int], Counts]) -> dict[str, float]:
    metric = catalog.get(word)
    first, second = make(0), make(1)
    classes = [ClassInfo(i, name, (0, 0, 0), True) for i, name in enumerate(first.classes)]
    return {
        "figures": _fastest(lambda: metric.figures(first, classes)),
        "interval": _fastest(lambda: intervals.bootstrap(first, metric)),
        "paired comparison": _fastest(lambda: paired(first, second, metric)),
    }


def _fastest(work: Callable[[], Any]) -> float:
    """Of several runs: the others were held up by something else."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return round(min(seconds), 3)


def pixel_counts(classes: int, seed: int) -> PixelCounts:
    """Images that show about a tenth of the classes each."""
    random = np.random.default_rng(seed)
    records = {}
    for i in range(IMAGES):
        matrix = np.zeros((classes, classes), dtype=np.int64)
        present = random.choice(classes, max(2, classes // 10), replace=False)
        matrix[np.ix_(present, present)] = random.integers(0, 500, (len(present), len(present)))
        matrix[present, present] += 5000
        records[i] = (f"image{i}", PixelCounts.record(matrix))
    return PixelCounts.of(records, [f"class{k}" for k in range(classes)])


def detection_counts(classes: int, seed: int) -> DetectionCounts:
    """About a third of the detections is right at IoU 0.5, fewer at higher thresholds."""
    random = np.random.default_rng(seed)
    image, label, score = (random.integers(0, IMAGES, DETECTIONS), random.integers(0, classes, DETECTIONS), random.random(DETECTIONS))
    order = np.lexsort((-score, label, image))
    image, label, score = image[order], label[order].astype(np.int32), score[order]
    overlap = np.where(random.random(DETECTIONS) < 0.3 * (0.5 + score), 0.5 + random.random(DETECTIONS) / 2, 0)
    hit = np.broadcast_to((overlap[:, None] >= THRESHOLDS)[:, None, None], (DETECTIONS, len(KINDS), len(AREAS), len(THRESHOLDS)))
    true_image, true_label = np.sort(random.integers(0, IMAGES, OBJECTS)), random.integers(0, classes, OBJECTS).astype(np.int32)
    tables = {
        "found": Ragged(_offsets(image), {"label": label, "score": score, "hit": hit, "ignored": np.zeros_like(hit)}),
        "truth": Ragged(_offsets(true_image), {"label": true_label, "counted": np.ones((OBJECTS, len(AREAS)), np.bool_)}),
    }
    names, ids = tuple(f"image{i}" for i in range(IMAGES)), np.arange(IMAGES)
    return DetectionCounts(ids, names, tuple(f"class{k}" for k in range(classes)), tables)


def _offsets(image: Any) -> Any:
    return np.concatenate([[0], np.cumsum(np.bincount(image, minlength=IMAGES))]).astype(np.int64)


if __name__ == "__main__":
    main()
