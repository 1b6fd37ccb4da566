"""What params.yaml and the data become: decisions with their reasons, plans that hold what their stage uses and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import pytest
import torch

from segline import params
from segline.data.store import ImageSizes, PreparedDataset
from segline.errors import ModelError, ParametersError
from segline.losses.class_weights import class_weights
from segline.models.maskrcnn.settings import Detection
from segline.models.settings import ModelSettings
from segline.params import Evaluate
from segline.plan import plans as written
from segline.plan.plans import EvaluatePlan, ExportPlan, Part, RegisterPlan, TrainPlan
from segline.plan.resolve import ModelPlans, resolve, weights_path
from segline_runtime.specification import Geometry, ImageKind, Tile

ARCHITECTURES = tuple(factories.SMALL)
KINDS = {"train": TrainPlan, "evaluate": EvaluatePlan, "export": ExportPlan, "register": RegisterPlan}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factories.shapes_dataset(tmp_path_factory.mktemp("shapes"), size=(48, 80)).folder


@pytest.fixture
def dataset(folder: Path) -> PreparedDataset:
    return PreparedDataset(folder)


def plans(dataset: PreparedDataset, arch: str = "unet", name: str = "m", evaluate: Evaluate | None = None, **changes: Any) -> ModelPlans:
    return factories.plans(name, factories.settings(arch, **changes), dataset, evaluate=evaluate)


def reasons(found: ModelPlans) -> dict[str, tuple[object, str]]:
    return {decision.key: (decision.value, decision.reason) for decision in found.decisions}


def of_size(dataset: PreparedDataset, height: int, width: int) -> PreparedDataset:
    dataset.info = replace(dataset.info, image_size=ImageSizes((height, width), (1, 1), (9999, 9999)))
    return dataset


class TestInputSize:
    @pytest.mark.parametrize(
        ("median", "size"),
        [((50, 90), (64, 96)), ((480, 360), (480, 352)), ((1024, 2048), (256, 512)), ((512, 300), (512, 288)), ((4000, 20), (512, 32)), ((10, 10), (32, 32))],
    )
    def test_auto_is_the_median_image_at_most_512_long(self, dataset: PreparedDataset, median: tuple[int, int], size: tuple[int, int]) -> None:
        found = plans(of_size(dataset, *median), input={})
        assert found.train.geometry == found.evaluate.geometry == found.export.geometry == Geometry("stretch", size)
        value, reason = reasons(found)["input.size"]
        assert value == list(size)
        assert f"the median training image has {median[0]}×{median[1]} pixels" in reason
        assert ("shrunk to at most 512" in reason) == (max(median) > 512)
        assert "multiples of the network's stride 32" in reason

    def test_a_given_size_is_no_decision(self, dataset: PreparedDataset) -> None:
        found = plans(dataset, input={"size": [64, 40], "fit": "letterbox"})
        assert found.train.geometry == Geometry("letterbox", (64, 40))
        assert "input.size" not in reasons(found)

    def test_native_has_no_size(self, dataset: PreparedDataset) -> None:
        found = plans(dataset, input={"fit": "native"})
        assert found.train.geometry == Geometry("native", None)
        assert "input.size" not in reasons(found)

    def test_models_of_different_sizes_stand_side_by_side(self, dataset: PreparedDataset, tmp_path: Path) -> None:
        (tmp_path / "params.yaml").write_text(
            "data: {source: shapes}\n"
            "models:\n  wide: {arch: unet, input: {size: [256, 320]}}\n  narrow: {arch: maskrcnn, input: {size: [96, 64]}}\n  own: {arch: unet}\n"
        )
        given = params.read(tmp_path / "params.yaml")
        found = {
            name: resolve(name, settings, params=given, info=dataset.info, code=factories.code(), roots=(tmp_path,)) for name, settings in given.models.items()
        }
        geometries = [Geometry("stretch", (256, 320)), Geometry("shorter_side", (96, 64)), Geometry("stretch", (64, 64))]
        for model, geometry in zip(found.values(), geometries, strict=True):
            assert model.train.geometry == model.evaluate.geometry == model.export.geometry == geometry


class TestNormalisation:
    def test_without_pretraining_the_images_own(self, dataset: PreparedDataset) -> None:
        found = plans(dataset)
        assert (found.train.mean, found.train.std) == (dataset.info.mean, dataset.info.std)
        value, reason = reasons(found)["input.mean, input.std"]
        assert value == [list(dataset.info.mean), list(dataset.info.std)]
        assert "own" in reason

    def test_pretrained_weights_bring_theirs(self, dataset: PreparedDataset, tmp_path: Path) -> None:
        torch.save({}, tmp_path / "encoder.pt")
        for weights in ("imagenet", str(tmp_path / "encoder.pt")):
            found = plans(dataset, weights=weights)
            assert (found.train.mean, found.train.std) == (None, None)
            assert "trained with" in reasons(found)["input.mean, input.std"][1]

    def test_given_ones_are_no_decision(self, dataset: PreparedDataset) -> None:
        found = plans(dataset, weights="imagenet", input={"size": [64, 64], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]})
        assert (found.train.mean, found.train.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        assert "input.mean, input.std" not in reasons(found)

    def test_colour_weights_say_nothing_of_other_channels(self, dataset: PreparedDataset) -> None:
        dataset.info = replace(dataset.info, image=ImageKind(channels=1), mean=(0.25,), std=(0.5,))
        found = plans(dataset, weights="imagenet")
        assert (found.train.mean, found.train.std, found.train.image.channels) == ((0.25,), (0.5,), 1)

    def test_one_number_for_each_channel(self, dataset: PreparedDataset) -> None:
        with pytest.raises(ParametersError, match=r"models\.m\.input\.mean has 2 values, and the images have 3 channels"):
            plans(dataset, input={"size": [64, 64], "mean": [0.1, 0.2], "std": [0.4, 0.5]})


class TestClassWeights:
    @pytest.mark.parametrize("choice", ["balanced", "median_frequency", "enet"])
    def test_they_are_numbers_from_the_data(self, dataset: PreparedDataset, choice: Any) -> None:
        found = plans(dataset, loss={"cross_entropy": {"class_weights": choice}, "dice": 1.0}).train
        expected = class_weights(choice, dataset.info.class_pixels, dataset.info.class_image_pixels)
        assert found.class_weights == {"cross_entropy": expected}
        assert expected is not None and len(expected) == len(dataset.info.classes)

    def test_none_are_none(self, dataset: PreparedDataset) -> None:
        assert plans(dataset).train.class_weights == plans(dataset, "maskrcnn").train.class_weights == {}

    def test_a_list_has_one_number_for_each_class(self, dataset: PreparedDataset) -> None:
        given = [1.0, 2.0, 3.0, 4.0, 5.0]
        assert plans(dataset, loss={"cross_entropy": {"class_weights": given}}).train.class_weights == {"cross_entropy": tuple(given)}
        with pytest.raises(ParametersError, match=r"models\.m\.loss\.cross_entropy: class_weights has 2 numbers, and the data has 5 classes"):
            plans(dataset, loss={"cross_entropy": {"class_weights": [1.0, 2.0]}})

    def test_other_pixels_are_another_training(self, dataset: PreparedDataset) -> None:
        balanced = {"loss": {"cross_entropy": {"class_weights": "balanced"}}}
        before, plain = plans(dataset, **balanced).train, plans(dataset).train
        dataset.info = replace(dataset.info, class_pixels=tuple(pixels + 7 * i for i, pixels in enumerate(dataset.info.class_pixels)))
        assert plans(dataset, **balanced).train.key != before.key
        assert plans(dataset).train.key == plain.key


class TestParts:
    def test_val_steers_and_test_is_scored(self, dataset: PreparedDataset) -> None:
        found, hashes = plans(dataset), dataset.info.split_hashes
        assert (found.train.training, found.train.steering) == (Part("train", hashes["train"]), Part("val", hashes["val"]))
        assert found.evaluate.scored == found.export.scored == Part("test", hashes["test"])

    def test_without_a_test_split_some_training_images_steer(self, dataset: PreparedDataset) -> None:
        counts = {split: number for split, number in dataset.info.counts.items() if split != "test"}
        dataset.info = replace(dataset.info, counts=counts)
        hashes = dataset.info.split_hashes
        found = plans(dataset, train={"holdout": 0.25})
        assert found.train.training == found.train.steering == Part("train", hashes["train"], 0.25)
        assert found.evaluate.scored == Part("val", hashes["val"])

    def test_without_a_val_split_too(self, dataset: PreparedDataset) -> None:
        dataset.info = replace(dataset.info, counts={"train": 4, "test": 3})
        found = plans(dataset)
        assert found.train.training == found.train.steering == Part("train", dataset.info.split_hashes["train"], 0.1)
        assert found.evaluate.scored.split == "test"

    def test_each_stage_waits_for_its_own_images_alone(self, dataset: PreparedDataset) -> None:
        before = plans(dataset)
        for split, changed in (("train", {"train"}), ("val", {"train"}), ("test", {"evaluate", "export"})):
            other = PreparedDataset(dataset.folder)
            other.info = replace(other.info, split_hashes=other.info.split_hashes | {split: "other"})
            after = plans(other)
            assert {stage for stage in KINDS if getattr(after, stage) != getattr(before, stage)} == changed


class TestKeys:
    def test_two_entries_with_equal_settings_are_two_trainings(self, dataset: PreparedDataset) -> None:
        first, second = plans(dataset, name="a").train, plans(dataset, name="b").train
        assert first.key != second.key
        assert first.parts != second.parts
        assert plans(dataset, name="a").train.key == first.key

    def test_the_parts_say_what_was_changed(self, dataset: PreparedDataset) -> None:
        before = plans(dataset).train

        def changed(after: TrainPlan) -> set[str]:
            assert after.key != before.key
            return {name for name, value in after.parts.items() if value != before.parts[name]}

        assert changed(plans(dataset, train={"lr": 0.5}).train) == {"parameters"}
        assert changed(replace(before, seed=1)) == {"parameters"}
        assert changed(replace(before, code="other")) == {"code"}
        assert changed(replace(before, training=replace(before.training, hash="other"))) == {"data"}
        assert changed(replace(before, classes=before.classes[:-1])) == {"data"}

    @pytest.mark.parametrize("arch", ARCHITECTURES)
    def test_how_it_predicts_trains_nothing_anew(self, dataset: PreparedDataset, arch: str) -> None:
        tiled = {"fit": "native", "tile": {"size": [64, 64], "overlap": 8}}
        before = plans(dataset, arch, input=tiled)
        changes: dict[str, Any] = {"input": {"fit": "native", "tile": {"size": [64, 64], "overlap": 24}}}
        if arch == "maskrcnn":
            changes["predict"] = {"score_threshold": 0.5, "max_detections": 10}
        after = plans(dataset, arch, **changes)
        assert after.train == before.train
        assert after.train.key == before.train.key
        assert after.evaluate != before.evaluate and after.export != before.export
        assert after.evaluate.geometry.tile == Tile((64, 64), 24)
        assert "predict" not in after.train.to_json()["settings"]

    def test_what_parity_compares_without_a_threshold_exports_anew(self, dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
        before = {arch: plans(dataset, arch) for arch in ("unet", "maskrcnn")}
        assert "without_threshold" not in before["unet"].export.to_json()["declared"]
        exported = before["maskrcnn"].export.to_json()
        monkeypatch.setattr(Detection, "without_threshold", {"score_threshold": 0.01})
        after = plans(dataset, "maskrcnn")
        assert after.export.to_json() != exported
        assert after.evaluate.to_json() == before["maskrcnn"].evaluate.to_json()
        assert after.train.key == before["maskrcnn"].train.key
        assert Detection(score_threshold=0.5, max_detections=7).unthresholded() == Detection(score_threshold=0.01, max_detections=7)

    def test_tiles_are_trained_on_as_crops_of_their_size(self, dataset: PreparedDataset) -> None:
        tiled = plans(dataset, input={"fit": "native", "tile": {"size": [64, 96], "overlap": 8}}).train
        assert tiled.settings.input.crop == (64, 96)
        assert plans(dataset, input={"fit": "native", "tile": {"size": [96, 64], "overlap": 8}}).train.key != tiled.key
        both = plans(dataset, input={"fit": "native", "tile": {"size": [64, 96], "overlap": 8}, "crop": [48, 48]}).train
        assert both.settings.input.crop == (48, 48)

    def test_how_it_is_trained_changes_no_other_plan(self, dataset: PreparedDataset) -> None:
        before = plans(dataset)
        after = plans(
            dataset, train={"lr": 0.5, "epochs": 3}, augment=[{"HorizontalFlip": {"p": 0.5}}], loss={"dice": 1.0}, input={"size": [64, 64], "crop": [32, 32]}
        )
        assert after.train != before.train
        for stage in ("evaluate", "export", "register"):
            assert getattr(after, stage).to_json() == getattr(before, stage).to_json()

    def test_the_content_of_a_weight_file_counts_and_its_name_too(self, dataset: PreparedDataset, tmp_path: Path) -> None:
        first, second = tmp_path / "a.pt", tmp_path / "b.pt"
        first.write_bytes(b"one")
        second.write_bytes(b"one")
        before = plans(dataset, weights=str(first)).train
        assert before.weights_digest == plans(dataset, weights=str(second)).train.weights_digest
        first.write_bytes(b"two")
        assert plans(dataset, weights=str(first)).train.weights_digest != before.weights_digest
        with pytest.raises(ParametersError, match=r"models\.m\.weights: '.*none\.pt' is neither imagenet nor none, and no such file exists"):
            plans(dataset, weights=str(tmp_path / "none.pt"))

    def test_a_relative_weight_file_counts_from_the_first_checkout_that_has_it(self, tmp_path: Path) -> None:
        copy, main = tmp_path / "copy", tmp_path / "main"
        for root in (copy, main):
            root.mkdir()
        (main / "w.pt").touch()
        assert weights_path("w.pt", copy, main) == main / "w.pt"
        (copy / "w.pt").touch()
        assert weights_path("w.pt", copy, main) == copy / "w.pt"
        assert weights_path("none.pt", copy, main) == copy / "none.pt"
        assert weights_path(str(main / "w.pt"), copy) == main / "w.pt"


class TestMetrics:
    def test_auto_is_the_tasks_own(self, dataset: PreparedDataset) -> None:
        semantic, instance = plans(dataset), plans(dataset, "maskrcnn")
        assert semantic.evaluate.metrics[0] == "iou" and instance.evaluate.metrics[0] == "mask_ap"
        assert reasons(semantic)["evaluate.metrics"] == (list(semantic.evaluate.metrics), "those of the task semantic")

    def test_of_a_list_each_model_takes_those_of_its_task_and_always_its_own(self, dataset: PreparedDataset) -> None:
        chosen = Evaluate(metrics=["box_ap", "dice", "fw_iou"])
        assert plans(dataset, evaluate=chosen).evaluate.metrics == ("dice", "fw_iou", "iou")
        assert plans(dataset, "maskrcnn", evaluate=chosen).evaluate.metrics == ("box_ap", "mask_ap")
        assert plans(dataset, evaluate=Evaluate(metrics=["iou", "dice", "iou"])).evaluate.metrics == ("iou", "dice")
        assert "evaluate.metrics" not in reasons(plans(dataset, evaluate=chosen))

    def test_an_unknown_word_names_the_nearest(self, dataset: PreparedDataset) -> None:
        with pytest.raises(ParametersError, match=r"There is no metric 'dise'\. Did you mean dice"):
            plans(dataset, evaluate=Evaluate(metrics=["dise"]))

    def test_they_change_the_evaluation_alone(self, dataset: PreparedDataset) -> None:
        before, after = plans(dataset), plans(dataset, evaluate=Evaluate(metrics=["iou"], overlays=1, resamples=100))
        assert after.evaluate.metrics != before.evaluate.metrics
        assert (after.train, after.register) == (before.train, before.register)


class TestFiles:
    @pytest.mark.parametrize("stage", KINDS)
    @pytest.mark.parametrize("arch", ARCHITECTURES)
    def test_what_was_written_is_read_again(self, dataset: PreparedDataset, tmp_path: Path, arch: str, stage: str) -> None:
        changes: dict[str, Any] = {"augment": [{"HorizontalFlip": {"p": 0.5}}, "VerticalFlip"], "train": {"clip": 1.0, "early_stopping": 3}}
        changes["input"] = {"fit": "native", "tile": {"size": [64, 96], "overlap": 20}, "mean": [0.1, 0.2, 0.3], "std": [1.0, 2.0, 3.0]}
        if arch == "unet":
            changes["loss"] = {"cross_entropy": {"weight": 0.5, "class_weights": "enet"}, "dice": 2.0}
        plan = getattr(plans(dataset, arch, **changes), stage)
        values = plan.to_json()
        assert json.loads(json.dumps(values)) == values
        assert KINDS[stage].from_json(values).to_json() == values
        written.write(plan, tmp_path / "plan.json")
        again = written.read(KINDS[stage], tmp_path / "plan.json")
        assert again.to_json() == values
        if stage == "train":
            assert again == plan
            assert again.key == plan.key and again.parts == plan.parts

    @pytest.mark.parametrize("arch", ARCHITECTURES)
    def test_a_plan_that_was_read_is_the_plan(self, dataset: PreparedDataset, arch: str) -> None:
        """With nothing that its stage does not use, the objects are equal, too."""
        found = plans(dataset, arch, train={}, augment=[])
        for stage, kind in KINDS.items():
            plan = getattr(found, stage)
            assert kind.from_json(plan.to_json()) == plan

    @pytest.mark.parametrize("stage", KINDS)
    def test_a_later_version_is_refused(self, dataset: PreparedDataset, tmp_path: Path, stage: str) -> None:
        file = tmp_path / "plan.json"
        values = getattr(plans(dataset), stage).to_json()
        file.write_text(json.dumps(values | {"version": written.VERSION + 1, "news": 1}))
        with pytest.raises(ParametersError, match=r"was written by a later version of Segline .*run `dvc repro plan`"):
            written.read(KINDS[stage], file)

    @pytest.mark.parametrize("stage", KINDS)
    @pytest.mark.parametrize("broken", ["", "[]", "{}", '{"version": 1}', '{"version": "one"}', "null"])
    def test_what_is_no_plan_gets_a_sentence(self, tmp_path: Path, stage: str, broken: str) -> None:
        (tmp_path / "plan.json").write_text(broken)
        with pytest.raises(ParametersError, match=r"cannot be read \(.*\); run `dvc repro plan`"):
            written.read(KINDS[stage], tmp_path / "plan.json")

    def test_a_missing_plan_gets_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(ParametersError, match=r"There is no plan .*; run `dvc repro plan`"):
            written.read(TrainPlan, tmp_path / "train.json")

    @pytest.mark.parametrize("arch", ARCHITECTURES)
    def test_keys_that_are_newer_than_a_plan_take_their_defaults(self, dataset: PreparedDataset, arch: str) -> None:
        plan = plans(dataset, arch, train={"epochs": 7}).train
        values = plan.to_json()
        for section, key in (("train", "ema"), ("train", "warmup"), ("input", "fit")):
            del values["settings"][section][key]
        del values["settings"]["norm"]
        again = TrainPlan.from_json(values)
        assert again.settings == plan.settings
        assert again.key == plan.key

    def test_settings_that_are_refused_today_get_a_sentence(self, dataset: PreparedDataset, tmp_path: Path) -> None:
        values = plans(dataset).train.to_json()
        with pytest.raises(ModelError, match="There is no architecture 'gone'"):
            TrainPlan.from_json(values | {"settings": values["settings"] | {"arch": "gone"}})
        (tmp_path / "plan.json").write_text(json.dumps(values | {"settings": values["settings"] | {"was_removed": 1}}))
        with pytest.raises(ParametersError, match="cannot be read"):
            written.read(TrainPlan, tmp_path / "plan.json")


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_settings_are_read_back_by_the_architectures_own_class(dataset: PreparedDataset, arch: str) -> None:
    settings: ModelSettings = factories.settings(arch)
    assert type(TrainPlan.from_json(plans(dataset, arch).train.to_json()).settings) is type(settings)
    assert type(EvaluatePlan.from_json(plans(dataset, arch).evaluate.to_json()).settings) is type(settings)
