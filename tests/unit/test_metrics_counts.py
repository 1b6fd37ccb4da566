"""Counts per image: selecting, merging, files, and the intervals and comparisons made of them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segline.data.store import IGNORE
from segline.errors import ModelError, ParametersError
from segline.metrics import catalog, counts_file, intervals
from segline.metrics.base import Counts
from segline.metrics.detection_counts import AREAS, KINDS, THRESHOLDS, DetectionCounts
from segline.metrics.figures import figures
from segline.metrics.intervals import Resampling
from segline.metrics.label_counts import LabelCounts
from segline.metrics.paired import paired
from segline.metrics.pixel_counts import PixelCounts
from segline_runtime.specification import ClassInfo

CLASSES = [ClassInfo(i, name, (i, i, i), i > 0) for i, name in enumerate(["ground", "disc", "ring; open"])]
NAMES = [info.name for info in CLASSES]
SEMANTIC = (
    *("iou", "dice", "pixel_accuracy", "pixel_error", "class_accuracy", "fw_iou", "iou_per_image", "dice_per_image", "class_support"),
    *("boundary_iou", "boundary_f1", "stuff_pq", "ece", "thresholds"),
)
INSTANCE = ("mask_ap", "box_ap", "mask_voc_ap", "box_voc_ap", "pq", "object_support")
MULTILABEL = ("label_iou", "label_dice", "label_accuracy", "label_iou_per_image", "label_dice_per_image", "label_support")


def pixel_counts(images: int = 12, seed: int = 0, *, quality: float = 0.7) -> PixelCounts:
    """Random confusion matrices; class 2 is not in every image."""
    random = np.random.default_rng(seed)
    records = {}
    for i in range(images):
        matrix = random.integers(0, 60, (3, 3)) + np.diag(random.integers(0, int(300 * quality), 3))
        if i % 3:
            matrix[2], matrix[:, 2] = 0, 0
        records[i] = (f"image{i}", PixelCounts.record(matrix))
    return PixelCounts.of(records, NAMES)


def detection_counts(images: int = 12, seed: int = 0, *, quality: float = 0.7) -> DetectionCounts:
    """Random detections of different scores; some are ignored, some objects are not to be found."""
    random = np.random.default_rng(seed)
    records = {}
    for i in range(images):
        objects = int(random.integers(0, 6))
        labels = np.sort(random.integers(1, 3, objects)).astype(np.int32)
        counted = random.random((objects, len(AREAS))) < 0.8
        rows = [_found(random, int(label), counted[j], quality) for j, label in enumerate(labels) if random.random() < 0.9]
        rows += [_found(random, int(random.integers(1, 3)), np.zeros(len(AREAS), np.bool_), quality) for _ in range(int(random.integers(0, 4)))]
        rows.sort(key=lambda row: (row[0], -row[1]))
        shape = (len(rows), len(KINDS), len(AREAS), len(THRESHOLDS))
        found = {
            "label": np.array([row[0] for row in rows], np.int32),
            "score": np.array([row[1] for row in rows], np.float64),
            "hit": np.array([row[2] for row in rows], np.bool_).reshape(shape),
            "ignored": np.array([row[3] for row in rows], np.bool_).reshape(shape),
        }
        records[i] = (f"image{i}", {"found": found, "truth": {"label": labels, "counted": counted}})
    return DetectionCounts.of(records, NAMES)


def _found(random: np.random.Generator, label: int, counted: NDArray[np.bool_], quality: float) -> tuple[int, float, NDArray[np.bool_], NDArray[np.bool_]]:
    overlap = random.random((len(KINDS), 1, 1)) * (0.5 + quality / 2)
    hit = (overlap >= THRESHOLDS) & counted[None, :, None]
    ignored = ~hit & (random.random((len(KINDS), len(AREAS), len(THRESHOLDS))) < 0.1)
    return label, float(random.random()), hit, ignored


def label_counts(images: int = 12, seed: int = 0, *, quality: float = 0.7) -> LabelCounts:
    """Random masks of classes that overlap; class 2 is not in every image, and class 1 is ignored in some."""
    random = np.random.default_rng(seed)
    records = {}
    for i in range(images):
        truth = random.integers(0, 2, (3, 8, 9)).astype(np.uint8)
        truth[2] *= i % 3 == 0
        found = np.where(random.random(truth.shape) < quality, truth, random.integers(0, 2, truth.shape)).astype(np.bool_)
        found[2] &= truth[2] == 1
        truth[1, :4] = truth[1, :4] if i % 4 else IGNORE
        truth[1] = truth[1] if i % 5 else IGNORE
        records[i] = (f"image{i}", LabelCounts.record(truth, found))
    return LabelCounts.of(records, NAMES)


def counts_of(word: str, images: int = 12, seed: int = 0, **more: float) -> Counts:
    make = pixel_counts if word in SEMANTIC else label_counts if word in MULTILABEL else detection_counts
    return make(images, seed, **more)


def _all(counts: Counts) -> dict[str, float]:
    words = {"pixels": SEMANTIC, "detections": INSTANCE, "labels": MULTILABEL}[counts.kind]
    return figures(counts, [catalog.get(word) for word in words], CLASSES)


@pytest.mark.parametrize("word", ["iou", "mask_ap", "label_iou"])
def test_parts_put_together_are_the_whole(word: str) -> None:
    counts = counts_of(word).hashed({f"image{i}": f"{i:016x}" for i in range(12)})
    parts = [counts.select([7, 2, 11]), counts.select([0, 1, 3, 4, 5]), counts.select([6, 8, 9, 10, 0])]
    merged = type(counts).merge(parts)
    assert (merged.images, merged.hashes, merged.classes) == (counts.images, counts.hashes, counts.classes)
    assert _all(merged) == _all(counts)
    assert len(counts.select([])) == 0
    assert counts.select([3, 3]).images == ("image3", "image3")


@pytest.mark.parametrize("word", ["iou", "mask_ap", "label_iou"])
def test_a_file_of_counts_holds_all_of_them_and_nothing_pickled(tmp_path: Path, word: str) -> None:
    counts = counts_of(word).hashed({f"image{i}": f"{i:016x}" for i in range(12)})
    file = tmp_path / "counts.npz"
    counts_file.save(counts, file)
    first = file.read_bytes()
    read = counts_file.load(file)
    assert type(read) is type(counts)
    assert (read.images, read.hashes, read.classes) == (counts.images, counts.hashes, counts.classes)
    assert _all(read) == _all(counts)
    counts_file.save(read, file)
    assert file.read_bytes() == first
    with np.load(file, allow_pickle=False) as archive:
        arrays = dict(archive)
    assert int(arrays["version"]) == 1 and str(arrays["kind"]) == counts.kind
    np.savez(file, **{**arrays, "version": np.array(99)})
    with pytest.raises(ModelError, match="written by a later Segline"):
        counts_file.load(file)
    file.write_bytes(b"PK nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        counts_file.load(file)
    file.unlink()
    with pytest.raises(ModelError, match="There is no file of counts"):
        counts_file.load(file)


@pytest.mark.parametrize("word", ["iou", "mask_ap", "label_iou"])
def test_counts_of_no_image_can_be_kept_and_have_no_figures(tmp_path: Path, word: str) -> None:
    counts = counts_of(word, 0)
    counts_file.save(counts, tmp_path / "counts.npz")
    read = counts_file.load(tmp_path / "counts.npz")
    assert {key for key in _all(read) if not key.startswith("support/")} == set()
    assert intervals.bootstrap(read, catalog.get(word)) is None


@pytest.mark.parametrize("word", [*SEMANTIC, *INSTANCE, *MULTILABEL])
def test_resampled_figures_are_those_of_the_images_drawn(word: str) -> None:
    metric = catalog.get(word)
    counts = counts_of(word)
    weights = Resampling(6, seed=3).weights(len(counts))
    weights[0], weights[1] = 1, 0
    for key in metric.figures(counts, CLASSES):
        values = intervals.resampled(counts, metric, weights, key=key, classes=CLASSES)
        for row, value in zip(weights, values, strict=True):
            drawn = counts.select(np.repeat(np.arange(len(counts)), row))
            assert value == pytest.approx(metric.figures(drawn, CLASSES).get(key, np.nan), abs=1e-9, nan_ok=True), key


def test_resamples_hold_as_many_images_as_there_are_and_follow_the_seed() -> None:
    weights = Resampling(200, seed=1).weights(50)
    assert weights.shape == (200, 50)
    assert (weights.sum(axis=1) == 50).all()
    np.testing.assert_array_equal(weights, Resampling(200, seed=1).weights(50))
    assert (weights != Resampling(200, seed=2).weights(50)).any()
    assert weights.mean(axis=0) == pytest.approx(np.ones(50), abs=0.4)


@pytest.mark.parametrize("word", ["iou", "mask_ap", "label_iou"])
def test_the_interval_holds_the_figure_and_shrinks_with_more_images(word: str) -> None:
    metric = catalog.get(word)
    widths = []
    for images in (20, 320):
        counts = counts_of(word, images)
        interval = intervals.bootstrap(counts, metric, Resampling(300))
        assert interval is not None and metric.headline is not None
        assert interval.low < metric.figures(counts, CLASSES)[metric.headline] < interval.high
        assert interval == intervals.bootstrap(counts, metric, Resampling(300))
        widths.append(interval.high - interval.low)
    assert widths[1] < widths[0] / 2
    assert intervals.bootstrap(counts_of(word, 1), metric) is None


def test_intervals_stand_beside_each_headline() -> None:
    found = intervals.intervals(pixel_counts(), [catalog.get(word) for word in ("iou", "dice", "class_support")], Resampling(50))
    assert set(found) == {"miou_low", "miou_high", "mdice_low", "mdice_high"}
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("word", ["iou", "mask_ap", "label_iou"])
def test_a_model_compared_with_itself_does_not_differ(word: str) -> None:
    counts = counts_of(word)
    comparison = paired(counts, counts, catalog.get(word), Resampling(50))
    assert comparison is not None
    assert (comparison.difference, comparison.low, comparison.high, comparison.images, comparison.needed_images) == (0, 0, 0, 12, None)


def test_a_pair_tells_more_than_two_intervals() -> None:
    """Every image is a little better: the figures wander with the images, their difference hardly does."""
    random = np.random.default_rng(0)
    records: tuple[dict[int, tuple[str, dict]], ...] = ({}, {})  # type: ignore[type-arg]
    for i in range(40):
        right = int(random.integers(100, 900))
        for better, target in zip((5, 0), records, strict=True):
            matrix = np.diag([right + better, 0, 0])
            matrix[0, 1] = 1000 - right - better
            target[i] = (f"image{i}", PixelCounts.record(matrix))
    better_one, other = (PixelCounts.of(record, NAMES) for record in records)
    metric = catalog.get("pixel_accuracy")
    comparison = paired(better_one, other, metric)
    interval = intervals.bootstrap(other, metric)
    assert comparison is not None and interval is not None
    assert comparison.difference == pytest.approx(0.005)
    assert comparison.low == pytest.approx(0.005) and comparison.high == pytest.approx(0.005)
    assert interval.high - interval.low > 0.05


def test_how_many_images_would_be_needed() -> None:
    metric = catalog.get("iou")
    one, other = pixel_counts(20, 1, quality=0.72), pixel_counts(20, 2, quality=0.7)
    comparison = paired(one, other, metric, Resampling(400))
    assert comparison is not None and comparison.low < 0 < comparison.high and comparison.difference != 0
    reach = comparison.difference - comparison.low if comparison.difference > 0 else comparison.high - comparison.difference
    assert comparison.needed_images == int(np.ceil(20 * (reach / comparison.difference) ** 2))
    assert comparison.needed_images > 20
    shown = paired(one, other, metric, Resampling(400), margin=1.0)
    assert shown is not None and shown.needed_images is None
    assert paired(one.select([0]), other.select([0]), metric) is None


def test_an_unknown_metric_is_told_with_the_nearest_names() -> None:
    with pytest.raises(ParametersError, match=r"There is no metric 'mask_app'.*mask_ap"):
        catalog.get("mask_app")
    for word in catalog.METRICS:
        assert catalog.get(word).counts == ("pixels" if word in SEMANTIC else "labels" if word in MULTILABEL else "detections")


def test_a_thousand_images_take_no_time_to_speak_of() -> None:
    counts = pixel_counts(1000)
    start = time.process_time()
    intervals.bootstrap(counts, catalog.get("iou"))
    assert time.process_time() - start < 5  # far below one second on a quiet machine


def test_an_empty_image_that_is_rightly_called_empty_counts_as_right() -> None:
    nothing, ignored = np.zeros((3, 4, 5), np.uint8), np.full((3, 4, 5), IGNORE, np.uint8)
    none, one = np.zeros((3, 4, 5), np.bool_), np.zeros((3, 4, 5), np.bool_)
    one[1, 2, 3] = True
    records = {i: (f"image{i}", LabelCounts.record(truth, found)) for i, (truth, found) in enumerate([(nothing, none), (nothing, one), (ignored, one)])}
    counts = LabelCounts.of(records, NAMES)
    for word, key in (("label_iou_per_image", "miou_per_image"), ("label_dice_per_image", "mdice_per_image")):
        metric = catalog.get(word)
        assert figures(counts, [metric], CLASSES)[key] == 0.5, "the ignored image takes no part"
        weights = np.array([[1, 1, 1], [3, 1, 0], [0, 0, 1]])
        values = metric.resampled(counts, weights, key, CLASSES)
        assert values is not None
        np.testing.assert_array_equal(values, [0.5, 0.75, np.nan])
