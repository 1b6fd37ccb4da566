"""Profiles: the modules' figures add up to the network's, and kept bytes are those that autograd saves."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import factories
import pytest
import torch
from model_parts import checkout
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segline.cli import main
from segline.data.store import PreparedDataset
from segline.errors import ModelError
from segline.layout import Checkout, ModelFolder
from segline.plan import plans as written
from segline.plan.plans import TrainPlan
from segline.profiling.kept import Kept
from segline.profiling.layers import OUTSIDE
from segline.profiling.profile import Profile, profile, summed

CPU = torch.device("cpu")
SIZE = (64, 64)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return factories.squares_dataset(tmp_path_factory.mktemp("squares"), [SIZE, SIZE])


def plan(dataset: PreparedDataset, arch: str, **changes: object) -> TrainPlan:
    found = factories.plans("m", factories.settings(arch, **changes), dataset).train
    assert isinstance(found, TrainPlan)
    return found


def profiled(found: TrainPlan, images: int = 2) -> Profile:
    return profile(found, images=images, size=SIZE, device=CPU, runs=1)


class TestKept:
    def test_it_is_what_each_layer_saves(self) -> None:
        layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Sigmoid())
        images = torch.zeros(2, 3, 16, 16)
        running = ["first"]
        with Kept([images, *layers.parameters()], lambda: running[0]) as kept:
            middle = layers[:2](images)
            running[0] = "second"
            layers[2:](middle)
        # ReLU's output, which the next convolution saves as well, and the sigmoid's.
        assert dict(kept.by_owner) == {"first": 4 * 2 * 8 * 256, "second": 4 * 2 * 4 * 256} and kept.total == 4 * 2 * 12 * 256

    def test_what_was_there_and_what_is_taken_twice_does_not_count(self) -> None:
        values, others = torch.zeros(10), torch.zeros(20)
        kept = Kept([values])
        kept.take(({"a": values}, [others, others[3:], "no tensor"]))
        assert kept.total == 80

    def test_without_gradients_nothing_is_kept(self) -> None:
        with Kept([]) as kept, torch.no_grad():
            nn.Linear(3, 3)(torch.zeros(1, 3)).relu()
        assert kept.total == 0


@pytest.mark.parametrize("arch", ["unet", "maskrcnn"])
def test_modules_add_up_to_the_network(arch: str, dataset: PreparedDataset) -> None:
    from segline.profiling.step import step

    found = profiled(plan(dataset, arch))
    trained = step(plan(dataset, arch), images=2, size=SIZE, device=CPU)
    assert found.parameters == sum(value.numel() for value in trained.network.parameters())
    with FlopCounterMode(display=False) as operations, trained.autocast(CPU):
        trained.loss()
    assert found.multiply_adds == operations.get_total_flops() // 2
    assert found.kept_bytes > 0 and found.forward_ms > 0 and found.backward_ms > 0
    assert 0.5 * found.forward_ms < sum(layer.milliseconds for layer in found.layers) < 1.5 * found.forward_ms
    assert json.loads(json.dumps(found.to_json()))["kept_bytes"] == found.kept_bytes
    by_name = {layer.name: layer for layer in found.layers}
    assert by_name[OUTSIDE].kind == "" and all(layer.calls or layer.name == OUTSIDE or layer.parameters for layer in found.layers)


def test_outputs_calls_and_sums_by_name(dataset: PreparedDataset) -> None:
    found = profiled(plan(dataset, "unet"))
    [first] = [layer for layer in found.layers if layer.kind == "Conv2d" and layer.name.startswith("network.encoder")][:1]
    assert first.shape is not None and first.shape[0] == 2 and first.calls == 1 and first.multiply_adds > 0
    together = summed(found.layers, 2)
    assert [layer.name for layer in together if layer.name.startswith("network.")] == ["network.encoder", "network.decoder", "network.segmentation_head"]
    for name in ("multiply_adds", "parameters", "kept_bytes"):
        assert sum(getattr(layer, name) for layer in together) == getattr(found, name)


def test_twice_the_images_keep_twice_the_maps(dataset: PreparedDataset) -> None:
    entry = plan(dataset, "segnet", train={"precision": "fp32"})
    one, two = (profiled(entry, images).layers for images in (2, 4))
    assert sum(layer.kept_bytes for layer in two) / sum(layer.kept_bytes for layer in one) == pytest.approx(2, rel=0.02)


@pytest.mark.slow
def test_what_saves_memory_keeps_less(dataset: PreparedDataset) -> None:
    precise = {"precision": "fp32"}
    plain = profiled(plan(dataset, "unet", encoder="resnet18", train=precise))
    for changes, most in (({"train": {"checkpointing": True, **precise}}, 0.7), ({"norm": "inplace_abn", "train": precise}, 0.85)):
        saving = profiled(plan(dataset, "unet", encoder="resnet18", **changes))
        assert 0.2 < saving.kept_bytes / plain.kept_bytes < most
        assert saving.multiply_adds == plain.multiply_adds and saving.parameters == plain.parameters


def test_losses_with_maps_and_pretrained_weights_are_profiled_without_fetching(dataset: PreparedDataset) -> None:
    entry = plan(dataset, "unet", weights="imagenet", loss={"cross_entropy": {"border": {}}, "boundary": 0.1})
    assert profiled(entry).kept_bytes > 0


def test_too_few_images_are_told(dataset: PreparedDataset) -> None:
    with pytest.raises(ModelError, match=r"'m' cannot train on 1 image of 32×32 .* Give --batch or --size a larger value"):
        profile(plan(dataset, "unet"), images=1, size=(32, 32), device=CPU, runs=1)


class TestCommand:
    @pytest.fixture
    def root(self, tmp_path: Path, dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A checkout in which a model is planned and another one was trained."""
        root = checkout(tmp_path / "checkout")
        written.write(plan(dataset, "segnet"), Checkout(root).plan("unet").train)
        factories.untrained(ModelFolder(root / "models" / "trained"), plan(dataset, "segnet"), dataset)
        monkeypatch.chdir(root)
        return root

    @pytest.fixture
    def segline(self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
        def call(*arguments: str) -> tuple[int, str, str]:
            capfd.readouterr()
            monkeypatch.setattr(sys, "argv", ["segline", "profile", *arguments])
            with pytest.raises(SystemExit) as left:
                main()
            out, err = capfd.readouterr()
            assert "Traceback" not in err
            return int(left.value.code or 0), out, err

        return call

    @pytest.mark.usefixtures("root")
    @pytest.mark.parametrize("model", ["trained", "models/trained"])
    def test_by_name_and_by_folder(self, model: str, segline: Callable[..., tuple[int, str, str]]) -> None:
        code, out, err = segline(model, "--depth", "2", "--sort", "kept")
        assert code == 0 and "a training step of 2 images of 64×64 on cpu" in out and "network.encoder" in out, err

    @pytest.mark.usefixtures("root")
    def test_json_is_sorted_and_whole(self, segline: Callable[..., tuple[int, str, str]]) -> None:
        code, out, _ = segline("unet", "--json", "--sort", "parameters", "--size", "96x64", "--batch", "3")
        values = json.loads(out)
        parameters = [layer["parameters"] for layer in values["layers"]]
        assert code == 0 and values["images"] == 3 and values["size"] == [96, 64] and parameters == sorted(parameters, reverse=True)

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (("unett",), "There is no model 'unett'. Did you mean unet? A new entry of params.yaml is seen after `dvc repro plan`."),
            (("unet", "--size", "12"), "--size is '12'; it is written HEIGHTxWIDTH"),
            (("unet", "--sort", "tim"), "--sort is 'tim'. Did you mean time?"),
            (("models",), "models holds no trained model"),
            (("whole",), "say by --size HEIGHTxWIDTH how large one is"),
            (("made",), "'made' is made of other models and is not trained itself; profile what it is made of: unet, trained."),
        ],
    )
    def test_mistakes(
        self, arguments: tuple[str, ...], sentence: str, root: Path, dataset: PreparedDataset, segline: Callable[..., tuple[int, str, str]]
    ) -> None:
        found = plan(dataset, "unet", input={"fit": "native"})
        values = found.to_json() | {"model": "whole"}
        place = Checkout(root).plan("whole").train
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps(values))
        made = {name: values[name] for name in ("task", "dataset", "seed", "image", "classes", "training", "steering", "metric", "code", "version")}
        members = [{"name": name, "key": "k"} for name in ("unet", "trained")]
        place = Checkout(root).plan("made").train
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps(made | {"model": "made", "members": members, "settings": {"arch": "ensemble", "of": ["unet", "trained"]}}))
        code, _, err = segline(*arguments)
        assert code == 2 and sentence in err

    def test_outside_a_checkout(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segline: Callable[..., tuple[int, str, str]]) -> None:
        monkeypatch.chdir(tmp_path)
        code, _, err = segline("unet")
        assert code == 2 and "There is no model folder 'unet', and no checkout around" in err
