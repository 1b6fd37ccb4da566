"""Evaluation of a split: figures, ranking, files; and the whole stage with small untrained networks."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle

from segline.card import ModelCard
from segline.data.store import IGNORE, DatasetInfo, PreparedDataset
from segline.errors import DataError, ModelError, ParametersError
from segline.evaluation.evaluate import evaluate, write
from segline.evaluation.stage import evaluate_model
from segline.layout import ModelFolder
from segline.metrics.instance import InstanceScorer
from segline.metrics.semantic import SemanticScorer
from segline.params import InstanceModel, SemanticModel
from segline.provenance import Provenance
from segline.tasks import registry as tasks
from segline_runtime.predictions import InstancePrediction, Prediction, SemanticPrediction
from segline_runtime.specification import ClassInfo, Specification

CLASSES = (ClassInfo(0, "ground", (40, 90, 200), False), ClassInfo(1, "square;box", (230, 60, 40), True), ClassInfo(2, "unseen", (9, 200, 9), True))
SIZES = [(64, 96), (96, 64), (64, 96), (80, 80), (64, 64), (64, 96), (72, 64)]


@pytest.fixture
def dataset(tmp_path: Path) -> PreparedDataset:
    """Seven images of different sizes; a bright square on dark ground, none in the last."""
    folder = tmp_path / "prepared"
    split = folder / "test"
    (split / "images").mkdir(parents=True)
    (split / "masks").mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i, (height, width) in enumerate(SIZES):
        square = np.zeros((height, width), np.bool_)
        if i < len(SIZES) - 1:
            square[10 : 40 + i, 12 : 40 + i] = True
            code = rle.encode(np.asfortranarray(square, np.uint8))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i + 1,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": int(square.sum()),
                    "bbox": [12, 10, 28 + i, 30 + i],
                    "segmentation": {**code, "counts": code["counts"].decode()},
                }
            )
        pixels = np.random.default_rng(i).integers(0, 60, (height, width, 3)) + 180 * square[..., None]
        mask = square.astype(np.uint8)
        mask[:2] = IGNORE
        Image.fromarray(pixels.astype(np.uint8)).save(split / "images" / f"image{i}.png")
        Image.fromarray(mask).save(split / "masks" / f"image{i}.png")
        images.append({"id": i + 1, "file_name": f"image{i}.png", "height": height, "width": width})
    (split / "instances.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    info = DatasetInfo(
        name="squares", classes=CLASSES, axes="HWC", channels=3, dtype="uint8", mean=(0.3,) * 3, std=(0.2,) * 3, class_pixels=(9, 9, 0),
        class_image_pixels=(9, 9, 0), counts={"test": len(SIZES)}, instance_counts={"test": 6}, truths=("index", "instances"), fingerprint="f",
        split_hashes={"test": "abc"}, licence="none",
    )  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(info.to_dict()))
    return PreparedDataset(folder)


def _bright(images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
    """Perfect, but for images of 80 × 80, where it sees nothing."""
    return [SemanticPrediction(((image.mean(axis=2) > 120) & (image.shape[0] != 80)).astype(np.uint8)) for image in images]


def _bright_objects(images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
    found: list[Prediction] = []
    for [prediction], image in ((_bright([image]), image) for image in images):
        assert isinstance(prediction, SemanticPrediction)
        masks = prediction.class_ids.astype(np.bool_)[None]
        masks = masks[masks.any(axis=(1, 2))]
        size = 28 + (next((i for i, s in enumerate(SIZES) if s == image.shape[:2]), 0))
        boxes = np.array([[12, 10, 12 + size, 12 + size]] * len(masks), np.float32).reshape(-1, 4)
        found.append(InstancePrediction(np.full(len(masks), 0.9, np.float32), np.ones(len(masks), np.int64), boxes, masks))
    return found


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_figures_and_ranking_do_not_depend_on_the_batches(dataset: PreparedDataset, batch_size: int) -> None:
    seen: list[int] = []

    def predict(images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        seen.append(len(images))
        return _bright(images)

    evaluation = evaluate(predict, dataset.split("test"), SemanticScorer(CLASSES), batch_size=batch_size)
    assert max(seen) == min(batch_size, len(SIZES))
    assert sum(seen) == len(SIZES)
    assert [image.name for image in evaluation.ranking] == ["image0", "image1", "image2", "image4", "image5", "image6", "image3"]
    assert [image.index for image in evaluation.ranking] == [0, 1, 2, 4, 5, 6, 3]
    assert evaluation.ranking[0].score == 1
    assert evaluation.ranking[-1].score < 0.5
    assert evaluation.metrics["iou/ground"] < 1
    assert "iou/unseen" not in evaluation.metrics


def test_a_predictor_that_loses_an_image_is_a_bug(dataset: PreparedDataset) -> None:
    with pytest.raises(ValueError, match="zip"):
        evaluate(lambda images: _bright(images)[:-1], dataset.split("test"), SemanticScorer(CLASSES), batch_size=3)


@pytest.mark.parametrize(("overlays", "best", "worst"), [(2, 2, 2), (0, 0, 0), (5, 5, 2), (12, 7, 0)])
def test_files_written(dataset: PreparedDataset, tmp_path: Path, overlays: int, best: int, worst: int) -> None:
    split = dataset.split("test")
    evaluation = evaluate(_bright, split, SemanticScorer(CLASSES))
    out = tmp_path / "out"
    write(
        evaluation,
        predict=_bright,
        split=split,
        split_hash="abc",
        classes=CLASSES,
        overlays=overlays,
        metrics_file=out / "metrics.json",
        plots=out / "plots",
        draw=lambda folder: (folder / "own.txt").touch(),
    )
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == {"split": "test", "split_hash": "abc", "images": 7, **evaluation.metrics}
    assert "iou/square_box" in metrics
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
    assert {file.name for file in out.iterdir()} == {"metrics.json", "plots"}


def test_instances(dataset: PreparedDataset, tmp_path: Path) -> None:
    split = dataset.split("test")
    evaluation = evaluate(_bright_objects, split, InstanceScorer(CLASSES), batch_size=2)
    assert evaluation.ranking[-1].name == "image3"
    assert evaluation.ranking[-1].score == 0
    assert {image.name: image.score for image in evaluation.ranking}["image6"] == 1
    assert evaluation.metrics["mask_ap"] == pytest.approx(84 / 101)  # 5 of 6 found, none wrong
    write(
        evaluation, predict=_bright_objects, split=split, split_hash="abc", classes=CLASSES, overlays=1, metrics_file=tmp_path / "m.json", plots=tmp_path / "p"
    )
    assert {file.name for file in (tmp_path / "p" / "overlays").iterdir()} == {"best_1_image0.png", "worst_1_image3.png"}


def test_a_failure_leaves_nothing_half_written(dataset: PreparedDataset, tmp_path: Path) -> None:
    split = dataset.split("test")
    evaluation = evaluate(_bright, split, SemanticScorer(CLASSES))
    out = tmp_path / "out"

    def broken(images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        raise RuntimeError(f"no more memory for {len(images)} images")

    with pytest.raises(RuntimeError, match="no more memory"):
        write(evaluation, predict=broken, split=split, split_hash="abc", classes=CLASSES, overlays=2, metrics_file=out / "metrics.json", plots=out / "plots")
    assert list(out.iterdir()) == []


def _train_nothing(folder: ModelFolder, task_name: str, classes: tuple[ClassInfo, ...] = CLASSES) -> None:
    """The folder of a model as `train` leaves it, with the weights that the network began with."""
    torch.manual_seed(0)
    task = tasks.get(task_name)
    entry = SemanticModel(task="semantic", encoder="mobilenet_v2") if task_name == "semantic" else InstanceModel(task="instance", encoder="mobilenet_v3_small")
    model = entry.model_dump(mode="json")
    specification = Specification(
        task=task_name, model=folder.name, dataset="squares", classes=classes, image_size=(64, 64), resize=task.resize, mean=(0.3,) * 3, std=(0.2,) * 3
    )
    network = task.build(model, specification)
    folder.path.mkdir(parents=True)
    torch.save(network.state_dict(), folder.weights)
    folder.history.write_text(f"epoch,train_loss,val_{task.metric},lr\n1,1.5,,0.1\n2,0.7,0.4,0.05\n")
    ModelCard(
        model=folder.name, task=task_name, parameters={"seed": 0, "image_size": (64, 64), "model": model}, specification=specification,
        provenance=Provenance("p", "d", "c"), dataset={"name": "squares"}, versions={}, commit=None, experiment=None, training={},
    ).write(folder.card)  # fmt: skip


@pytest.mark.parametrize(("task", "figures", "plots"), [
    ("semantic", {"miou", "mdice", "pixel_accuracy", "iou/ground"}, {"confusion_matrix.png", "training_curves.png", "overlays", "per_image.csv"}),
    ("instance", {"mask_ap", "mask_ap50", "box_ap", "box_ap50"}, {"pr_curve.png", "pr_curve.csv", "training_curves.png", "overlays", "per_image.csv"}),
])  # fmt: skip
def test_the_stage(dataset: PreparedDataset, tmp_path: Path, task: str, figures: set[str], plots: set[str]) -> None:
    folder = ModelFolder(tmp_path / "models" / "m")
    _train_nothing(folder, task)
    returned = evaluate_model(folder, dataset, overlays=1, accelerator="cpu", progress=False)
    written = json.loads(folder.metrics.read_text())
    assert figures <= set(written)
    assert {key: written[key] for key in returned} == returned
    assert (written["split"], written["split_hash"], written["images"]) == ("test", "abc", 7)
    assert plots <= {file.name for file in folder.plots.iterdir()}
    first = {file.name: file.read_bytes() for file in folder.plots.rglob("*.*")}
    evaluate_model(folder, dataset, overlays=1, accelerator="cpu", progress=False)
    assert {file.name: file.read_bytes() for file in folder.plots.rglob("*.*")} == first  # the same files byte for byte, so that DVC sees no change


def test_mistakes_are_told_in_sentences(dataset: PreparedDataset, tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path / "models" / "m")
    with pytest.raises(ModelError, match="holds no trained model"):
        evaluate_model(folder, dataset, overlays=1, progress=False)
    _train_nothing(folder, "semantic", CLASSES[:2])
    with pytest.raises(ModelError, match=r"trained on the classes ground, square;box, and the prepared data has ground, square;box, unseen"):
        evaluate_model(folder, dataset, overlays=1, progress=False)
    with pytest.raises(ParametersError, match=r"runtime.accelerator is 'abacus'"):
        evaluate_model(folder, dataset, overlays=1, accelerator="abacus", progress=False)
    dataset.info = replace(dataset.info, truths=("instances",))
    with pytest.raises(DataError, match="learns from class masks"):
        evaluate_model(folder, dataset, overlays=1, progress=False)
    assert not folder.metrics.exists()
    assert not folder.plots.exists()
