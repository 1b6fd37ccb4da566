"""A whole training on a few shapes: it learns, it writes what later stages read, and a frozen encoder stays as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segline import history
from segline.card import ModelCard
from segline.data.store import PreparedDataset
from segline.errors import DataError, ModelError
from segline.layout import ModelFolder
from segline.metrics import catalog as metrics
from segline.metrics.figures import figures
from segline.models import catalog
from segline.plan.plans import TrainPlan
from segline.tasks import catalog as tasks
from segline.training.settings import Runtime
from segline.training.train import train
from segline_runtime.predictions import SemanticPrediction

RUNTIME = Runtime(accelerator="cpu", devices=1, workers=0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return factories.shapes_dataset(tmp_path_factory.mktemp("shapes"), train=24, val=6, test=2, size=(64, 64))


def plan_of(dataset: PreparedDataset, arch: str = "unet", **changes: Any) -> TrainPlan:
    return factories.plans("m", factories.settings(arch, **changes), dataset).train


def trained(plan: TrainPlan, dataset: PreparedDataset, tmp_path: Path, weights: Path | None = None) -> ModelFolder:
    folder = ModelFolder(tmp_path / "models" / "m")
    told: list[ModelFolder] = []

    def follow(resumable: ModelFolder) -> Any:
        assert ModelCard.read(resumable.card).training == {}

        def after_an_epoch() -> None:
            told.append(resumable)
            decoded = [file.stat().st_size for file in resumable.path.glob("decoded-*")]
            # With few images the last batch is filled up, and with more of them its own images may be left out of an epoch.
            assert not decoded if plan.settings.train.epochs == 1 else decoded[0] > 0.8 * len(dataset.split("train", [])) * 64 * 64 * 3

        return after_an_epoch

    train(plan, dataset=dataset, runtime=RUNTIME, commit="c0ffee", resume_root=tmp_path / "resume", folder=folder, weights=weights, follow=follow)
    assert len(told) == plan.settings.train.epochs
    return folder


def knowing_nothing(dataset: PreparedDataset) -> float:
    """Mean IoU on val of who calls everything background."""
    scorer = tasks.get("semantic").scorer(dataset.info.classes)
    for sample in dataset.split("val", ["index"]):
        scorer.add(SemanticPrediction(np.zeros(sample.image.shape[:2], np.uint8)), sample)
    return figures(scorer.counts(), [metrics.get("iou")], dataset.info.classes)["miou"]


def test_it_learns(dataset: PreparedDataset, tmp_path: Path) -> None:
    """Four classes that colour does not tell apart, from 24 images and no weights."""
    schedule = {"epochs": 12, "batch_size": 4, "lr": 0.003, "precision": "fp32"}
    plan = plan_of(dataset, encoder="resnet18", loss={"cross_entropy": 1.0, "dice": 1.0}, train=schedule)
    folder = trained(plan, dataset, tmp_path)
    rows = history.read(folder.history)
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert rows[-1]["train_loss"] < 0.6 * rows[0]["train_loss"]
    assert set(rows[0]) >= {"train_loss", "train_cross_entropy", "train_dice", "val_loss", "val_miou", "val_pixel_accuracy", "lr", "seconds"}
    assert rows[-1]["val_loss"] < rows[0]["val_loss"]
    best = max(row["val_miou"] for row in rows)
    assert best > 1.4 * knowing_nothing(dataset)
    card = ModelCard.read(folder.card)
    assert card.training["best"] == pytest.approx(best)
    assert rows[card.training["best_epoch"] - 1]["val_miou"] == pytest.approx(best)
    assert (card.key, card.parts, card.commit) == (plan.key, plan.parts, "c0ffee")
    assert card.training["parameter_count"] == sum(p.numel() for p in catalog.build(plan.settings, channels=3, classes=5).parameters())
    of_both = {*dataset.split("train", []).hashes(), *dataset.split("val", []).hashes()}
    assert set(json.loads(folder.trained_on.read_text())["images"]) == of_both
    assert {file.name for file in folder.path.iterdir()} == {"weights.pt", "model.json", "history.csv", "trained_on.json"}
    assert not list((tmp_path / "resume").iterdir())


def _encoder(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What of a U-Net's state is the encoder's."""
    return {name.removeprefix("network.encoder."): value for name, value in state.items() if name.startswith("network.encoder.")}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_frozen_encoder_stays_as_it_was_with_its_statistics(dataset: PreparedDataset, tmp_path: Path, optimizer: str) -> None:
    train_ = {"epochs": 1, "batch_size": 8, "freeze_encoder": 1, "optimizer": optimizer, "lr": 0.01, "weight_decay": 0.1, "warmup": 0}
    plan = plan_of(dataset, train=train_)
    torch.manual_seed(plan.seed)
    before = catalog.build(plan.settings, channels=3, classes=5).state_dict()
    after = torch.load(trained(plan, dataset, tmp_path).weights, weights_only=True)
    for name, value in _encoder(before).items():
        assert torch.equal(_encoder(after)[name], value), name
    assert len(_encoder(before)) > 100
    assert any(not torch.equal(after[name], value) for name, value in before.items())
    # The decoder's norms went on counting.
    assert any(not torch.equal(after[name], value) for name, value in before.items() if "decoder" in name and name.endswith("running_mean"))


def test_an_encoder_that_is_set_free_learns_with_its_statistics(dataset: PreparedDataset, tmp_path: Path) -> None:
    plan = plan_of(dataset, train={"epochs": 2, "batch_size": 8, "freeze_encoder": 1, "schedule": "constant", "lr": 0.01})
    torch.manual_seed(plan.seed)
    network = catalog.build(plan.settings, channels=3, classes=5)
    before = _encoder(network.state_dict())
    seen: list[dict[str, Tensor]] = []

    def follow(folder: ModelFolder) -> Any:
        def notify() -> None:
            state = torch.load(folder.path / "last.ckpt", map_location="cpu", weights_only=True)["state_dict"] if (folder.path / "last.ckpt").exists() else {}
            seen.append(_encoder({name.removeprefix("network."): value for name, value in state.items()}))

        return notify

    folder = ModelFolder(tmp_path / "models" / "m")
    train(plan, dataset=dataset, runtime=RUNTIME, commit=None, resume_root=tmp_path / "resume", folder=folder, weights=None, follow=follow)
    checkpoints = [state for state in seen if state]
    assert checkpoints, "the first epoch's checkpoint is there when the second is told"
    assert all(torch.equal(checkpoints[0][name], value) for name, value in before.items())
    rows = history.read(folder.history)
    assert [row["lr"] for row in rows][1] == pytest.approx(0.01), "the history tells the encoder's rate, which has joined in"
    best = ModelCard.read(folder.card).training["best_epoch"]
    if best == 2:
        after = _encoder(torch.load(folder.weights, weights_only=True))
        norms = [name for name in before if name.endswith("running_mean")]
        assert all(not torch.equal(after[name], before[name]) for name in norms)


class PowerCutError(Exception):
    """As when the machine goes off."""


@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "newest damaged"])
def test_an_interrupted_training_ends_as_an_undisturbed_one(
    dataset: PreparedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], damaged: bool
) -> None:
    """To the last digit; where the newest checkpoint is damaged, from the one before it."""
    plan = plan_of(dataset, train={"epochs": 4, "batch_size": 12, "ema": 0.9, "early_stopping": 4, "precision": "fp32"})
    undisturbed = trained(plan, dataset, tmp_path / "undisturbed")

    def until_the_third(resumable: ModelFolder) -> Any:
        def notify() -> None:
            if len(history.read(resumable.history)) == 3:
                raise PowerCutError

        return notify

    folder = ModelFolder(tmp_path / "models" / "m")
    given: dict[str, Any] = {"dataset": dataset, "runtime": RUNTIME, "commit": None, "resume_root": tmp_path / "resume", "folder": folder, "weights": None}
    with pytest.raises(PowerCutError):
        train(plan, **given, follow=until_the_third)
    [newest] = (tmp_path / "resume").rglob("last.ckpt")
    if damaged:
        newest.write_bytes(newest.read_bytes()[:-1000])
    train(plan, **given, follow=lambda _: lambda: None)
    told = capsys.readouterr().err
    assert ("cannot be read" in told) == damaged
    assert f"'m' goes on after epoch {1 if damaged else 2}," in told

    def rows(of: ModelFolder) -> list[dict[str, float]]:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in history.read(of.history)]

    assert rows(folder) == rows(undisturbed)
    one, other = (torch.load(of.weights, weights_only=True) for of in (undisturbed, folder))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_epoch_without_validation_has_no_figures_and_the_last_is_validated(dataset: PreparedDataset, tmp_path: Path) -> None:
    folder = trained(plan_of(dataset, train={"epochs": 3, "batch_size": 12, "validate_every": 2}), dataset, tmp_path)
    rows = history.read(folder.history)
    assert ["val_miou" in row for row in rows] == [False, True, True]
    assert rows[1]["val_pixel_accuracy"] != rows[2]["val_pixel_accuracy"]
    assert all("train_loss" in row for row in rows)


class NothingToSee(PreparedDataset):
    """Every pixel of the validation images is ignored, so no metric of them is defined."""

    def split(self, name: str, truth: Any) -> Any:
        found = super().split(name, truth)
        return Blank(found) if name == "val" else found


class Blank:
    def __init__(self, split: Any) -> None:
        self._split = split
        self.hashes = split.hashes

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> Any:
        sample = self._split[index]
        return replace(sample, mask=np.full_like(sample.mask, 255))

    def part(self, indices: Any) -> Blank:
        return Blank(self._split.part(indices))


def test_where_the_metric_is_undefined_the_last_epoch_is_kept_and_nothing_is_stopped_early(dataset: PreparedDataset, tmp_path: Path) -> None:
    plan = plan_of(dataset, train={"epochs": 3, "batch_size": 12, "early_stopping": 1})
    folder = trained(plan, NothingToSee(dataset.folder), tmp_path)
    said = json.loads(folder.card.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))["training"]
    assert (said["best"], said["best_epoch"], said["epochs"]) == (None, 3, 3)
    assert "val_miou" not in history.read(folder.history)[-1]


@pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU")
def test_the_card_tells_where_and_how_it_was_trained(dataset: PreparedDataset, tmp_path: Path) -> None:
    folder = trained(plan_of(dataset, train={"epochs": 1, "batch_size": 12, "precision": "fp16"}), dataset, tmp_path)
    said = ModelCard.read(folder.card).training
    assert (said["processes"], said["global_batch"], said["device"]) == (1, 12, "cpu")
    assert said["precision"] == "bf16", "a CPU has no fp16, and Lightning takes bf16 in its place"


def test_a_detector_trains_and_writes_the_same_files(dataset: PreparedDataset, tmp_path: Path) -> None:
    plan = plan_of(dataset, "maskrcnn", train={"epochs": 2, "batch_size": 6, "lr": 0.001, "encoder_lr_factor": 0.5, "clip": 5.0})
    folder = trained(plan, dataset, tmp_path)
    rows = history.read(folder.history)
    assert set(rows[0]) >= {"train_loss", "train_loss_mask", "train_loss_classifier", "val_loss", "val_mask_ap", "val_box_ap"}
    assert rows[1]["train_loss"] < rows[0]["train_loss"]
    assert ModelCard.read(folder.card).training["metric"] == "val_mask_ap"


def test_without_a_test_split_a_part_of_train_steers_and_val_is_never_seen(dataset: PreparedDataset, tmp_path: Path) -> None:
    other = PreparedDataset(dataset.folder)
    other.info = replace(other.info, counts={"train": 24, "val": 6})
    plan = plan_of(other, train={"epochs": 1, "batch_size": 8, "holdout": 0.3})
    folder = trained(plan, other, tmp_path)
    assert json.loads(folder.trained_on.read_text())["images"] == sorted(other.split("train", []).hashes())
    assert plan.steering.holdout == 0.3


def test_the_plans_data_and_weights_are_asked_for(dataset: PreparedDataset, tmp_path: Path) -> None:
    plan = plan_of(dataset)
    with pytest.raises(DataError, match=r"The val split in .* is not the one that the plan was made for"):
        trained(replace(plan, steering=replace(plan.steering, hash="other")), dataset, tmp_path)
    file = tmp_path / "encoder.pt"
    encoder = catalog.build(plan.settings, channels=3, classes=2).encoder
    assert isinstance(encoder, nn.Module)
    torch.save(encoder.state_dict(), file)
    with_weights = plan_of(dataset, weights=str(file))
    file.write_bytes(b"changed")
    with pytest.raises(ModelError, match="is not there or was changed since the plan was made"):
        trained(with_weights, dataset, tmp_path, weights=file)
    assert not (tmp_path / "resume").exists()


@pytest.mark.parametrize(("arch", "epochs"), [("unet", 2), ("maskrcnn", 1)])
def test_every_way_to_augment_at_once(dataset: PreparedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], arch: str, epochs: int) -> None:
    """Objects pasted in the loader, the rest on the device, sizes drawn per step, whole images at the end."""
    augment = [{"CopyPaste": {"p": 1.0}}, {"HorizontalFlip": {"p": 0.5}}, {"RandomScale": {"p": 1.0}}, {"ColorJitter": {"p": 0.5}}]
    schedule = {"epochs": epochs, "batch_size": 12, "multi_scale": [0.8, 1.2], "uncropped": epochs / 2, "augment_on": "device", "precision": "fp32"}
    plan = plan_of(dataset, arch, augment=augment, train=schedule, input={"size": [64, 64], "crop": [48, 48]})
    folder = trained(plan, dataset, tmp_path)
    assert "augment: CopyPaste in the loader, HorizontalFlip, RandomScale, ColorJitter on the device" in capsys.readouterr().out
    assert ModelCard.read(folder.card).training["augmented_on"] == "cpu"
    assert all(np.isfinite(row["train_loss"]) for row in history.read(folder.history))


def test_a_cpu_augments_in_the_loader_unless_told(dataset: PreparedDataset, tmp_path: Path) -> None:
    plan = plan_of(dataset, augment=["HorizontalFlip"], train={"epochs": 1, "batch_size": 12, "augment_on": "auto"})
    assert ModelCard.read(trained(plan, dataset, tmp_path).card).training["augmented_on"] == "loader"
