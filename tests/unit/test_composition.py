"""Models that are made of others: what they compute, that their files compute the same, and that none is made, scored or registered of stale members."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
import torch
from torch import nn

from segline import registry
from segline.card import ModelCard
from segline.composition.compose import compose
from segline.composition.norms import renew
from segline.data.store import PreparedDataset
from segline.errors import ModelError
from segline.evaluation.stage import evaluate_model
from segline.evaluation.trained import load
from segline.export.stage import export
from segline.layout import Checkout, ModelFolder
from segline.models import catalog
from segline.models.settings import Entry
from segline.models.soup import making as soups
from segline.plan import again, plans
from segline.plan.again import Note
from segline.plan.plans import ComposePlan, EvaluatePlan, ExportPlan, TrainPlan
from segline.plan.resolve import ModelPlans, resolve
from segline_runtime.instance import InstancePrediction
from segline_runtime.predictor import Predictor
from segline_runtime.semantic import SemanticPrediction, enlarged
from segline_runtime.specification import Components, Geometry, Tile

CPU = torch.device("cpu")
SEGNET = {"arch": "segnet", "width": 4, "input": {"size": [64, 64]}, "train": {"batch_size": 4}}
MODELS: dict[str, dict[str, Any]] = {
    "a": SEGNET,
    "b": SEGNET | {"train": {"batch_size": 4, "lr": 0.5}, "augment": [{"HorizontalFlip": {"p": 0.5}}]},
    "other": {"arch": "fcn8s", "width": 4, "input": {"size": [96, 64], "fit": "letterbox", "mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]}},
    "mean": {"arch": "ensemble", "of": ["a", "other"], "weights": [3, 1]},
    "soup": {"arch": "soup", "of": ["a", "b"]},
    "best": {"arch": "soup", "of": ["a", "b"], "greedy": True},
    "nested": {"arch": "ensemble", "of": ["mean", "soup"]},
    "objects": {"arch": "components", "of": "nested", "predict": {"min_size": 2, "connectivity": 4}},
}
TRAINED = ("a", "b", "other")
COMPOSED = tuple(name for name in MODELS if name not in TRAINED)


def planned(dataset: PreparedDataset, models: dict[str, dict[str, Any]] | None = None, notes: dict[str, Note] | None = None) -> dict[str, ModelPlans]:
    """The plans of a whole params.yaml."""
    entries: dict[str, Entry] = {name: catalog.settings(entry["arch"]).model_validate(entry) for name, entry in (models or MODELS).items()}
    params = factories.params_of(entries)
    found: dict[str, ModelPlans] = {}
    for name, settings in entries.items():
        found[name] = resolve(name, settings, params=params, info=dataset.info, code=factories.code(), roots=(), above=found, again=notes)
    return found


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return factories.shapes_dataset(tmp_path_factory.mktemp("shapes"), train=5, val=2, test=2, size=(48, 80))


def shaken(folder: ModelFolder, seed: int) -> None:
    """Other weights: those that networks begin with say the same of every pixel."""
    random = torch.Generator().manual_seed(seed)
    state = torch.load(folder.weights, weights_only=True)
    for name, value in state.items():
        if value.is_floating_point() and not name.endswith("running_var"):
            value += 0.3 * value.abs().mean().clamp(min=0.1) * torch.randn(value.shape, generator=random)
    torch.save(state, folder.weights)


def made(name: str, found: dict[str, ModelPlans], dataset: PreparedDataset, models: Path) -> ModelFolder:
    plan = found[name].train
    assert isinstance(plan, ComposePlan)
    folder = ModelFolder(models / name)
    compose(plan, dataset=dataset, models=models, folder=folder, accelerator="cpu", commit=None)
    return folder


def trained(models: Path, found: dict[str, ModelPlans], dataset: PreparedDataset) -> None:
    for number, name in enumerate(TRAINED):
        plan = found[name].train
        assert isinstance(plan, TrainPlan)
        factories.untrained(ModelFolder(models / name), plan, dataset)
        shaken(ModelFolder(models / name), number)


@pytest.fixture(scope="module")
def models(dataset: PreparedDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of `MODELS` in one folder, as the stage `train` leaves them."""
    folder, found = tmp_path_factory.mktemp("models"), planned(dataset)
    trained(folder, found, dataset)
    for name in COMPOSED:
        made(name, found, dataset, folder)
    return folder


@pytest.fixture
def few(dataset: PreparedDataset, tmp_path: Path) -> Path:
    """The trained ones and the first ensemble, for a test that changes them."""
    found = planned(dataset)
    trained(tmp_path, found, dataset)
    made("mean", found, dataset, tmp_path)
    return tmp_path


def probabilities(models: Path, name: str, dataset: PreparedDataset, image: np.ndarray) -> np.ndarray:
    [prediction] = [load(ModelFolder(models / name), planned(dataset)[name].evaluate, CPU).graph.run(image[None])]
    logits = torch.from_numpy(enlarged(prediction["logits"][0], (image.shape[0], image.shape[1]))).double()
    found: np.ndarray = torch.softmax(logits, dim=0).numpy()
    return found


class TestEnsemble:
    def test_it_is_the_weighted_mean_of_its_members_each_by_its_own_specification(self, models: Path, dataset: PreparedDataset) -> None:
        image = dataset.split("test", ["index"])[0].image[:41, :75]
        one, other = (probabilities(models, name, dataset, image) for name in ("a", "other"))
        assert np.abs(one - other).max() > 0.05
        assert np.abs(probabilities(models, "mean", dataset, image) - (0.75 * one + 0.25 * other)).max() < 1e-5
        nested = (0.75 * one + 0.25 * other + probabilities(models, "soup", dataset, image)) / 2
        assert np.abs(probabilities(models, "nested", dataset, image) - nested).max() < 1e-5

    def test_its_folder_needs_nothing_else(self, models: Path, dataset: PreparedDataset, tmp_path: Path) -> None:
        (models / "nested").rename(tmp_path / "nested")
        try:
            load(ModelFolder(tmp_path / "nested"), planned(dataset)["nested"].evaluate, CPU)
        finally:
            (tmp_path / "nested").rename(models / "nested")

    def test_tiles_are_those_of_all_members(self, dataset: PreparedDataset) -> None:
        tiled = {"fit": "native", "tile": {"size": [64, 64], "overlap": 8}}
        entries = {"a": SEGNET | {"input": tiled}, "b": SEGNET | {"input": tiled}, "mean": {"arch": "ensemble", "of": ["a", "b"]}}
        assert planned(dataset, entries)["mean"].evaluate.geometry == Geometry("native", None, Tile((64, 64), 8))


class TestEveryOne:
    """Whatever it is made of, it goes through the line as a training's model does."""

    @pytest.mark.parametrize("name", COMPOSED)
    def test_its_card_and_history_are_complete(self, models: Path, name: str, dataset: PreparedDataset) -> None:
        folder = ModelFolder(models / name)
        card, plan = ModelCard.read(folder.card), planned(dataset)[name].train
        assert (card.key, card.model, card.task) == (plan.key, name, plan.task)
        assert [member.name for member in card.members] == MODELS[name]["of"] or [MODELS[name]["of"]] == [member.name for member in card.members]
        assert card.training["metric"] == f"val_{plan.metric}" and card.training["parameter_count"] > 1000
        assert card.training["best"] is not None and 0 <= card.training["best"] <= 1
        assert folder.history.read_text().startswith(f"epoch,train_loss,val_{plan.metric}")
        images = json.loads(folder.trained_on.read_text())["images"]
        assert set(dataset.split("val", ["index"]).hashes()) <= set(images)
        assert not set(dataset.split("test", ["index"]).hashes()) & set(images)
        assert ModelCard.read(folder.card) == card

    @pytest.mark.parametrize("name", ["mean", "objects"])
    def test_it_is_scored_exported_and_proved(self, models: Path, name: str, dataset: PreparedDataset) -> None:
        folder, found = ModelFolder(models / name), planned(dataset)[name]
        evaluate_model(found.evaluate, folder, dataset, accelerator="cpu", progress=False)
        export(found.export, folder, dataset, progress=False)
        proof = json.loads(folder.parity.read_text())
        assert proof["passed"] and proof["difference"] == 0
        assert {file.name for file in folder.path.glob("*.onnx*")} == {"model.onnx"}
        predictor, trained_one = Predictor(folder.onnx, threads=1), load(folder, found.export, CPU)
        assert predictor.specification == trained_one.specification
        image = dataset.split("test", ["index"])[1].image[:45, :67]
        ours, [theirs] = predictor(image), trained_one.predict([image])
        if isinstance(ours, SemanticPrediction):
            assert isinstance(theirs, SemanticPrediction) and np.mean(ours.class_ids != theirs.class_ids) < 0.001
        else:
            assert isinstance(ours, InstancePrediction) and isinstance(theirs, InstancePrediction) and abs(len(ours.scores) - len(theirs.scores)) <= 1

    @pytest.mark.parametrize("name", COMPOSED)
    def test_its_plans_are_read_back(self, dataset: PreparedDataset, tmp_path: Path, name: str) -> None:
        found = planned(dataset)[name]
        plans.write(found.train, tmp_path / "train.json")
        assert plans.read_train(tmp_path / "train.json") == found.train
        for kind, plan in ((EvaluatePlan, found.evaluate), (ExportPlan, found.export)):
            assert kind.from_json(plan.to_json()).to_json() == plan.to_json()


class TestComponents:
    def test_the_specification_and_the_settings_say_which_objects(self, models: Path, dataset: PreparedDataset) -> None:
        found = planned(dataset)["objects"].evaluate
        loaded = load(ModelFolder(models / "objects"), found, CPU)
        assert loaded.specification.components == Components(2, 4, 100)
        assert (loaded.specification.task, loaded.task.name) == ("instance", "instance")
        image = dataset.split("test", ["index"])[0].image
        [objects] = loaded.predict([image])
        assert isinstance(objects, InstancePrediction)
        ids = probabilities(models, "nested", dataset, image).argmax(axis=0)
        for mask, label in zip(objects.masks, objects.labels, strict=True):
            assert (ids[mask] == label).all() and mask.sum() >= 2


class TestSoup:
    def test_weights_are_averaged_and_counters_are_not(self, models: Path) -> None:
        one, two, soup = (torch.load(models / name / "weights.pt", weights_only=True) for name in ("a", "b", "soup"))
        for name, value in soup.items():
            if "running" not in name and "tracked" not in name:
                assert torch.allclose(value, (one[name] + two[name]) / 2, atol=1e-6), name
        assert any("running_mean" in name and not torch.allclose(value, (one[name] + two[name]) / 2, atol=1e-3) for name, value in soup.items())
        assert ModelCard.read(models / "soup" / "model.json").training["images_for_norms"] == 4

    def test_statistics_are_those_of_the_images(self) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Dropout(0.5), nn.Conv2d(5, 2, 1), nn.BatchNorm2d(2, momentum=0.3)).eval()
        batches = [torch.randn(4, 3, 9, 9) for _ in range(3)]
        state = torch.random.get_rng_state()
        assert renew(network, batches, seed=0) == 12
        assert torch.equal(torch.random.get_rng_state(), state)
        inside = torch.stack([network[0](batch).mean(dim=(0, 2, 3)) for batch in batches]).mean(dim=0)
        norm, last = network[1], network[4]
        assert isinstance(norm, nn.BatchNorm2d) and isinstance(last, nn.BatchNorm2d) and norm.running_mean is not None
        assert torch.allclose(norm.running_mean, inside, atol=1e-5)
        assert (norm.momentum, last.momentum, network.training, norm.training) == (0.1, 0.3, False, False)
        assert renew(nn.Sequential(nn.Conv2d(3, 5, 3), nn.GroupNorm(1, 5)), batches, seed=0) == 0

    @pytest.mark.parametrize(
        ("alone", "together", "kept", "steps"),
        [
            ([0.5, 0.7, 0.6], {(1, 2): 0.8, (0, 1, 2): 0.7}, [1, 2], [(1, 0.7), (2, 0.8), (0, 0.7)]),
            ([0.5, 0.7, 0.6], {(1, 2): 0.7, (0, 1, 2): 0.9}, [1, 2, 0], [(1, 0.7), (2, 0.7), (0, 0.9)]),
            ([0.5, 0.7, 0.6], {(1, 2): 0.6, (0, 1): 0.5}, [1], [(1, 0.7), (2, 0.6), (0, 0.5)]),
            ([None, 0.1, None], {(0, 1): None, (1, 2): 0.1}, [1, 2], [(1, 0.1), (0, None), (2, 0.1)]),
        ],
    )
    def test_the_greedy_one_keeps_what_does_no_harm(
        self, alone: list[float | None], together: dict[tuple[int, ...], float | None], kept: list[int], steps: list[tuple[int, float | None]]
    ) -> None:
        states = [{"w": torch.tensor([float(i)])} for i in range(len(alone))]

        def mixed(some: Any) -> tuple[soups.State, float | None]:
            return soups.average(some), together[tuple(sorted(int(state["w"]) for state in some))]

        soup, taken = soups.greedy(states, alone, mixed)
        assert [(step.member, step.metric) for step in taken] == steps
        assert [step.member for step in taken if step.kept] == kept
        assert soup["w"].item() == pytest.approx(np.mean(kept))

    def test_the_greedy_one_is_no_worse_than_its_best_member_on_the_images_that_steer(self, models: Path) -> None:
        card = ModelCard.read(models / "best" / "model.json")
        rows = (models / "best" / "history.csv").read_text().splitlines()
        assert rows[0] == "epoch,train_loss,val_miou,member,kept" and len(rows) == 3
        assert card.training["best"] >= float(rows[1].split(",")[2])

    def test_it_predicts_as_a_trained_network_does(self, dataset: PreparedDataset) -> None:
        found = planned(dataset)
        assert found["soup"].evaluate == replace(found["a"].evaluate, model="soup")
        assert found["soup"].export == replace(found["a"].export, model="soup")

    def test_members_that_see_images_otherwise_are_refused(self, dataset: PreparedDataset, tmp_path: Path) -> None:
        found = planned(dataset)
        trained(tmp_path, found, dataset)
        card = ModelCard.read(tmp_path / "b" / "model.json")
        replace(card, specification=replace(card.specification, mean=(0.1, 0.1, 0.1))).write(tmp_path / "b" / "model.json")
        with pytest.raises(ModelError, match="'a' and 'b' see images with another mean"):
            made("soup", found, dataset, tmp_path)


class TestStale:
    """A member that changed makes what is made of it anew, or is refused."""

    @pytest.mark.parametrize(
        ("member", "change", "stale"),
        [
            ("a", {"train": {"batch_size": 4, "lr": 0.1}}, {"train": {"a", "mean", "soup", "best", "nested", "objects"}}),
            ("other", {"augment": [{"HorizontalFlip": {"p": 0.5}}]}, {"train": {"other", "mean", "nested", "objects"}}),
            ("mean", {"weights": [1, 1]}, {"train": {"mean", "nested", "objects"}, "evaluate": {"mean", "nested", "objects"}}),
            ("soup", {"greedy": True}, {"train": {"soup", "nested", "objects"}}),
            ("objects", {"predict": {"min_size": 3, "connectivity": 4}}, {"evaluate": {"objects"}}),
        ],
    )
    def test_a_change_concerns_the_model_and_what_is_made_of_it(
        self, dataset: PreparedDataset, member: str, change: dict[str, Any], stale: dict[str, set[str]]
    ) -> None:
        before, after = planned(dataset), planned(dataset, MODELS | {member: MODELS[member] | change})
        for stage in ("train", "evaluate", "export", "register"):
            found = {name for name in MODELS if getattr(before[name], stage).to_json() != getattr(after[name], stage).to_json()}
            assert found == stale.get("evaluate" if stage == "export" else stage, set()), stage

    def test_how_a_member_predicts_makes_nothing_anew(self, dataset: PreparedDataset) -> None:
        def tiled(overlap: int) -> dict[str, dict[str, Any]]:
            entry = SEGNET | {"input": {"fit": "native", "tile": {"size": [64, 64], "overlap": overlap}}}
            return {"a": entry, "b": entry, "mean": {"arch": "ensemble", "of": ["a", "b"]}}

        before, after = planned(dataset, tiled(8)), planned(dataset, tiled(24))
        assert before["mean"].train == after["mean"].train
        assert before["mean"].evaluate != after["mean"].evaluate and before["mean"].export != after["mean"].export

    def test_a_member_that_is_not_there_or_of_another_plan_is_refused(self, few: Path, dataset: PreparedDataset) -> None:
        found = planned(dataset, MODELS | {"a": MODELS["a"] | {"train": {"epochs": 3}}})
        (few / "other" / "weights.pt").unlink()
        with pytest.raises(ModelError) as told:
            made("mean", found, dataset, few)
        assert "holds a model that was trained by another plan" in told.value.problems[0]
        assert "dvc repro train@a`, and then `dvc repro train@mean" in told.value.problems[0]
        assert "holds no trained model" in told.value.problems[1]

    @pytest.mark.parametrize(
        "asked",
        [
            lambda folder, found, dataset: evaluate_model(found.evaluate, folder, dataset, accelerator="cpu", progress=False),
            lambda folder, found, dataset: export(found.export, folder, dataset, progress=False),
            lambda folder, _found, _dataset: registry.register(store="sqlite:///nowhere.db", folder=folder),
        ],
        ids=["evaluate", "export", "register"],
    )
    def test_other_weights_of_a_member_are_refused(self, few: Path, dataset: PreparedDataset, asked: Callable[..., Any]) -> None:
        shaken(ModelFolder(few / "other"), seed=9)
        with pytest.raises(ModelError, match=r"'mean' was made of other weights of 'other' than lie in .* now\. Run `dvc repro -f -s train@mean`"):
            asked(ModelFolder(few / "mean"), planned(dataset)["mean"], dataset)

    def test_a_training_that_was_forced_leaves_a_note_if_its_weights_changed(self, few: Path, dataset: PreparedDataset, tmp_path: Path) -> None:
        notes = Checkout(tmp_path).weights
        composed = [ModelFolder(few / "mean"), ModelFolder(few / "not_made_yet")]
        again.tell(ModelFolder(few / "a"), composed, notes)
        assert again.read(notes) == {}
        shaken(ModelFolder(few / "a"), seed=9)
        again.tell(ModelFolder(few / "a"), composed, notes)
        before, after = planned(dataset), planned(dataset, notes=again.read(notes))
        stale = {name for name in MODELS if before[name].train != after[name].train}
        assert stale == {"mean", "soup", "best", "nested", "objects"}
        assert after["mean"].train.members[0].again and not after["mean"].train.members[1].again  # type: ignore[union-attr]
        made("mean", after, dataset, few)
        load(ModelFolder(few / "mean"), after["mean"].evaluate, CPU)
        again.forget(notes, list(MODELS))
        assert set(again.read(notes)) == {"a"}, "as long as there is such a model"
        other = planned(dataset, MODELS | {"a": MODELS["a"] | {"train": {"epochs": 3}}}, notes=again.read(notes))
        assert not other["mean"].train.members[0].again, "it is of another plan"  # type: ignore[union-attr]
        again.forget(notes, ["b"])
        assert again.read(notes) == {}
