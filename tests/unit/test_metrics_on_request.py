"""Metrics that are counted on request: against other libraries, the plain definitions of their papers, and examples that can be told by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score
from torchmetrics.classification import MulticlassCalibrationError
from torchmetrics.detection import PanopticQuality

from segline.data.store import IGNORE, Instances, Sample
from segline.errors import ModelError
from segline.metrics import catalog, counts_file, intervals
from segline.metrics.details import wanted
from segline.metrics.figures import figures
from segline.metrics.instance import InstanceScorer
from segline.metrics.intervals import Resampling
from segline.metrics.pixel_counts import PixelCounts
from segline.metrics.semantic import SemanticScorer
from segline_runtime.predictions import InstancePrediction, SemanticPrediction
from segline_runtime.specification import ClassInfo

Ids = NDArray[np.uint8]
PIXELS = ("boundary_iou", "boundary_f1", "ece", "thresholds", "stuff_pq", "dice_per_image")
OBJECTS = ("pq", "mask_voc_ap", "box_voc_ap")


def _classes(count: int) -> list[ClassInfo]:
    return [ClassInfo(i, f"class;{i}", (i, i, i), i > 0) for i in range(count)]


def _sample(mask: Ids, index: int = 0) -> Sample:
    return Sample(index, f"image{index}", np.zeros((*mask.shape, 3), np.uint8), mask, None)


def _blobs(random: np.random.Generator, size: tuple[int, int], classes: int) -> tuple[Ids, SemanticPrediction]:
    """Smooth regions as truth, and a prediction that is like it and not too sure."""
    noise = ndimage.gaussian_filter(random.normal(size=(classes, *size)), (0, 3, 3))
    truth = noise.argmax(axis=0).astype(np.uint8)
    logits = 25 * (noise + 0.7 * ndimage.gaussian_filter(random.normal(size=(classes, *size)), (0, 3, 3)))
    shares = np.exp(logits - logits.max(axis=0))
    shares = (shares / shares.sum(axis=0)).astype(np.float32)
    truth[random.random(size) < 0.05] = IGNORE
    return truth, SemanticPrediction(shares.argmax(axis=0).astype(np.uint8), shares)


def _pairs(classes: int, *, images: int = 5, seed: int = 0) -> list[tuple[Ids, SemanticPrediction]]:
    random = np.random.default_rng(seed)
    return [_blobs(random, (int(random.integers(30, 60)), int(random.integers(30, 60))), classes) for _ in range(images)]


def _counts(pairs: Sequence[tuple[Ids, SemanticPrediction]], classes: int, words: Sequence[str] = PIXELS) -> PixelCounts:
    scorer = SemanticScorer(_classes(classes), wanted([catalog.get(word) for word in words]))
    for i, (truth, prediction) in enumerate(pairs):
        scorer.add(prediction, _sample(truth, i))
    return scorer.counts()


def _figures(word: str, counts: Any) -> dict[str, float]:
    return figures(counts, [catalog.get(word)], _classes(len(counts.classes)))


def test_boundary_iou_is_that_of_eroded_masks() -> None:
    pairs = _pairs(4)
    both, either = np.zeros(4), np.zeros(4)
    for truth, prediction in pairs:
        width, ignored = max(1, round(0.02 * math.hypot(*truth.shape))), truth == IGNORE
        for k in range(4):
            true, found = (
                (ids == k) & ~ndimage.binary_erosion((ids == k) | ignored, np.ones((3, 3)), iterations=width) & ~ignored
                for ids in (truth, prediction.class_ids)
            )
            both[k] += (true & found).sum()
            either[k] += (true | found).sum()
    found_figures = _figures("boundary_iou", _counts(pairs, 4))
    assert found_figures["boundary_iou"] == pytest.approx((both / either).mean())
    assert found_figures["boundary_iou/class_2"] == pytest.approx(both[2] / either[2])


def test_boundary_f1_is_that_of_points_and_distances() -> None:
    pairs = _pairs(3, images=3)
    scores = []
    for truth, prediction in pairs:
        apart, ignored, of_image = max(1, 0.0075 * math.hypot(*truth.shape)), truth == IGNORE, []
        for k in range(3):
            true, found = (
                np.argwhere((ids == k) & ~ndimage.binary_erosion((ids == k) | ignored, border_value=1) & ~ignored) for ids in (truth, prediction.class_ids)
            )
            distances = np.linalg.norm(true[:, None] - found, axis=-1)
            recall, precision = (distances.min(axis=1) <= apart).mean(), (distances.min(axis=0) <= apart).mean()
            of_image.append(2 * recall * precision / (recall + precision))
        scores.append(np.mean(of_image))
    assert _figures("boundary_f1", _counts(pairs, 3))["boundary_f1"] == pytest.approx(np.mean(scores))


def test_contours_one_pixel_beside_agree_and_boundaries_do_not() -> None:
    truth = np.zeros((60, 60), np.uint8)
    truth[20:40, 20:40] = 1
    counts = _counts([(truth, SemanticPrediction(np.roll(truth, 1, 0)))], 2, ("boundary_iou", "boundary_f1"))
    assert _figures("boundary_f1", counts)["boundary_f1"] == 1
    assert _figures("boundary_iou", counts)["boundary_iou/class_1"] < 0.75
    same = _counts([(truth, SemanticPrediction(truth))], 2, ("boundary_iou", "boundary_f1"))
    assert _figures("boundary_f1", same) == {"boundary_f1": 1, "boundary_f1/class_0": 1, "boundary_f1/class_1": 1}
    assert set(_figures("boundary_iou", same).values()) == {1.0}


def test_a_class_without_a_contour_takes_no_part_and_one_that_is_missed_counts() -> None:
    empty = np.zeros((20, 20), np.uint8)
    half = empty.copy()
    half[:, 10:] = 1
    of_empty = _figures("boundary_f1", _counts([(empty, SemanticPrediction(empty))], 2, ("boundary_f1",)))
    assert of_empty == {}
    missed = _figures("boundary_f1", _counts([(half, SemanticPrediction(empty))], 2, ("boundary_f1",)))
    assert missed == {"boundary_f1": 0, "boundary_f1/class_0": 0, "boundary_f1/class_1": 0}


@pytest.mark.parametrize("classes", [2, 5])
def test_calibration_agrees_with_torchmetrics(classes: int) -> None:
    pairs = _pairs(classes)
    reference = MulticlassCalibrationError(classes, n_bins=15, norm="l1")
    for truth, prediction in pairs:
        scored = truth != IGNORE
        assert prediction.probabilities is not None
        reference.update(torch.from_numpy(prediction.probabilities[:, scored].T), torch.from_numpy(truth[scored].astype(np.int64)))
    assert _figures("ece", _counts(pairs, classes))["ece"] == pytest.approx(reference.compute().item(), abs=1e-6)


def test_a_model_that_is_half_sure_and_always_right_is_off_by_half() -> None:
    truth = np.zeros((4, 4), np.uint8)
    even = np.full((2, 4, 4), 0.5, np.float32)
    assert _figures("ece", _counts([(truth, SemanticPrediction(truth, even))], 2, ("ece",))) == {"ece": 0.5}


def test_thresholds_are_those_of_scikit_learn_and_the_best_has_no_better() -> None:
    pairs = _pairs(2)
    truth = np.concatenate([t[t != IGNORE] for t, _ in pairs])
    shares = np.concatenate([p.probabilities[1][t != IGNORE] for t, p in pairs if p.probabilities is not None])
    found = _figures("thresholds", _counts(pairs, 2))
    predicted = shares >= np.float32(found["best_threshold"])
    for word, score in (("iou", jaccard_score), ("dice", f1_score), ("precision", precision_score), ("recall", recall_score)):
        assert found[f"best_threshold_{word}"] == pytest.approx(score(truth, predicted)), word
    others = [f1_score(truth, shares >= np.float32(t)) for t in np.linspace(0, 1, 101)]
    assert found["best_threshold_dice"] == pytest.approx(max(others))


def test_thresholds_of_other_than_two_classes_and_of_nothing_have_no_figures(tmp_path: Path) -> None:
    metric = catalog.get("thresholds")
    for counts in (_counts(_pairs(3, images=2), 3), _counts([], 2)):
        assert _figures("thresholds", counts) == {}
        assert intervals.bootstrap(counts, metric, Resampling(100)) is None
        metric.write_plots(counts, _classes(len(counts.classes)), tmp_path)  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []
    nothing = np.zeros((4, 4), np.uint8)
    sure = np.stack([np.ones((4, 4), np.float32), np.zeros((4, 4), np.float32)])
    found = _figures("thresholds", _counts([(nothing, SemanticPrediction(nothing, sure))], 2, ("thresholds",)))
    assert found["best_threshold_iou"] == 0, "what there is not is found at the threshold 0 alone, and wrongly"


def test_mean_dice_of_images() -> None:
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    pairs = [(truth, SemanticPrediction(truth)), (truth, SemanticPrediction(np.array([[0, 0, 0, 1]], np.uint8)))]
    assert _figures("dice_per_image", _counts(pairs, 2, ()))["mdice_per_image"] == pytest.approx((1 + (4 / 5 + 2 / 3) / 2) / 2)


def test_stuff_is_one_segment_in_an_image() -> None:
    truth = np.array([[0, 0, 1, 1, 1]], np.uint8)
    pairs = [(truth, SemanticPrediction(truth)), (truth, SemanticPrediction(np.array([[0, 0, 0, 0, 1]], np.uint8)))]
    found = _figures("stuff_pq", _counts(pairs, 3, ()))
    # Of class 0 the IoU is 1 and then 1/2, which is not above ½; of class 1 it is 1 and 1/3.
    assert found == {"stuff_pq": 0.5, "stuff_pq/class_0": 0.5, "stuff_pq/class_1": 0.5}


def _segment_maps(random: np.random.Generator, size: int = 40) -> tuple[Any, Any]:
    """Rectangles that do not overlap, as maps of class and number `(H, W, 2)`; the second is the first, moved, with some lost."""
    maps = np.zeros((2, size, size, 2), np.int64)
    for number in range(1, 8):
        top, left = (int(v) for v in random.integers(0, size - 12, 2))
        height, width = (int(v) for v in random.integers(4, 12, 2))
        label = int(random.integers(1, 3))
        for of, shift in ((0, 0), (1, int(random.integers(0, 3)))):
            if of and random.random() < 0.2:
                continue
            region = maps[of, top + shift : top + shift + height, left : left + width]
            region[region[..., 0] == 0] = (label, number)
    return maps[0], maps[1]


def _objects(segments: Any) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    names = [tuple(name) for name in np.unique(segments.reshape(-1, 2), axis=0).tolist() if name[0]]
    masks = np.array([(segments == name).all(axis=-1) for name in names], np.bool_).reshape(-1, *segments.shape[:2])
    return masks, np.array([label for label, _ in names], np.int64)


def _boxes(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    found = [(c.min(), r.min(), c.max() + 1, r.max() + 1) if len(r) else (0, 0, 0, 0) for r, c in map(np.nonzero, masks)]
    return np.array(found, np.float32).reshape(-1, 4)


def _truth(masks: NDArray[np.bool_], labels: Any, crowd: Any = None, index: int = 0) -> Sample:
    crowds = np.zeros(len(masks), np.bool_) if crowd is None else np.array(crowd, np.bool_)
    objects = Instances(masks, _boxes(masks), np.array(labels, np.int64), crowds)
    return Sample(index, f"image{index}", np.zeros((*masks.shape[1:], 3), np.uint8), None, objects)


def _found(masks: NDArray[np.bool_], labels: Any, scores: Any = None) -> InstancePrediction:
    given = np.full(len(masks), 0.9, np.float32) if scores is None else np.array(scores, np.float32)
    return InstancePrediction(given, np.array(labels, np.int64), _boxes(masks), masks)


def _instance_scorer(classes: int = 3) -> InstanceScorer:
    return InstanceScorer(_classes(classes), wanted([catalog.get(word) for word in OBJECTS]))


def test_panoptic_quality_agrees_with_torchmetrics() -> None:
    random = np.random.default_rng(3)
    reference = PanopticQuality(things={1, 2}, stuffs={0}, return_sq_and_rq=True, return_per_class=True)
    scorer = _instance_scorer()
    for i in range(6):
        true, predicted = _segment_maps(random)
        reference.update(torch.from_numpy(predicted[None]), torch.from_numpy(true[None]))
        scorer.add(_found(*_objects(predicted)), _truth(*_objects(true), index=i))
    found = _figures("pq", scorer.counts())
    theirs = dict(zip([*reference.things, *reference.stuffs], np.atleast_2d(reference.compute().numpy().squeeze()), strict=True))
    assert [found["pq/class_1"], found["pq/class_2"]] == pytest.approx([theirs[1][0], theirs[2][0]])
    assert [found["pq"], found["sq"], found["rq"]] == pytest.approx(np.mean([theirs[1], theirs[2]], axis=0).tolist())


def _squares(*corners: tuple[int, int, int]) -> NDArray[np.bool_]:
    masks = np.zeros((len(corners), 60, 80), np.bool_)
    for mask, (top, left, side) in zip(masks, corners, strict=True):
        mask[top : top + side, left : left + side] = True
    return masks


def test_segments_do_not_overlap_and_crowds_forgive() -> None:
    true = _squares((0, 0, 10), (30, 30, 20))
    masks = _squares((0, 0, 10), (0, 1, 10), (30, 30, 20), (32, 34, 8), (5, 60, 10), (50, 70, 5))
    scores = [0.9, 0.8, 0.9, 0.7, 0.9, 0.4]  # the second loses most of its pixels to the first, the fourth lies in a crowd, the last is not confident
    scorer = _instance_scorer()
    scorer.add(_found(masks, [1, 1, 2, 1, 1, 1], scores), _truth(np.concatenate([true, _squares((30, 30, 20))]), [1, 1, 1], [False, False, True]))
    # Class 1: one found, one missed (what covers it is of class 2), one invented; class 2: one wrong.
    found = _figures("pq", scorer.counts())
    assert found["pq/class_1"] == pytest.approx(1 / (1 + 0.5 + 0.5))
    assert (found["pq/class_2"], found["pq"], found["sq"]) == (0, pytest.approx(0.25), 0.5)


def test_voc_by_hand() -> None:
    masks = _squares((5, 5, 10), (30, 40, 12), (5, 60, 10))
    scorer = _instance_scorer()
    scorer.add(_found(masks[[0, 2, 1]], [1, 1, 1], [0.9, 0.8, 0.7]), _truth(masks[:2], [1, 1]))
    expected = (6 + 5 * 2 / 3) / 11
    assert expected == pytest.approx(0.8485, abs=5e-5)
    for kind in ("mask", "box"):
        assert _figures(f"{kind}_voc_ap", scorer.counts()) == {f"{kind}_voc_ap": pytest.approx(expected), f"{kind}_voc_ap/class_1": pytest.approx(expected)}


def _voc(hits: list[bool], to_find: int) -> float:
    """As VOC's development kit computes it of hits by falling score."""
    right = np.cumsum(hits)
    precision, recall = right / np.arange(1, len(hits) + 1), right / to_find
    return float(np.mean([max((p for p, r in zip(precision, recall, strict=True) if r > t - 1e-9), default=0) for t in np.linspace(0, 1, 11)]))


def test_voc_of_many_detections_is_that_of_the_definition() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        corners = [(6 * (i // 10), 8 * (i % 10), 5) for i in range(30)]
        true = _squares(*corners)
        chosen = random.permutation(30)[:20]
        scores = random.random(20)
        scorer = _instance_scorer()
        scorer.add(_found(true[chosen], [1] * 20, scores), _truth(true[:17], [1] * 17))
        ranked = chosen[np.argsort(-scores.astype(np.float32), kind="stable")]
        assert _figures("mask_voc_ap", scorer.counts())["mask_voc_ap"] == pytest.approx(_voc((ranked < 17).tolist(), 17))


def _of_objects(images: int = 7) -> Any:
    random = np.random.default_rng(5)
    scorer = _instance_scorer()
    for i in range(images):
        true, predicted = _segment_maps(random)
        masks, labels = _objects(predicted)
        scorer.add(_found(masks, labels, random.uniform(0.3, 1, len(labels)).round(1)), _truth(*_objects(true), index=i))
    return scorer.counts()


@pytest.mark.parametrize("word", [*PIXELS, *OBJECTS])
def test_resampled_figures_are_those_of_the_images_drawn(word: str) -> None:
    classes = 2 if word == "thresholds" else 3
    counts = _of_objects() if word in OBJECTS else _counts(_pairs(classes, images=6), classes)
    metric = catalog.get(word)
    weights = Resampling(6, seed=2).weights(len(counts))
    weights[0], weights[1] = 1, 0
    told = metric.figures(counts, _classes(classes))
    assert metric.headline in told
    for key in told:
        values = intervals.resampled(counts, metric, weights, key=key, classes=_classes(classes))
        for row, value in zip(weights, values, strict=True):
            drawn = counts.select(np.repeat(np.arange(len(counts)), row))
            assert value == pytest.approx(metric.figures(drawn, _classes(classes)).get(key, np.nan), abs=1e-9, nan_ok=True), key


@pytest.mark.parametrize("words", [PIXELS, OBJECTS], ids=["pixels", "objects"])
def test_what_was_asked_for_travels_in_the_file_and_what_was_not_is_no_figure(tmp_path: Path, words: tuple[str, ...]) -> None:
    counts: Any = _counts(_pairs(2), 2) if words is PIXELS else _of_objects()
    file = tmp_path / "counts.npz"
    counts_file.save(counts, file)
    read = counts_file.load(file)
    merged = type(counts).merge([counts.select([3, 4, 1]), counts.select([i for i in range(len(counts)) if i not in (1, 3)])])
    plain = _counts(_pairs(2), 2, ()) if words is PIXELS else InstanceScorer(_classes(3)).counts()
    for word in words:
        told = _figures(word, counts)
        assert told and _figures(word, read) == _figures(word, merged) == told
        assert bool(_figures(word, plain)) == (not wanted([catalog.get(word)]) and len(plain) > 0)
        if word == words[0]:
            assert intervals.bootstrap(plain, catalog.get(word), Resampling(100)) is None
    assert set(type(counts).on_request).isdisjoint(type(counts).merge([counts.select([0]), plain]).tables) or not len(plain)
    with np.load(file) as archive:
        arrays = dict(archive)
    for name in counts.on_request:
        column = "bin" if f"{name}.bin" in arrays else "label"
        np.savez(file, **{**arrays, f"{name}.{column}": arrays[f"{name}.{column}"] + 1000})
        with pytest.raises(ModelError, match="names a class or a bin that there is not"):
            counts_file.load(file)


def test_ignored_pixels_change_nothing_but_the_width() -> None:
    """What lies beyond a rim of ignored pixels is the image's own border."""
    truth, prediction = _blobs(np.random.default_rng(7), (40, 50), 3)
    truth[:, :10] = IGNORE
    assert prediction.probabilities is not None
    other = prediction.class_ids.copy()
    other[:, :10] = (other[:, :10] + 1) % 3
    shares = prediction.probabilities.copy()
    shares[:, :, :10] = shares[::-1, :, :10]
    first, second = (_counts([(truth, one)], 3) for one in (prediction, SemanticPrediction(other, shares)))
    for word in PIXELS:
        assert _figures(word, first) == _figures(word, second), word


@pytest.mark.parametrize(("word", "files"), [("ece", {"reliability.png", "reliability.csv"}), ("thresholds", {"thresholds.png", "thresholds.csv"})])
def test_pictures(tmp_path: Path, word: str, files: set[str]) -> None:
    metric: Any = catalog.get(word)
    metric.write_plots(_counts(_pairs(2), 2), _classes(2), tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == files
    for file in tmp_path.glob("*.png"):
        assert np.asarray(Image.open(file)).std() > 5
    for file in tmp_path.glob("*.csv"):
        assert len(file.read_text().splitlines()) > 5


@pytest.mark.parametrize("word", [*PIXELS, *OBJECTS])
def test_keys_are_taken_by_mlflow(word: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    counts = _of_objects() if word in OBJECTS else _counts(_pairs(2, images=2), 2)
    for key in _figures(word, counts):
        _validate_metric_name(key)
