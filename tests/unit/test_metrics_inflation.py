"""How much a figure owes to images that were seen before: against the figures of the parts, and what `evaluate` writes of it."""

from __future__ import annotations

import json

import factories
import numpy as np
import pytest

from segline.data.store import IGNORE, Sample
from segline.evaluation.evaluate import Evaluation, evaluate
from segline.evaluation.report import write_figures
from segline.metrics import catalog
from segline.metrics.inflation import inflation
from segline.metrics.intervals import Resampling, bootstrap
from segline.metrics.semantic import SemanticScorer
from segline_runtime.predictions import SemanticPrediction

MIOU = catalog.get("iou")
METRICS = [catalog.get(word) for word in ("iou", "dice", "class_support")]
NAMES = [f"image{i}" for i in range(40)]
SEEN = set(NAMES[::4])


def counted(good=0.95, poor=0.7):
    """A model that is better on the images that it has seen."""
    random = np.random.default_rng(0)
    scorer = SemanticScorer(factories.SQUARES)
    for i, name in enumerate(NAMES):
        truth = random.integers(0, 2, (20, 20)).astype(np.uint8)
        predicted = np.where(random.random(truth.shape) < (good if name in SEEN else poor), truth, 1 - truth).astype(np.uint8)
        scorer.add(SemanticPrediction(predicted), Sample(i, name, np.zeros((20, 20, 3), np.uint8), truth, None))
    return scorer


def test_figures_are_those_of_the_parts():
    counts = counted().counts()
    found = inflation(counts, MIOU, SEEN, Resampling(200))
    parts = [counts.select([i for i, name in enumerate(NAMES) if (name in SEEN) == seen]) for seen in (True, False)]
    seen, unseen, whole = (MIOU.figures(part, factories.SQUARES)["miou"] for part in (*parts, counts))
    assert (found.seen, found.unseen, found.whole) == pytest.approx((seen, unseen, whole), abs=1e-12)
    assert found.difference == pytest.approx(whole - unseen) and 0 < found.interval.low < found.difference < found.interval.high
    assert found.figures() == {
        "leaked_images": 10, "miou_leaked": found.seen, "miou_clean": found.unseen, "miou_inflation": found.difference,
        "miou_inflation_low": found.interval.low, "miou_inflation_high": found.interval.high,
    }  # fmt: skip
    assert found.sentence("test").startswith(
        f"10 of the 40 test images show what the model was trained or steered by: miou is {seen:.4f} on these and {unseen:.4f}"
    )
    assert (found.interval.high - found.interval.low) < 2 * (lambda i: i.high - i.low)(bootstrap(counts, MIOU, Resampling(200)))


def test_no_difference_is_told_as_none():
    found = inflation(counted(0.8, 0.8).counts(), MIOU, SEEN, Resampling(500))
    assert found.interval.low < 0 < found.interval.high and abs(found.difference) < 0.02


@pytest.mark.parametrize(("seen", "interval"), [(set(NAMES[:1]), False), (set(NAMES[:2]), True), (set(NAMES[:-1]), False), (set(NAMES), False)])
def test_few_images_have_no_interval(seen, interval):
    found = inflation(counted().counts(), MIOU, seen, Resampling(50))
    assert (found.interval is not None) == interval and found.seen_images == len(seen)
    if seen == set(NAMES):
        assert found.unseen is None and "so there is no figure of new images" in found.sentence("val") and "miou_clean" not in found.figures()


def test_images_that_were_not_scored_do_not_count():
    assert inflation(counted().counts(), MIOU, {"another"}) is None


def test_a_figure_that_is_undefined_is_left_out():
    scorer = SemanticScorer(factories.SQUARES)
    blank = np.full((4, 4), IGNORE, np.uint8)
    for i in range(3):
        scorer.add(SemanticPrediction(np.zeros((4, 4), np.uint8)), Sample(i, f"image{i}", np.zeros((4, 4, 3), np.uint8), blank, None))
    assert inflation(scorer.counts(), MIOU, {"image0"}) is None


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    return factories.squares_dataset(tmp_path_factory.mktemp("squares"), [(64, 96)] * 6).split("test", ["index"])


def written(evaluation: Evaluation, split, out, **keys):
    files = {"metrics_file": out / "metrics.json", "counts": out / "counts.npz"}
    found = write_figures(evaluation, metrics=METRICS, classes=factories.SQUARES, resamples=50, split=split, split_hash="abc", **files, **keys)
    content = json.loads((out / "metrics.json").read_text())
    assert {name: content[name] for name in found} == found
    return content


def test_evaluate_writes_it_where_there_are_leaks(squares, tmp_path, capsys):
    def bright(images):
        return [SemanticPrediction((image.mean(axis=2) > 125).astype(np.uint8)) for image in images]

    evaluation = evaluate(bright, squares, SemanticScorer(factories.SQUARES))
    plain = written(evaluation, squares, tmp_path)
    assert capsys.readouterr().err == "" and "leaks" not in plain
    assert written(evaluation, squares, tmp_path, leaked=["elsewhere"]) == plain, "what nobody leaked changes nothing"
    told = written(evaluation, squares, tmp_path, leaked=["image0", "image1"])
    assert {name: told[name] for name in plain} == plain
    assert told["leaked_images"] == 2 and {"miou_clean", "miou_leaked", "miou_inflation", "miou_inflation_low", "leaks"} <= told.keys()
    assert told["leaks"] in capsys.readouterr().err
