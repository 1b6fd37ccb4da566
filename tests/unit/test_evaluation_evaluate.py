"""Evaluation of a split: figures, ranking, files; the whole stage with small untrained networks; and models of the first version."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
import torch
from model_parts import prepared
from numpy.typing import NDArray

from segline.data.store import PreparedDataset, Split
from segline.errors import DataError, ModelError, ParametersError
from segline.evaluation.evaluate import Evaluation, Predict, evaluate
from segline.evaluation.report import write_figures, write_plots
from segline.evaluation.stage import evaluate_model
from segline.layout import ModelFolder
from segline.metrics import catalog, counts_file
from segline.metrics.figures import figures
from segline.metrics.instance import InstanceScorer
from segline.metrics.semantic import SemanticScorer
from segline.params import Evaluate
from segline.plan.plans import EvaluatePlan
from segline.tasks import catalog as tasks
from segline_runtime.predictions import InstancePrediction, Prediction, SemanticPrediction
from segline_runtime.predictor import Predictor

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "v1"
CLASSES = factories.SQUARES
SIZES = [(64, 96), (96, 64), (64, 96), (80, 80), (64, 64), (64, 96), (72, 64)]
BOTH = ("index", "instances")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """Seven images of different sizes; a bright square on dark ground, none in the last."""
    return factories.squares_dataset(tmp_path_factory.mktemp("squares"), SIZES)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """Two of different sizes: where a network predicts."""
    return factories.squares_dataset(tmp_path_factory.mktemp("few"), [(64, 72), (50, 64)])


@pytest.fixture(scope="module")
def split(dataset: PreparedDataset) -> Split:
    return dataset.split("test", BOTH)


def figures_of(evaluation: Evaluation, task: str) -> dict[str, float]:
    return figures(evaluation.counts, [catalog.get(word) for word in tasks.get(task).metrics], CLASSES)


def _bright(images: Sequence[NDArray[Any]]) -> list[Prediction]:
    """Perfect, but for images of 80 × 80, where it sees nothing."""
    return [SemanticPrediction(((image.mean(axis=2) > 120) & (image.shape[0] != 80)).astype(np.uint8)) for image in images]


def _bright_objects(images: Sequence[NDArray[Any]]) -> list[Prediction]:
    found: list[Prediction] = []
    for prediction in _bright(images):
        assert isinstance(prediction, SemanticPrediction)
        masks = prediction.class_ids.astype(np.bool_)[None]
        masks = masks[masks.any(axis=(1, 2))]
        corners = [(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) for rows, columns in map(np.nonzero, masks)]
        boxes = np.array(corners, np.float32).reshape(-1, 4)
        found.append(InstancePrediction(np.full(len(masks), 0.9, np.float32), np.ones(len(masks), np.int64), boxes, masks))
    return found


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_figures_and_ranking_do_not_depend_on_the_batches(split: Split, batch_size: int) -> None:
    seen: list[int] = []

    def predict(images: Sequence[NDArray[Any]]) -> list[Prediction]:
        seen.append(len(images))
        return _bright(images)

    evaluation = evaluate(predict, split, SemanticScorer(CLASSES), batch_size=batch_size)
    assert max(seen) == min(batch_size, len(SIZES))
    assert sum(seen) == len(SIZES)
    assert [image.name for image in evaluation.ranking] == ["image0", "image1", "image2", "image4", "image5", "image6", "image3"]
    assert [image.index for image in evaluation.ranking] == [0, 1, 2, 4, 5, 6, 3]
    assert evaluation.ranking[0].score == 1
    assert evaluation.ranking[-1].score < 0.5
    found = figures_of(evaluation, "semantic")
    assert found["iou/ground"] < 1
    assert "iou/unseen" not in found
    assert evaluation.counts.images == tuple(f"image{i}" for i in range(7))
    assert evaluation.counts.hashes == tuple(split.hashes())


def test_a_predictor_that_loses_an_image_is_a_bug(split: Split) -> None:
    with pytest.raises(ValueError, match="zip"):
        evaluate(lambda images: _bright(images)[:-1], split, SemanticScorer(CLASSES), batch_size=3)


def report(evaluation: Evaluation, predict: Predict, split: Split, task: str, out: Path, *, overlays: int, draw: Any = lambda _: None) -> dict[str, float]:
    """Plots first, as the stage does."""
    light = tasks.get(task)
    write_plots(evaluation, predict=predict, split=split, task=light, classes=CLASSES, overlays=overlays, plots=out / "plots", draw=draw)
    return write_figures(
        evaluation,
        metrics=[catalog.get(word) for word in light.metrics],
        classes=CLASSES,
        resamples=100,
        split=split,
        split_hash="abc",
        metrics_file=out / "metrics.json",
        counts=out / "counts.npz",
    )


@pytest.mark.parametrize(("overlays", "best", "worst"), [(2, 2, 2), (0, 0, 0), (5, 5, 2), (12, 7, 0)])
def test_files_written(split: Split, tmp_path: Path, overlays: int, best: int, worst: int) -> None:
    evaluation = evaluate(_bright, split, SemanticScorer(CLASSES))
    out = tmp_path / "out"
    returned = report(evaluation, _bright, split, "semantic", out, overlays=overlays, draw=lambda folder: (folder / "own.txt").touch())
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == {"version": 1, "split": "test", "split_hash": "abc", "images": 7, **returned}
    assert returned.items() >= figures_of(evaluation, "semantic").items()
    assert returned["miou_low"] <= returned["miou"] <= returned["miou_high"]
    assert "iou/square_box" in metrics
    counts = counts_file.load(out / "counts.npz")
    assert (counts.images, counts.hashes) == (evaluation.counts.images, evaluation.counts.hashes)
    with (out / "plots" / "per_image.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == [image.name for image in evaluation.ranking]
    pictures = sorted(file.name for file in (out / "plots" / "overlays").iterdir())
    assert sum(name.startswith("best_") for name in pictures) == best
    assert sum(name.startswith("worst_") for name in pictures) == worst
    if overlays == 2:
        assert pictures == ["best_1_image0.png", "best_2_image1.png", "worst_1_image3.png", "worst_2_image6.png"]
    assert {file.name for file in (out / "plots").iterdir()} == {
        "classes.csv", "classes.png", "confusion_matrix.csv", "confusion_matrix.png", "overlays", "own.txt", "per_image.csv"
    }  # fmt: skip
    assert {file.name for file in out.iterdir()} == {"metrics.json", "counts.npz", "plots"}


def test_instances(split: Split, tmp_path: Path) -> None:
    evaluation = evaluate(_bright_objects, split, InstanceScorer(CLASSES), batch_size=2)
    assert evaluation.ranking[-1].name == "image3"
    assert evaluation.ranking[-1].score == 0
    assert {image.name: image.score for image in evaluation.ranking}["image6"] == 1
    assert figures_of(evaluation, "instance")["mask_ap"] == pytest.approx(84 / 101)  # 5 of 6 found, none wrong
    report(evaluation, _bright_objects, split, "instance", tmp_path, overlays=1)
    assert {file.name for file in (tmp_path / "plots" / "overlays").iterdir()} == {"best_1_image0.png", "worst_1_image3.png"}


def test_a_failure_leaves_nothing_half_written(split: Split, tmp_path: Path) -> None:
    evaluation = evaluate(_bright, split, SemanticScorer(CLASSES))

    def broken(images: Sequence[NDArray[Any]]) -> list[Prediction]:
        raise RuntimeError(f"no more memory for {len(images)} images")

    with pytest.raises(RuntimeError, match="no more memory"):
        report(evaluation, broken, split, "semantic", tmp_path / "out", overlays=2)
    assert list((tmp_path / "out").iterdir()) == []


def untrained(tmp_path: Path, arch: str, dataset: PreparedDataset, **changes: Any) -> tuple[ModelFolder, EvaluatePlan]:
    """The folder of a model as `train` leaves it, with the weights that the network began with; and the plan of its evaluation."""
    folder = ModelFolder(tmp_path / "models" / "m")
    plans = factories.plans("m", factories.settings(arch, **changes), dataset)
    factories.untrained(folder, plans.train, dataset)
    return folder, plans.evaluate


@pytest.mark.parametrize(("arch", "wanted", "plots"), [
    ("unet", {"miou", "miou_low", "miou_high", "mdice", "pixel_accuracy", "iou/ground", "mdice_per_image", "ceiling_miou"}, {"confusion_matrix.png"}),
    ("maskrcnn", {"mask_ap", "mask_ap_low", "mask_ap50", "box_ap", "box_ap50", "mask_ar1", "ceiling_mask_ap"}, {"pr_curve.png", "pr_curve.csv"}),
])  # fmt: skip
def test_the_stage(dataset: PreparedDataset, tmp_path: Path, arch: str, wanted: set[str], plots: set[str]) -> None:
    folder, plan = untrained(tmp_path, arch, dataset)
    returned = evaluate_model(plan, folder, dataset, accelerator="cpu", progress=False)
    written = json.loads(folder.metrics.read_text())
    assert wanted <= set(written)
    assert {key: written[key] for key in returned} == returned
    assert (written["split"], written["split_hash"], written["images"]) == ("test", dataset.info.split_hashes["test"], 7)
    assert plots | {"training_curves.png", "ceiling.png", "overlays", "per_image.csv"} <= {file.name for file in folder.plots.iterdir()}
    assert len(counts_file.load(folder.counts)) == 7
    first = {file.name: file.read_bytes() for file in folder.path.rglob("*.*")}
    evaluate_model(plan, folder, dataset, accelerator="cpu", progress=False)
    assert {file.name: file.read_bytes() for file in folder.path.rglob("*.*")} == first  # the same files byte for byte, so that DVC sees no change


@pytest.mark.parametrize("arch", ["unet", "maskrcnn"])
@pytest.mark.parametrize(
    "fit",
    [{"fit": "letterbox", "size": [64, 96]}, {"fit": "native"}, {"fit": "native", "tile": {"size": [48, 48], "overlap": 16}}],
    ids=["letterbox", "native", "tile"],
)
def test_the_stage_with_every_fit(few: PreparedDataset, tmp_path: Path, arch: str, fit: dict[str, Any]) -> None:
    folder, plan = untrained(tmp_path, arch, few, input=fit)
    figures = evaluate_model(plan, folder, few, accelerator="cpu", progress=False)
    assert 0 <= figures[tasks.get(plan.task).metric] < 0.6


@pytest.mark.parametrize("arch", ["unet", "maskrcnn"])
def test_how_it_predicts_is_the_plans_and_needs_no_new_training(tmp_path: Path, few: PreparedDataset, arch: str) -> None:
    """A training's settings beside it: size, fit and thresholds may be chosen anew."""
    folder, _ = untrained(tmp_path, arch, few)
    changes: dict[str, Any] = {"input": {"size": [96, 96], "fit": "letterbox"}}
    if arch == "maskrcnn":
        changes["predict"] = {"score_threshold": 0.99}
    plan = factories.plans("m", factories.settings(arch, **changes), few).evaluate
    found = evaluate_model(plan, folder, few, accelerator="cpu", progress=False)
    if arch == "maskrcnn":
        assert found["mask_ap"] == 0, "nothing is that sure of itself"


def test_the_chosen_metrics_are_told_and_no_other(few: PreparedDataset, tmp_path: Path) -> None:
    folder, _ = untrained(tmp_path, "unet", few)
    plan = factories.plans("m", factories.settings("unet"), few, evaluate=Evaluate(metrics=["pixel_accuracy"], overlays=0, resamples=100)).evaluate
    found = evaluate_model(plan, folder, few, accelerator="cpu", progress=False)
    told = {f"{key}{end}" for key in ("pixel_accuracy", "miou") for end in ("", "_low", "_high")}
    assert {key for key in found if "/" not in key} == told | {"ceiling_pixel_accuracy", "ceiling_miou"}


def test_metrics_on_request_are_counted_and_drawn(few: PreparedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = untrained(tmp_path, "unet", few)
    words = ["iou", "boundary_iou", "boundary_f1", "ece", "stuff_pq"]
    settings = factories.settings("unet", input={"size": [32, 32]})
    plan = factories.plans("m", settings, few, evaluate=Evaluate(metrics=words, overlays=0, resamples=100)).evaluate
    found = evaluate_model(plan, folder, few, accelerator="cpu")
    for headline in ("boundary_iou", "boundary_f1", "ece", "stuff_pq"):
        assert found[f"{headline}_low"] <= found[headline] <= found[f"{headline}_high"]
    assert 0.3 < found["ceiling_boundary_iou"] < found["ceiling_miou"] < 1
    assert "ceiling_ece" not in found
    assert {"reliability.png", "reliability.csv", "ceiling.png"} <= {file.name for file in folder.plots.iterdir()}
    assert figures(counts_file.load(folder.counts), [catalog.get(word) for word in words], CLASSES).items() <= found.items()
    assert f"has miou {found['ceiling_miou']:.4f} ({found['miou']:.4f} of it is reached)" in capsys.readouterr().out


def test_thresholds_are_refused_where_there_are_not_two_classes(few: PreparedDataset) -> None:
    with pytest.raises(ParametersError, match=r"evaluate.metrics: thresholds is for data of two classes, and this has 3\. Remove it"):
        factories.plans("m", factories.settings("unet"), few, evaluate=Evaluate(metrics=["iou", "thresholds"]))


def _wordless(*_sizes: int, **_options: object) -> None:
    raise AssertionError


def test_mistakes_are_told_in_sentences(dataset: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, plan = ModelFolder(tmp_path / "models" / "m"), factories.plans("m", factories.settings("unet"), dataset).evaluate
    with pytest.raises(ModelError, match="holds no trained model"):
        evaluate_model(plan, folder, dataset, progress=False)
    other = factories.squares_dataset(tmp_path / "other", SIZES, classes=CLASSES[:2])
    untrained(tmp_path, "unet", other)
    with pytest.raises(ModelError, match=r"trained on the classes ground, square;box, and the prepared data has ground, square;box, unseen"):
        evaluate_model(plan, folder, dataset, progress=False)
    with pytest.raises(ParametersError, match=r"runtime.accelerator is 'abacus'"):
        evaluate_model(plan, folder, dataset, accelerator="abacus", progress=False)
    with monkeypatch.context() as broken:
        broken.setattr(torch, "empty", _wordless)
        with pytest.raises(ParametersError, match=r"cannot use it \(AssertionError\)\. Set it to auto or cpu"):
            evaluate_model(plan, folder, dataset, accelerator="cpu", progress=False)
    of_other = factories.plans("m", factories.settings("unet"), other).evaluate
    without = PreparedDataset(other.folder)
    without.info = replace(without.info, truths=("instances",))
    with pytest.raises(DataError, match="has no class masks"):
        evaluate_model(of_other, folder, without, progress=False)
    without.info = replace(without.info, truths=BOTH, split_hashes={"test": "changed"})
    with pytest.raises(DataError, match="is not the one that the plan was made for"):
        evaluate_model(of_other, folder, without, progress=False)
    with pytest.raises(ModelError, match="does not hold the network that its plan describes"):
        evaluate_model(factories.plans("m", factories.settings("unet", encoder="resnet18"), other).evaluate, folder, other, progress=False)
    folder.weights.write_bytes(b"broken")
    with pytest.raises(ModelError, match="does not hold the network that its plan describes"):
        evaluate_model(of_other, folder, other, progress=False)
    folder.weights.unlink()
    with pytest.raises(ModelError, match=r"has a card but no weights\.pt"):
        evaluate_model(of_other, folder, other, progress=False)
    assert not folder.metrics.exists()
    assert not folder.plots.exists()


@pytest.mark.parametrize("name", ["semantic", "instance"])
def test_models_of_the_first_version_are_scored(name: str, dataset: PreparedDataset, tmp_path: Path) -> None:
    predictor = Predictor(GOLDEN / f"{name}.onnx", threads=1)
    task = tasks.get(predictor.specification.task)
    data = PreparedDataset(prepared(tmp_path)) if name == "semantic" else dataset
    split = data.split("test", task.truths)
    classes = predictor.specification.classes if name == "semantic" else CLASSES
    found = evaluate(predictor.predict, split, task.scorer(classes))
    told = figures(found.counts, [catalog.get(word) for word in task.metrics], classes)
    assert len(found.counts) == len(split)
    if name == "semantic":
        assert told["miou"] == 1.0, "it was made to call bright what is bright"
    else:
        assert told["mask_ap"] == 0.0, "it finds the same two objects in every image, and neither is there"
