"""Semantic metrics against scikit-learn, torchmetrics and the worked examples of the field."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score, jaccard_score, zero_one_loss
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.segmentation import DiceScore

from segline.data.store import IGNORE, Sample
from segline.metrics import catalog, confusion
from segline.metrics.figures import figures as figures_of
from segline.metrics.iou import iou
from segline.metrics.names import class_keys
from segline.metrics.semantic import SemanticScorer
from segline_runtime.predictions import SemanticPrediction
from segline_runtime.specification import ClassInfo

METRICS = [catalog.get(word) for word in ("iou", "dice", "pixel_accuracy", "pixel_error", "class_accuracy", "fw_iou", "iou_per_image", "class_support")]


def _metrics(scorer: SemanticScorer) -> dict[str, float]:
    return figures_of(scorer.counts(), METRICS, scorer.classes)


def _classes(count: int) -> list[ClassInfo]:
    return [ClassInfo(i, f"class {i}", (i, i, i), i > 0) for i in range(count)]


def _sample(mask: NDArray[np.uint8], index: int = 0) -> Sample:
    return Sample(index, f"image{index}", np.zeros((*mask.shape, 3), np.uint8), mask, None)


def _case(seed: int, classes: int, *, used: int | None = None, ignored: float = 0.1, images: int = 4) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Pairs of truth and prediction of different sizes; only the classes below `used` occur in the truth."""
    random = np.random.default_rng(seed)
    pairs = []
    for _ in range(images):
        size = tuple(random.integers(3, 40, 2))
        truth = random.integers(0, used or classes, size).astype(np.uint8)
        predicted = np.where(random.random(size) < 0.6, truth, random.integers(0, classes, size)).astype(np.uint8)
        truth[random.random(size) < ignored] = IGNORE
        pairs.append((truth, predicted))
    return pairs


def _scored(pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]], classes: int, ids: Sequence[int] | None = None) -> SemanticScorer:
    scorer = SemanticScorer(_classes(classes))
    for i, (truth, predicted) in zip(ids if ids is not None else range(len(pairs)), pairs, strict=True):
        scorer.add(SemanticPrediction(predicted), _sample(truth, i))
    return scorer


def _pixels(pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    truth = np.concatenate([t.ravel() for t, _ in pairs])
    predicted = np.concatenate([p.ravel() for _, p in pairs])
    return truth[truth != IGNORE], predicted[truth != IGNORE]


GRID = [
    (seed, classes, used, ignored)
    for seed, (classes, used) in enumerate([(2, 2), (3, 2), (5, 5), (12, 7), (81, 80), (150, 150), (255, 3)])
    for ignored in (0.0, 0.3)
]


@pytest.mark.parametrize(("seed", "classes", "used", "ignored"), GRID)
def test_agrees_with_scikit_learn(seed: int, classes: int, used: int, ignored: float) -> None:
    pairs = _case(seed, classes, used=used, ignored=ignored)
    scorer = _scored(pairs, classes)
    figures = _metrics(scorer)
    truth, predicted = _pixels(pairs)
    labels = np.union1d(truth, predicted)

    np.testing.assert_array_equal(scorer.counts().confusion, confusion_matrix(truth, predicted, labels=range(classes)))
    assert figures["pixel_accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert figures["pixel_error"] == pytest.approx(zero_one_loss(truth, predicted))
    assert figures["miou"] == pytest.approx(jaccard_score(truth, predicted, labels=labels, average="macro"))
    assert figures["mdice"] == pytest.approx(f1_score(truth, predicted, labels=labels, average="macro"))
    assert figures["fw_iou"] == pytest.approx(jaccard_score(truth, predicted, labels=labels, average="weighted"))
    present = np.isin(predicted, truth)  # balanced_accuracy_score warns about predicted classes that have no truth
    recalls = [np.mean(predicted[truth == c] == c) for c in np.unique(truth)]
    assert figures["mean_class_accuracy"] == pytest.approx(np.mean(recalls))
    if present.all():
        assert figures["mean_class_accuracy"] == pytest.approx(balanced_accuracy_score(truth, predicted))
    for c, key in enumerate(class_keys(scorer.classes)):
        assert figures[f"support/{key}"] == np.sum(truth == c)
        assert (f"iou/{key}" in figures) == (c in labels)
    for c, class_iou, class_dice in zip(
        labels, jaccard_score(truth, predicted, labels=labels, average=None), f1_score(truth, predicted, labels=labels, average=None), strict=True
    ):
        assert figures[f"iou/class_{c}"] == pytest.approx(class_iou)
        assert figures[f"dice/class_{c}"] == pytest.approx(class_dice)


@pytest.mark.parametrize(("classes", "ignored"), [(2, 0.0), (5, 0.2), (21, 0.2)])
def test_agrees_with_torchmetrics(classes: int, ignored: float) -> None:
    pairs = _case(classes, classes, ignored=ignored)
    figures = _metrics(_scored(pairs, classes))
    jaccard = MulticlassJaccardIndex(classes, average="macro", ignore_index=IGNORE)
    for truth, predicted in pairs:
        jaccard.update(torch.from_numpy(predicted[None].astype(np.int64)), torch.from_numpy(truth[None].astype(np.int64)))
    assert figures["miou"] == pytest.approx(jaccard.compute().item(), abs=1e-6)

    truth, predicted = _pixels(pairs)
    dice = DiceScore(classes, include_background=True, average="macro", input_format="index")
    dice.update(torch.from_numpy(predicted[None, None].astype(np.int64)), torch.from_numpy(truth[None, None].astype(np.int64)))
    assert figures["mdice"] == pytest.approx(dice.compute().item(), abs=1e-6)


def test_ship_on_the_sea() -> None:
    truth = np.zeros((10, 10), np.uint8)
    truth[0, :5] = 1
    scorer = SemanticScorer([ClassInfo(0, "background", (0, 0, 0), False), ClassInfo(1, "ship", (255, 0, 0), True)])
    scorer.add(SemanticPrediction(np.zeros((10, 10), np.uint8)), _sample(truth))
    figures = _metrics(scorer)
    assert figures["pixel_accuracy"] == 0.95
    assert figures["iou/ship"] == 0
    assert figures["iou/background"] == 0.95
    assert figures["miou"] == 0.475
    assert figures["dice/background"] == pytest.approx(190 / 195)
    assert figures["mdice"] == pytest.approx(0.487, abs=5e-4)


def test_class_absent_from_truth_and_prediction_takes_no_part() -> None:
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    scorer = _scored([(truth, truth)], 3)
    figures = _metrics(scorer)
    assert figures["miou"] == 1
    assert figures["support/class_2"] == 0
    assert "iou/class_2" not in figures


def test_class_absent_from_truth_but_predicted_counts_as_zero() -> None:
    figures = _metrics(_scored([(np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 0, 1, 2]], np.uint8))], 3))
    assert figures["iou/class_2"] == 0
    assert figures["dice/class_2"] == 0
    assert figures["support/class_2"] == 0
    assert figures["miou"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert figures["mean_class_accuracy"] == pytest.approx((1 + 0.5) / 2)


def test_ignored_pixels_change_nothing() -> None:
    pairs = _case(1, 4, ignored=0.0)
    before = _metrics(_scored(pairs, 4))
    framed = [(np.pad(t, 5, constant_values=IGNORE), np.pad(p, 5, constant_values=3)) for t, p in pairs]
    assert _metrics(_scored(framed, 4)) == before


def test_nothing_scored_gives_figures_that_json_can_say() -> None:
    for pairs in ([], [(np.full((4, 4), IGNORE, np.uint8), np.zeros((4, 4), np.uint8))]):
        figures = _metrics(_scored(pairs, 3))
        assert set(figures) == {"support/class_0", "support/class_1", "support/class_2"}
        json.dumps(figures, allow_nan=False)


def test_image_score_is_its_own_mean_iou() -> None:
    scorer = SemanticScorer(_classes(4))
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    scores = [scorer.add(SemanticPrediction(p), _sample(truth, i)) for i, p in enumerate((truth, np.array([[0, 0, 0, 1]], np.uint8)))]
    assert scores == [1, pytest.approx((2 / 3 + 1 / 2) / 2)]
    assert _metrics(scorer)["miou_per_image"] == pytest.approx(np.mean(scores))
    assert _metrics(scorer)["miou"] == pytest.approx((4 / 5 + 3 / 4) / 2)


def test_parts_merged_in_any_order_equal_the_whole() -> None:
    pairs = _case(3, 6, images=9)
    whole = _metrics(_scored(pairs, 6))
    every = list(range(9))
    for first, second in ((every[:4], every[4:]), (every[4:], every[:4]), (every, []), (every[::-2], every[-2::-2]), (every, every[:3])):
        merged, other = (_scored([pairs[i] for i in ids], 6, ids) for ids in (first, second))
        before = _metrics(other)
        merged.merge(other.state())
        assert _metrics(merged) == whole
        assert _metrics(other) == before


def test_mistakes_of_the_caller_are_refused() -> None:
    zeros = np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match="same size"):
        confusion.count(zeros, np.zeros((3, 2), np.uint8), 2)
    with pytest.raises(ValueError, match="prediction holds the value 2"):
        confusion.count(zeros, zeros + 2, 2)
    with pytest.raises(ValueError, match=r"truth holds the values \[7\]"):
        confusion.count(zeros + 7, zeros, 2)


def test_class_keys_are_safe_and_different() -> None:
    names = ["road", "screen;silver screen", "a b", "a_b", "a;b", "a_b_4", ";", "Straße", "T-shirt", "x__y"]
    keys = class_keys([ClassInfo(i, name, (0, 0, 0), True) for i, name in enumerate(names)])
    assert keys == ("road", "screen_silver_screen", "a_b", "a_b_3", "a_b_4", "a_b_4_5", "class_6", "Straße", "T-shirt", "x_y")


def test_keys_are_taken_by_mlflow() -> None:
    from mlflow.utils.validation import _validate_metric_name

    classes = [ClassInfo(0, "building;edifice", (0, 0, 0), True), ClassInfo(1, 'é/ü?*"', (0, 0, 0), True)]
    scorer = SemanticScorer(classes)
    truth = np.array([[0, 1]], np.uint8)
    scorer.add(SemanticPrediction(truth), _sample(truth))
    for key in _metrics(scorer):
        _validate_metric_name(key)


@pytest.mark.parametrize("classes", [2, 81])
def test_plots_hold_the_counts(tmp_path: Path, classes: int) -> None:
    scorer = _scored(_case(5, classes, used=classes - 1), classes)
    scorer.write_plots(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"confusion_matrix.png", "confusion_matrix.csv", "classes.csv", "classes.png"}
    with (tmp_path / "confusion_matrix.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    pixels = [int(row["pixels"]) for row in rows]
    assert sum(pixels) == scorer.counts().confusion.sum()
    assert pixels == sorted(pixels, reverse=True)
    assert {(row["truth"], row["predicted"]): int(row["pixels"]) for row in rows} == {
        (f"class {i}", f"class {j}"): scorer.counts().confusion[i, j] for i in range(classes) for j in range(classes)
    }
    with (tmp_path / "classes.csv").open() as stream:
        table = {row["class"]: row for row in csv.DictReader(stream)}
    for key, value in zip(class_keys(scorer.classes), iou(scorer.counts().pooled()), strict=True):
        cell = table[key.replace("_", " ")]["iou"]
        assert cell == "" if math.isnan(value) else float(cell) == value
    for file in tmp_path.glob("*.png"):
        assert np.asarray(Image.open(file)).std() > 5
