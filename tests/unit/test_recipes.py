"""Recipes: each is right for all its architectures, is overridden key by key, tells what it set, and is in no plan by its name."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import pytest

from segline import params
from segline.cli import main
from segline.data.store import PreparedDataset
from segline.errors import ParametersError
from segline.layout import Checkout
from segline.models.catalog import ARCHITECTURES
from segline.models.semantic_settings import SemanticSettings
from segline.models.settings import ModelSettings
from segline.params import Params
from segline.plan.resolve import ModelPlans, resolve
from segline.plan.stage import write_plans
from segline.recipes import catalog
from segline.recipes.applied import applied
from segline.tasks import catalog as tasks
from segline.training.augment import Augmentation

EVERY = [(name, arch) for name in catalog.RECIPES for arch in catalog.get(name).architectures]


def read(folder: Path, entries: dict[str, Any]) -> Params:
    """JSON is YAML, too."""
    file = folder / "params.yaml"
    file.write_text(json.dumps({"data": {"source": "shapes"}, "models": entries}))
    return params.read(file)


def problems(folder: Path, entry: dict[str, Any]) -> str:
    with pytest.raises(ParametersError) as caught:
        read(folder, {"m": entry})
    return "\n".join(caught.value.problems)


def model(folder: Path, **entry: Any) -> ModelSettings:
    return read(folder, {"m": entry}).models["m"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return factories.shapes_dataset(tmp_path_factory.mktemp("shapes"), size=(72, 100))


def plans(given: Params, dataset: PreparedDataset, name: str = "m") -> ModelPlans:
    return resolve(name, given.models[name], params=given, info=dataset.info, code=factories.code(), roots=(factories.ROOT,))


@pytest.mark.parametrize(("name", "arch"), EVERY)
def test_it_is_right_for_each_of_its_architectures(tmp_path: Path, dataset: PreparedDataset, name: str, arch: str) -> None:
    given = read(tmp_path, {"m": {"arch": arch, "recipe": name}})
    settings = given.models["m"]
    found = plans(given, dataset)
    assert found.train.settings.train == settings.train
    assert isinstance(found.train.settings.input.crop, tuple | None)
    for key, value in catalog.get(name).values["train"].items():  # type: ignore[union-attr]
        assert isinstance(value, str | float | list) is False or getattr(settings.train, key) == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize("name", catalog.RECIPES)
def test_its_transforms_can_be_made(tmp_path: Path, name: str) -> None:
    settings = model(tmp_path, arch=catalog.get(name).architectures[0], recipe=name)
    Augmentation(settings.augment, geometry=settings.geometry((64, 64)), truth=tasks.get(settings.task).truths[0])


@pytest.mark.parametrize("name", [name for name in catalog.RECIPES if name != "maskrcnn"])
def test_multi_label_models_get_the_twins_of_its_losses(tmp_path: Path, name: str) -> None:
    recipe = catalog.get(name)
    entry: dict[str, Any] = {"arch": recipe.architectures[0], "recipe": name, "multilabel": True}
    losses = model(tmp_path, **entry, **({"weights": "imagenet"} if recipe.pretrained else {})).loss.terms()  # type: ignore[attr-defined]
    expected = {"binary_cross_entropy" if word == "cross_entropy" else word: term for word, term in recipe.values["loss"].items()}
    assert {word: term.wanted_class_weights for word, term in losses.items()} == {word: term.get("class_weights", "none") for word, term in expected.items()}
    assert set(model(tmp_path, **{**entry, "arch": "unet", "recipe": "unet"}, loss={"dice": 2.0}).loss.terms()) == {"dice"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", catalog.RECIPES)
def test_it_names_its_paper_and_architectures_that_there_are(name: str) -> None:
    recipe = catalog.get(name)
    assert set(recipe.architectures) <= set(ARCHITECTURES)
    assert recipe.about.endswith(".") and any(year in recipe.source for year in map(str, range(2015, 2027)))


def test_every_architecture_but_the_sliding_window_has_one() -> None:
    assert [arch for arch in ARCHITECTURES if not catalog.of_architecture(arch)] == ["patch"]


class TestOverriding:
    def test_one_key_of_a_section_alone(self, tmp_path: Path) -> None:
        settings = model(tmp_path, arch="unet", recipe="unet", train={"lr": 0.005})
        whole = model(tmp_path, arch="unet", recipe="unet")
        assert settings.train.lr == 0.005
        assert settings.train == whole.train.model_copy(update={"lr": 0.005})
        assert (settings.input, settings.augment) == (whole.input, whole.augment)

    def test_lists_are_replaced(self, tmp_path: Path) -> None:
        settings = model(tmp_path, arch="unet", recipe="unet", augment=["VerticalFlip"])
        assert [transform.name for transform in settings.augment] == ["VerticalFlip"]
        assert model(tmp_path, arch="unet", recipe="unet", augment=[]).augment == []

    def test_null_takes_a_default_of_the_recipe_away(self, tmp_path: Path) -> None:
        settings = model(tmp_path, arch="unet", recipe="unet", train={"ema": None, "clip": None})
        assert (settings.train.ema, settings.train.clip) == (None, None)

    def test_the_losses_that_are_named_are_all_of_them(self, tmp_path: Path) -> None:
        def losses(**given: Any) -> dict[str, tuple[float, Any]]:
            settings = model(tmp_path, arch="unet", recipe="unet", loss=given)
            assert isinstance(settings, SemanticSettings)
            return {word: (term.weight, term.wanted_class_weights) for word, term in settings.loss.terms().items()}

        assert losses(focal=2) == {"focal": (2.0, "none")}
        assert losses(cross_entropy=0.5) == {"cross_entropy": (0.5, "enet")}
        assert losses(cross_entropy={"class_weights": "balanced"}, dice={}) == {"cross_entropy": (1.0, "balanced"), "dice": (1.0, "none")}

    def test_who_gives_a_size_or_tiles_decides_about_the_geometry(self, tmp_path: Path) -> None:
        assert model(tmp_path, arch="unet", recipe="unet").input.model_dump() == PLAIN_INPUT | {"fit": "native", "crop": "auto"}
        assert model(tmp_path, arch="unet", recipe="unet", input={"size": [64, 96]}).input.model_dump() == PLAIN_INPUT | {"size": (64, 96)}
        tiled = model(tmp_path, arch="unet", recipe="unet", input={"tile": {"size": [256, 256]}}).input
        assert (tiled.fit, tiled.crop, tiled.training_crop) == ("native", None, (256, 256))
        assert model(tmp_path, arch="unet", recipe="unet", input={"crop": [64, 64]}).input.training_crop == (64, 64)

    def test_keys_of_the_architecture(self, tmp_path: Path) -> None:
        assert model(tmp_path, arch="pspnet", recipe="pspnet").auxiliary == 0.4  # type: ignore[attr-defined]
        assert model(tmp_path, arch="pspnet", recipe="pspnet", auxiliary=0.0).auxiliary == 0.0  # type: ignore[attr-defined]

    def test_the_entry_stays_as_it_was_read(self) -> None:
        entry = {"arch": "unet", "recipe": "unet", "train": {"lr": 0.1}, "loss": {"dice": 1.0}}
        before = json.dumps(entry)
        applied(entry)
        assert json.dumps(entry) == before
        applied(entry).entry["augment"].append("broken")
        assert "broken" not in applied(entry).entry["augment"]


PLAIN_INPUT = {"size": "auto", "fit": "stretch", "crop": None, "tile": None, "mean": None, "std": None}
"""What an entry without a recipe has."""


class TestProportions:
    def test_of_epochs(self, tmp_path: Path) -> None:
        assert model(tmp_path, arch="unet", recipe="unet", train={"epochs": 40}).train.warmup == 2.0
        assert model(tmp_path, arch="unet", recipe="unet").train.warmup == 1.5
        tuned = model(tmp_path, arch="unet", recipe="fine_tune", train={"epochs": 100}).train
        assert (tuned.freeze_encoder, tuned.warmup, tuned.encoder_lr_factor) == (5.0, 5.0, 0.1)

    def test_of_a_batch(self, tmp_path: Path) -> None:
        rates = [
            model(tmp_path, arch="hrnet", recipe="hrnet", train=train).train.lr
            for train in ({"batch_size": 12}, {"batch_size": 3}, {"batch_size": 6, "accumulate": 4})
        ]
        assert rates == pytest.approx([0.01, 0.0025, 0.02])

    def test_a_wrong_number_is_told_as_ever(self, tmp_path: Path) -> None:
        told = problems(tmp_path, {"arch": "hrnet", "recipe": "hrnet", "train": {"batch_size": "many", "epochs": -1}})
        assert "models.m.train.batch_size is 'many'" in told and "models.m.train.epochs is -1" in told
        assert "its recipe" not in told


class TestMistakes:
    @pytest.mark.parametrize(
        ("entry", "sentence"),
        [
            ({"arch": "unet", "recipe": "unett"}, "models.m.recipe: There is no recipe 'unett'. Did you mean unet"),
            ({"arch": "unet", "recipe": 5}, "models.m.recipe is 5; it must be one of unet, unet_2015"),
            ({"arch": "unet", "recipe": ["unet"]}, "models.m.recipe is ['unet']; it must be one of"),
            (
                {"arch": "unet", "recipe": "segnet"},
                "models.m.recipe: segnet is for segnet, deconvnet, and arch is unet; for unet there are unet, unet_2015, resenc, fine_tune.",
            ),
            ({"arch": "maskrcnn", "recipe": "unet"}, "and arch is maskrcnn; for maskrcnn there is maskrcnn. Name another, or remove the line."),
            ({"arch": "patch", "recipe": "unet"}, "and arch is patch; patch has none."),
            ({"arch": "unet", "recipe": "fine_tune", "weights": "none"}, "models.m.recipe: fine_tune goes on from pre-trained weights, and weights is none."),
            ({"arch": "fcn8s", "recipe": "fcn", "weights": "none"}, "Set `weights: imagenet` or a file, or another recipe."),
            ({"arch": "unet", "recip": "unet"}, "models.m.recip is no known key; did you mean 'recipe'?"),
            ({"arch": "unet", "recipe": "unet", "train": 5}, "models.m.train is 5"),
            ({"arch": "unet", "recipe": "unet", "loss": []}, "models.m.loss is []"),
            ({"arch": "unet", "recipe": "unet", "augment": None}, "models.m.augment is empty (null)"),
        ],
    )
    def test_a_sentence_for_each(self, tmp_path: Path, entry: dict[str, Any], sentence: str) -> None:
        assert sentence in problems(tmp_path, entry)

    def test_keys_that_do_not_go_together_are_told_with_where_they_come_from(self, tmp_path: Path) -> None:
        told = problems(tmp_path, {"arch": "maskrcnn", "recipe": "maskrcnn", "train": {"multi_scale": [2.0, 1.0]}})
        assert "models.m.train: multi_scale is [2.0, 1.0]" in told and "its recipe" not in told
        told = problems(tmp_path, {"arch": "fcn8s", "recipe": "fcn", "width": 32})
        assert "`weights: imagenet` are those of `width: 64`" in told
        assert "models.m: its recipe fcn sets weights, loss.cross_entropy.weight, augment, train.optimizer" in told
        assert model(tmp_path, arch="fcn8s", recipe="unet", width=32).train.optimizer == "adamw"
        told = problems(tmp_path, {"arch": "unet", "recipe": "unet", "input": {"fit": "stretch", "tile": {"size": [64, 64], "overlap": 8}}})
        assert "tile needs `fit: native`" in told

    def test_problems_of_all_models_are_told_together(self, tmp_path: Path) -> None:
        with pytest.raises(ParametersError) as caught:
            read(tmp_path, {"a": {"arch": "unet", "recipe": "x"}, "b": {"arch": "unet", "recipe": "hrnet"}, "c": {"arch": "unet", "train": {"lr": -1}}})
        assert [sentence.split(".")[2][:1] for sentence in caught.value.problems] == ["a", "b", "c"]


class TestPlans:
    def test_the_name_of_a_recipe_is_in_no_plan(self, tmp_path: Path, dataset: PreparedDataset) -> None:
        """Who writes down all that a recipe sets has the same plans."""
        by_name = read(tmp_path, {"m": {"arch": "unet", "recipe": "unet"}})
        written = by_name.models["m"].model_dump(mode="json")
        assert "recipe" not in written
        by_hand = read(tmp_path, {"m": written})
        assert by_hand.models["m"].recipe is None
        first, second = plans(by_name, dataset), plans(by_hand, dataset)
        for stage in ("train", "evaluate", "export", "register"):
            assert getattr(first, stage).to_json() == getattr(second, stage).to_json()
        assert first.train.key == second.train.key

    def test_no_training_depends_on_the_recipes_themselves(self) -> None:
        covered = factories.code().modules(["segline.training.train", "segline.models.unet.network"])
        assert "segline.training.twins" in covered
        assert not [name for name in covered if name.startswith(("segline.recipes", "segline.params"))]

    def test_decisions_tell_what_came_from_it(self, tmp_path: Path, dataset: PreparedDataset) -> None:
        given = read(tmp_path, {"m": {"arch": "hrnet", "recipe": "hrnet", "train": {"batch_size": 6, "momentum": 0.8}}, "plain": {"arch": "unet"}})
        told = {decision.key: (decision.value, decision.reason) for decision in plans(given, dataset).decisions}
        assert told["train.lr"] == (0.005, "the recipe hrnet: 0.01 for 12 images per step, in proportion for 6")
        assert told["train.schedule"] == ("poly", "the recipe hrnet")
        assert not {"train.momentum", "train.batch_size"} & set(told)
        assert not [decision for decision in plans(given, dataset, "plain").decisions if "recipe" in decision.reason]

    def test_they_stand_in_the_file(self, tmp_path: Path, dataset: PreparedDataset) -> None:
        checkout = Checkout(tmp_path / "copy")
        checkout.prepared.parent.mkdir(parents=True)
        checkout.prepared.symlink_to(dataset.folder)
        (checkout.root / "src").symlink_to(factories.ROOT / "src")
        write_plans(read(tmp_path, {"m": {"arch": "segnet", "recipe": "segnet"}}), checkout)
        told = json.loads((checkout.plans / "m" / "decisions.json").read_text())
        assert {"key": "loss.cross_entropy.class_weights", "value": "median_frequency", "reason": "the recipe segnet"} in told

    @pytest.mark.parametrize(
        ("given", "crop", "reason"),
        [
            ({"fit": "native", "crop": "auto"}, (64, 96), "the median training image has 72×100 pixels"),
            ({"size": [600, 1000], "crop": "auto"}, (512, 512), "the network sees 600×1000 pixels; each side at most 512"),
            ({"size": [32, 40], "crop": "auto"}, (32, 32), "the network sees 32×40 pixels"),
        ],
    )
    def test_a_crop_is_decided_from_the_data(self, tmp_path: Path, dataset: PreparedDataset, given: Any, crop: tuple[int, int], reason: str) -> None:
        found = plans(read(tmp_path, {"m": {"arch": "unet", "input": given}}), dataset)
        assert found.train.settings.input.crop == crop
        [decision] = [decision for decision in found.decisions if decision.key == "input.crop"]
        assert decision.value == list(crop) and reason in decision.reason and "stride 32" in decision.reason
        by_hand = plans(read(tmp_path, {"m": {"arch": "unet", "input": given | {"crop": list(crop)}}}), dataset)
        assert by_hand.train.key == found.train.key and by_hand.evaluate.to_json() == found.evaluate.to_json()

    def test_copy_paste_needs_objects_with_masks(self, tmp_path: Path, dataset: PreparedDataset) -> None:
        given = read(tmp_path, {"m": {"arch": "unet", "augment": ["CopyPaste"]}})
        assert plans(given, dataset).train.settings.augment[0].name == "CopyPaste"
        flat = PreparedDataset(dataset.folder)
        flat.info = replace(flat.info, truths=("index",))
        with pytest.raises(ParametersError, match=r"models\.m\.augment: CopyPaste pastes objects by their masks, and the data set 'shapes' has none"):
            plans(given, flat)

    @pytest.mark.parametrize(
        ("entry", "sentence"),
        [
            ({"augment": ["CopyPaste"], "loss": {"cross_entropy": {"border": {}}}}, r"augment: CopyPaste puts objects where the map of `border` knows of none"),
            ({"train": {"augment_on": "device"}, "loss": {"dice": 1.0, "boundary": 0.1}}, r"train\.augment_on is device, and its loss reads maps"),
        ],
    )
    def test_maps_of_the_truth_follow_the_loader_alone(self, tmp_path: Path, dataset: PreparedDataset, entry: dict[str, Any], sentence: str) -> None:
        with pytest.raises(ParametersError, match=rf"models\.m\.{sentence}"):
            plans(read(tmp_path, {"m": {"arch": "unet", **entry}}), dataset)
        wanted = {key: value for key, value in entry.items() if key == "loss"}
        assert plans(read(tmp_path, {"m": {"arch": "unet", **wanted}}), dataset).train.settings.wanted_maps


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], ["unet: A strong default", "maskrcnn: AdamW", "`recipe: <name>`"]),
        (["deeplab"], ["`recipe: deeplab`", "| `train.lr` | `0.007` for 16 images per step", "arXiv:1706.05587"]),
        (["tiramisu67"], ["`recipe: unet`", "`recipe: tiramisu`", "| `train.uncropped` | 0.2 of `train.epochs` |"]),
    ],
)
def test_the_command_lists_them(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], shown: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["segline", "recipes", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    said = capsys.readouterr().out
    assert all(text in said for text in shown)


def test_the_command_names_the_nearest(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["segline", "recipes", "deeplap"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert "There is no recipe 'deeplap'. Did you mean deeplab?" in capsys.readouterr().err
