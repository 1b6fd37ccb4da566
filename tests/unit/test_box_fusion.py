"""Weighted boxes fusion: its rule by hand and against plain loops, and a model made of two detectors on its way through the line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
import test_composition as composition
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from segline.data.store import PreparedDataset
from segline.evaluation.stage import evaluate_model
from segline.evaluation.trained import load
from segline.export.stage import export
from segline.layout import ModelFolder
from segline.models import catalog
from segline.plan.plans import TrainPlan
from segline_runtime.errors import InputError
from segline_runtime.fusion import fused
from segline_runtime.instance import InstancePrediction
from segline_runtime.predictor import Predictor
from segline_runtime.specification import Fusion, Specification

EQUAL = Fusion((0.5, 0.5), 0.55, 100)


def outputs(*rows: tuple[int, int, float, Sequence[float]]) -> dict[str, NDArray[Any]]:
    """Detections as (detector, label, score, box); each mask's grid is filled with its score."""
    return {
        "members": np.array([row[0] for row in rows], np.int64),
        "labels": np.array([row[1] for row in rows], np.int64),
        "scores": np.array([row[2] for row in rows], np.float32),
        "boxes": np.array([row[3] for row in rows], np.float32).reshape(-1, 4),
        "masks": np.array([np.full((3, 3), row[2]) for row in rows], np.float32).reshape(-1, 3, 3),
    }


class TestRule:
    def test_a_box_is_the_mean_weighted_by_score_and_so_is_its_mask(self) -> None:
        found = fused(outputs((0, 1, 0.9, [0, 0, 10, 10]), (1, 1, 0.3, [0, 0, 10, 14])), EQUAL)
        np.testing.assert_allclose(found["boxes"], [[0, 0, 10, 11]], rtol=1e-6)
        np.testing.assert_allclose(found["scores"], [0.6], rtol=1e-6)
        np.testing.assert_allclose(found["masks"][0], (0.9 * 0.9 + 0.3 * 0.3) / 1.2, rtol=1e-6)

    def test_what_one_of_two_detectors_found_counts_half(self) -> None:
        found = fused(outputs((1, 1, 0.8, [0, 0, 10, 10])), EQUAL)
        np.testing.assert_allclose(found["scores"], [0.4], rtol=1e-6)
        np.testing.assert_array_equal(found["boxes"], [[0, 0, 10, 10]])

    def test_a_detector_of_thrice_the_weight_pulls_thrice_as_much(self) -> None:
        found = fused(outputs((0, 1, 0.4, [0, 0, 10, 10]), (1, 1, 0.4, [0, 0, 10, 14])), Fusion((0.75, 0.25), 0.55, 100))
        np.testing.assert_allclose(found["boxes"], [[0, 0, 10, 11]], rtol=1e-6)
        np.testing.assert_allclose(found["scores"], [0.4], rtol=1e-6)
        alone = fused(outputs((0, 1, 0.4, [0, 0, 10, 10])), Fusion((0.75, 0.25), 0.55, 100))
        np.testing.assert_allclose(alone["scores"], [0.3], rtol=1e-6)

    def test_a_detection_is_compared_with_the_mean_so_far(self) -> None:
        """The third overlaps the first by no more than 0.55, and the mean of the first two by more."""
        rows = [(0, 1, 0.9, [0, 0, 10, 10]), (1, 1, 0.8, [0, 0, 10, 15]), (0, 1, 0.1, [0, 0, 10, 18.5])]
        assert len(fused(outputs(*rows), EQUAL)["boxes"]) == 1
        assert len(fused(outputs(rows[0], rows[2]), EQUAL)["boxes"]) == 2

    def test_classes_are_apart_and_the_best_are_kept(self) -> None:
        rows = [(0, 1, 0.2, [0, 0, 10, 10]), (1, 2, 0.9, [0, 0, 10, 10]), (1, 1, 0.6, [50, 50, 60, 60])]
        found = fused(outputs(*rows), EQUAL)
        assert found["labels"].tolist() == [2, 1, 1]
        assert fused(outputs(*rows), Fusion((0.5, 0.5), 0.55, 2))["labels"].tolist() == [2, 1]

    def test_two_that_say_the_same_say_what_one_says(self) -> None:
        one = [(0, 1, 0.9, [0, 0, 10, 10]), (0, 1, 0.7, [30, 5, 42, 25]), (0, 2, 0.2, [3, 3, 9, 12])]
        found = fused(outputs(*one, *((1, *row[1:]) for row in one)), EQUAL)
        expected = outputs(*one)
        for name in ("boxes", "labels", "scores", "masks"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)

    def test_nothing_and_no_score_at_all(self) -> None:
        nothing = fused(outputs(), EQUAL)
        assert {name: value.shape for name, value in nothing.items()} == {"boxes": (0, 4), "labels": (0,), "scores": (0,), "masks": (0, 3, 3)}
        found = fused(outputs((0, 1, 0.0, [0, 0, 10, 10]), (1, 1, 0.0, [0, 0, 10, 14]), (0, 1, 0.0, [5, 5, 5, 5])), EQUAL)
        assert np.isfinite(found["boxes"]).all() and found["scores"].tolist() == [0, 0]

    @pytest.mark.parametrize("seed", range(20))
    def test_as_plain_loops_have_it(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        rows = []
        for _ in range(40):
            left, top = random.integers(0, 30, 2)
            width, height = random.integers(5, 30, 2)
            rows.append((int(random.integers(3)), int(random.integers(1, 3)), float(random.random()), [left, top, left + width, top + height]))
        settings = Fusion((0.5, 0.3, 0.2), 0.4, 1000)
        expected = sorted(_plainly(rows, settings), key=lambda one: -one[0])
        found = fused(outputs(*rows), settings)
        np.testing.assert_allclose(found["scores"], [score for score, _ in expected], rtol=1e-4)
        np.testing.assert_allclose(found["boxes"], [box for _, box in expected], rtol=1e-4)


def _plainly(rows: list[tuple[int, int, float, list[float]]], settings: Fusion) -> list[tuple[float, list[float]]]:
    """The paper's steps, one number after another → score and box of each object."""
    count = len(settings.weights)
    objects: list[dict[str, Any]] = []
    for member, label, score, box in sorted(rows, key=lambda row: -row[2] * settings.weights[row[0]]):
        weight = settings.weights[member] * count
        best, chosen = settings.iou, None
        for one in objects:
            overlap = _iou(one["box"], box)
            if one["label"] == label and overlap > best:
                best, chosen = overlap, one
        if chosen is None:
            chosen = {"label": label, "parts": []}
            objects.append(chosen)
        chosen["parts"].append((weight, score, box))
        total = sum(w * s for w, s, _ in chosen["parts"])
        chosen["box"] = [sum(w * s * b[i] for w, s, b in chosen["parts"]) / total for i in range(4)]
    found = []
    for one in objects:
        heard = sum(w for w, _, _ in one["parts"])
        found.append((sum(w * s for w, s, _ in one["parts"]) / heard * min(heard, count) / count, one["box"]))
    return found


def _iou(a: Sequence[float], b: Sequence[float]) -> float:
    both = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


NARROW = factories.SMALL["maskrcnn"] | {"fpn_channels": 16}
MODELS: dict[str, dict[str, Any]] = {
    "a": NARROW,
    "b": NARROW | {"input": {"size": [48, 80], "fit": "letterbox", "mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]}},
    "both": {"arch": "box_fusion", "of": ["a", "b"], "weights": [3, 1], "predict": {"max_detections": 7}},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return factories.shapes_dataset(tmp_path_factory.mktemp("shapes"), train=2, val=1, test=2, size=(48, 80))


@pytest.mark.slow
def test_it_is_made_scored_exported_and_proved(dataset: PreparedDataset, tmp_path: Path) -> None:
    found = composition.planned(dataset, MODELS)
    for number, name in enumerate(("a", "b")):
        plan = found[name].train
        assert isinstance(plan, TrainPlan)
        factories.untrained(ModelFolder(tmp_path / name), plan, dataset)
        composition.shaken(ModelFolder(tmp_path / name), number)
    folder = composition.made("both", found, dataset, tmp_path)
    evaluate_model(found["both"].evaluate, folder, dataset, accelerator="cpu", progress=False)
    export(found["both"].export, folder, dataset, progress=False)
    predictor = Predictor(folder.onnx)
    assert predictor.specification.fusion == Fusion((0.75, 0.25), 0.55, 7)
    assert Specification.from_json(predictor.specification.to_json()) == predictor.specification
    image = dataset.split("test", ["instances"])[0].image[:41, :75]
    ours = predictor(image)
    assert isinstance(ours, InstancePrediction)
    assert 0 < len(ours.scores) <= 7 and ours.masks.shape[1:] == (41, 75)
    # The members' own detections, fused by hand.
    rows: dict[str, list[NDArray[Any]]] = {}
    for number, name in enumerate(("a", "b")):
        of_member = load(ModelFolder(tmp_path / name), found[name].evaluate, torch.device("cpu")).graph.run(image[None])
        for key, value in (of_member | {"members": np.full(len(of_member["labels"]), number)}).items():
            rows.setdefault(key, []).append(value)
    expected = fused({key: np.concatenate(values) for key, values in rows.items()}, Fusion((0.75, 0.25), 0.55, 7))
    np.testing.assert_allclose(ours.scores, expected["scores"], atol=1e-4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"of": ["a"]}, "at least 2"),
        ({"of": ["a", "a"]}, "more than once"),
        ({"weights": [1.0]}, "weights has 1 numbers, and of names 2 models"),
        ({"predict": {"iou": 1.0}}, "less than 1"),
    ],
)
def test_a_mistake_gets_its_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        catalog.settings("box_fusion").model_validate(MODELS["both"] | change)


def test_only_detectors_are_fused() -> None:
    entries = {name: catalog.settings(entry["arch"]).model_validate(entry) for name, entry in MODELS.items()}
    entries["u"] = factories.settings("unet")
    fusion: Any = entries["both"]
    assert not list(fusion.misfits({name: entries[name] for name in ("a", "b")}, entries))
    [sentence] = fusion.misfits({"a": entries["a"], "u": entries["u"]}, entries)
    assert sentence.startswith("'u' is a model of the task semantic; only instance models can be fused. The probabilities of semantic models are averaged by")
    [sentence] = fusion.misfits({"both": entries["both"]}, entries)
    assert sentence == "'both' is made of other models, and fused are the detections of networks. Name the detectors themselves."


def test_a_specification_that_means_nothing_is_refused() -> None:
    values = '"fusion": {"weights": [0.5, -0.5], "iou": 0.5, "max_detections": 5}'
    text = Specification("instance", "m", "d", (), factories.settings("unet").geometry((64, 64)), (), ()).to_json()
    with pytest.raises(InputError, match="which means nothing; export the model anew"):
        Specification.from_json(text.replace('"fusion": null', values))
