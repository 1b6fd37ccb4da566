"""A multi-label model from objects that overlap to its ONNX file: planned, trained, evaluated, exported, proved, and what is written of its predictions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import factories
import numpy as np
import pytest
import torch
from PIL import Image

from segline import history
from segline.data.class_masks import class_masks, with_label_pixels
from segline.data.formats.base import SourceObject
from segline.data.images import png
from segline.data.reading.painting import paint
from segline.data.statistics import class_pixels
from segline.data.store import IGNORE, DatasetInfo, ImageSizes, Instances, PreparedDataset, Sample
from segline.data.writer import SplitWriter
from segline.errors import DataError
from segline.evaluation.stage import evaluate_model
from segline.export.stage import export
from segline.inference.predict import load_predictor, predict_folder
from segline.layout import ModelFolder
from segline.losses.catalog import LOSSES
from segline.metrics import counts_file
from segline.metrics.label_counts import LabelCounts
from segline.models import catalog
from segline.plan.plans import settings_from, training_settings
from segline.tasks import catalog as tasks
from segline.tasks.predictor import GraphPredictor
from segline.training.settings import Runtime
from segline.training.train import train
from segline_runtime.predict import predict
from segline_runtime.predictions import MultilabelPrediction
from segline_runtime.specification import ClassInfo, Geometry, ImageKind, Specification, Tile

CLASSES = (
    ClassInfo(0, "background", (0, 0, 0), False),
    ClassInfo(1, "red", (230, 60, 40), True),
    ClassInfo(2, "blue; film", (60, 60, 230), True),
    ClassInfo(3, "unseen", (9, 200, 9), True),
    ClassInfo(4, "floor", (90, 200, 9), False),
)
TASK = tasks.get("multilabel")
SIZE = (48, 64)
FLOOR = 42


def scene(seed: int) -> tuple[np.ndarray, list[SourceObject]]:
    """Two rectangles that overlap on grey ground: one makes pixels red, the other blue, and both do where they overlap; the last is a crowd in a corner.

    The six lowest rows are green: a floor, which is no object.
    """
    random = np.random.default_rng(seed)
    masks = np.zeros((3, *SIZE), np.bool_)
    top, left = random.integers(4, 10), random.integers(4, 14)
    masks[0, top : top + 22, left : left + 26] = True
    masks[1, top + 9 : top + 31, left + 12 : left + 40] = True
    masks[2, :4, -6:] = True
    pixels = np.full((*SIZE, 3), 60.0)
    pixels[masks[0], 0] += 150
    pixels[masks[1], 2] += 150
    pixels[FLOOR:, :, 1] += 150
    image = np.clip(pixels + random.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
    return image, [SourceObject(1, masks[0]), SourceObject(2, masks[1]), SourceObject(1, masks[2], crowd=True)]


def index_of(objects: list[SourceObject]) -> np.ndarray:
    """The mask of classes: objects hide what lies behind them, and the leftmost columns are ignored."""
    mask = paint(objects, SIZE)
    mask[FLOOR:] = 4
    mask[:, :2] = IGNORE
    return mask


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    folder = tmp_path_factory.mktemp("data") / "prepared"
    hashes, pixels = {}, np.zeros(len(CLASSES), np.int64)
    for number, split in enumerate(("train", "val", "test")):
        writer = SplitWriter(folder / split, ("index", "instances"))
        for i in range(4):
            image, objects = scene(10 * number + i)
            writer.add(f"image{i}", ".png", png(image), SIZE, index_of(objects), objects)
            pixels += class_pixels(index_of(objects))[: len(CLASSES)]
        hashes[split] = writer.finish()
    info = DatasetInfo(
        name="films",
        classes=CLASSES,
        image=ImageKind(),
        mean=(0.35, 0.24, 0.35),
        std=(0.25, 0.05, 0.25),
        class_pixels=tuple(pixels.tolist()),
        class_image_pixels=tuple(np.where(pixels, pixels.sum(), 0).tolist()),
        counts=dict.fromkeys(hashes, 4),
        instance_counts=dict.fromkeys(hashes, 8),
        truths=("index", "instances"),
        fingerprint="f",
        split_hashes=hashes,
        licence="none",
        image_size=ImageSizes(SIZE, SIZE, SIZE),
    )
    (folder / "dataset.json").write_text(json.dumps(info.to_dict()))
    return PreparedDataset(folder)


@pytest.fixture(scope="module")
def made(dataset: PreparedDataset, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """Trained, evaluated and exported: at another size than the images', with transforms, and predicting in two views."""
    root = tmp_path_factory.mktemp("line")
    settings = factories.settings(
        "unet",
        norm="group",
        multilabel=True,
        input={"size": [64, 96]},
        loss={"binary_cross_entropy": {"class_weights": "auto"}, "dice": 0.5},
        augment=[{"HorizontalFlip": {"p": 0.5}}, {"CopyPaste": {"p": 0.2}}],
        predict={"flips": "horizontal"},
        train={"epochs": 14, "batch_size": 4, "lr": 0.004, "precision": "fp32", "validate_every": 14},
    )
    plans = factories.plans("films", settings, dataset)
    folder = ModelFolder(root / "films")
    train(
        plans.train,
        dataset=dataset,
        runtime=Runtime(accelerator="cpu", devices=1, workers=0),
        commit=None,
        resume_root=root / "resume",
        folder=folder,
        weights=None,
        follow=lambda _: lambda: None,
    )
    evaluate_model(plans.evaluate, folder, dataset, accelerator="cpu", progress=False)
    export(plans.export, folder, dataset, progress=False)
    return folder


def test_it_learns_that_pixels_are_of_several_classes(made: ModelFolder) -> None:
    rows = history.read(made.history)
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]
    assert set(rows[-1]) >= {"train_binary_cross_entropy", "train_dice", "val_loss", "val_miou", "val_mdice", "val_label_accuracy"}
    figures = json.loads(made.metrics.read_text())
    assert figures["miou"] > 0.6 and figures["ceiling_miou"] > 0.95
    assert figures["miou_low"] <= figures["miou"] <= figures["miou_high"]
    assert "iou/unseen" not in figures and figures["support/unseen"] == 0, "absent from truth and prediction"
    assert {path.name for path in (made.plots / "overlays").iterdir()} and (made.plots / "classes.png").is_file()


def test_the_exported_model_is_the_trained_one_at_other_sizes_too(made: ModelFolder) -> None:
    parity = json.loads(made.parity.read_text())
    assert parity["passed"] and parity["metric"] == "miou"
    assert len(parity["other_sizes"]) > 2 and {tuple(one["size"]) for one in parity["other_sizes"]} - {SIZE}


def test_figures_of_the_file_are_those_that_were_written(made: ModelFolder, dataset: PreparedDataset) -> None:
    """By the definition, of all pixels together; what is ignored left out."""
    predictor = load_predictor(made.onnx)
    sums = np.zeros((3, len(CLASSES)))
    for sample in dataset.split("test", TASK.truths):
        found = predictor(sample.image)
        assert isinstance(found, MultilabelPrediction)
        truth = class_masks(sample, CLASSES)
        for label, (true, mask) in enumerate(zip(truth, found.masks, strict=True)):
            scored = true != 255
            sums[:, label] += [(mask & (true == 1)).sum(), (mask & scored).sum(), (true == 1).sum()]
    assert (sums[2, [0, 1, 2, 4]] > 0).all() and (truth[:, :, :2] == IGNORE).all() and (truth[4, :, 2:] != IGNORE).all()
    figures = json.loads(made.metrics.read_text())
    for label, key in ((0, "background"), (1, "red"), (2, "blue_film"), (4, "floor")):
        both, predicted, true = sums[:, label]
        assert figures[f"iou/{key}"] == pytest.approx(both / (predicted + true - both), abs=1e-3)
        assert figures[f"dice/{key}"] == pytest.approx(2 * both / (predicted + true), abs=1e-3)
    assert isinstance(counts_file.load(made.counts), LabelCounts)


def test_tiles_are_joined_by_mean_probabilities(made: ModelFolder, dataset: PreparedDataset) -> None:
    predictor = load_predictor(made.onnx)
    image = dataset.split("test", TASK.truths)[0].image
    whole = predictor(image, probabilities=True)
    tiled = replace(predictor.specification, geometry=Geometry("native", None, Tile((40, 48), 16)))
    joined = predict(predictor.run, tiled, image, probabilities=True)
    assert isinstance(whole, MultilabelPrediction) and isinstance(joined, MultilabelPrediction)
    assert joined.masks.shape == whole.masks.shape and joined.probabilities is not None
    np.testing.assert_array_equal(joined.masks, joined.probabilities >= 0.5)


def test_a_folder_of_predictions_has_a_picture_for_each_class(made: ModelFolder, tmp_path: Path) -> None:
    image, _ = scene(77)
    (tmp_path / "in").mkdir()
    Image.fromarray(image).save(tmp_path / "in" / "one.png")
    predictor = load_predictor(made.onnx)
    assert predict_folder(predictor, tmp_path / "in", tmp_path / "out", probabilities=True, progress=False) == 1
    written = {file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    masks = [f"masks/one/{key}.png" for key in ("background", "red", "blue_film", "unseen", "floor")]
    assert written == {"classes.json", "overlays/one.png", "probabilities/one.npy", *masks}
    found = predictor(image)
    assert isinstance(found, MultilabelPrediction)
    for name, mask in zip(masks, found.masks, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / name)), mask * np.uint8(255))
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "probabilities" / "one.npy") >= 0.5, found.masks)


def test_one_batch_is_learnt_by_heart() -> None:
    settings = factories.settings("unet", norm="group", multilabel=True)
    torch.manual_seed(0)
    network, learning = catalog.build(settings, channels=3, classes=len(CLASSES)), tasks.learning("multilabel")
    samples = []
    for i in range(2):
        image, objects = scene(i)
        masks = np.stack([one.mask for one in objects if one.mask is not None])
        labels, crowd = np.array([one.label for one in objects]), np.array([one.crowd for one in objects])
        samples.append(Sample(i, f"{i}", image, index_of(objects), Instances(masks, np.zeros((3, 4), np.float32), labels, crowd)))
    specification = _specification()
    criterion, batch = learning.criterion(settings, network, {}), learning.collate(samples)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    score, steps = 0.0, 0
    while score < 0.97 and steps < 120:
        for _ in range(10):
            optimizer.zero_grad()
            learning.losses(network, criterion, batch, specification)["loss"].backward()
            optimizer.step()
            steps += 1
        scorer = TASK.scorer(CLASSES)
        found = GraphPredictor(learning.graph(network, specification), specification)([sample.image for sample in samples])
        score = min(scorer.add(prediction, sample) for prediction, sample in zip(found, samples, strict=True))
    assert score >= 0.97
    [first, _] = found
    assert isinstance(first, MultilabelPrediction) and (first.masks[1] & first.masks[2]).any()


def _specification() -> Specification:
    return Specification("multilabel", "m", "d", CLASSES, Geometry("native", None), (0.35, 0.24, 0.35), (0.25, 0.05, 0.25))


def test_what_it_learns_by_is_part_of_its_plan_and_of_no_other(dataset: PreparedDataset) -> None:
    several, single = (factories.settings("unet", loss={"dice": 1.0}, **keys) for keys in ({"multilabel": True}, {}))
    assert factories.settings("unet", loss={"dice": 1.0}, multilabel=False) == single
    assert training_settings(several) == training_settings(single) | {"multilabel": True}
    assert settings_from(training_settings(several)) == several
    plan = factories.plans("m", several, dataset)
    assert (plan.train.task, plan.train.metric, plan.evaluate.metrics) == ("multilabel", "miou", TASK.metrics)
    assert several.loss_modules == ("segline.losses.multilabel.dice",) and single.loss_modules == (LOSSES["dice"],)  # type: ignore[attr-defined]


def test_pixels_of_a_class_are_counted_where_others_hide_it(dataset: PreparedDataset) -> None:
    info, expected, seen = with_label_pixels(dataset), np.zeros(len(CLASSES), np.int64), 0
    for sample in dataset.split("train", TASK.truths):
        assert sample.instances is not None and sample.mask is not None
        seen += int((sample.mask == 2).sum())
        for label, mask in zip(sample.instances.labels[~sample.instances.crowd], sample.instances.masks[~sample.instances.crowd], strict=True):
            expected[label] += mask.sum()
    assert info.class_pixels[1:4] == tuple(expected[1:4]) and info.class_pixels[2] > 1.2 * seen
    assert (info.class_pixels[0], info.class_pixels[4]) == (dataset.info.class_pixels[0], dataset.info.class_pixels[4])
    assert info.class_image_pixels[1:4] == (4 * 48 * 64, 4 * 48 * 64, 0)
    weights = {"binary_cross_entropy": {"class_weights": [1, 2, 3, 4, 5]}}
    plan = factories.plans("m", factories.settings("unet", multilabel=True, loss=weights), dataset)
    assert plan.train.class_weights == {"binary_cross_entropy": (1.0, 2.0, 3.0, 4.0, 5.0)}


def test_data_without_object_masks_is_told(tmp_path: Path) -> None:
    data = factories.squares_dataset(tmp_path, [(40, 50), (44, 52)])
    data.info = replace(data.info, truths=("index",))
    with pytest.raises(DataError, match=r"The model 'm' learns from object masks .* has only class masks .*\. Do that\."):
        data.require(TASK.truths[0], "m", "Do that.")
