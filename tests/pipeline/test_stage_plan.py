"""The stage `plan` by its real entry point: what it writes, what it leaves as it was, weight files, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import TinyCheckout

from segline.data.class_masks import with_label_pixels
from segline.data.store import PreparedDataset
from segline.layout import Checkout
from segline.losses.class_weights import class_weights
from segline.plan import plans
from segline.provenance import file_digest

FILES = ["decisions.json", "evaluate.json", "export.json", "register.json", "train.json"]


@pytest.fixture(scope="module")
def prepared(make_tiny_checkout: Callable[[], TinyCheckout]) -> TinyCheckout:
    """A tiny checkout whose data is prepared."""
    checkout = make_tiny_checkout()
    for stage in ("params", "download", "prepare"):
        checkout.run("python", f"pipeline/{stage}.py")
    return checkout


@pytest.fixture
def checkout(prepared: TinyCheckout) -> Iterator[TinyCheckout]:
    """The same, with params.yaml put back afterwards, and without plans."""
    before = prepared.params.read_text()
    yield prepared
    prepared.params.write_text(before)
    shutil.rmtree(prepared.root / "data" / "plan", ignore_errors=True)


def plan(checkout: TinyCheckout) -> dict[str, str]:
    """The plans' content, by path below data/plan."""
    assert checkout.run("python", "pipeline/plan.py").stdout == ""
    folder = Checkout(checkout.root).plans
    return {file.relative_to(folder).as_posix(): file.read_text() for file in sorted(folder.rglob("*.json"))}


def refused(checkout: TinyCheckout) -> str:
    done = checkout.run("python", "pipeline/plan.py", check=False)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def test_each_stage_of_each_model_gets_its_plan(checkout: TinyCheckout) -> None:
    written = plan(checkout)
    assert list(written) == [f"{model}/{file}" for model in ("maskrcnn", "unet") for file in FILES]
    place = Checkout(checkout.root)
    info = PreparedDataset(place.prepared).info
    train = plans.read(plans.TrainPlan, place.plan("unet").train)
    assert (train.training.split, train.training.hash) == ("train", info.split_hashes["train"])
    assert (train.steering.split, train.steering.hash) == ("val", info.split_hashes["val"])
    assert train.classes == info.classes
    for kind, file in ((plans.EvaluatePlan, place.plan("unet").evaluate), (plans.ExportPlan, place.plan("unet").export)):
        scored = plans.read(kind, file).scored
        assert (scored.split, scored.hash) == ("test", info.split_hashes["test"])
    assert plan(checkout) == written


def test_a_change_of_one_model_leaves_the_other_models_plans(checkout: TinyCheckout) -> None:
    before = plan(checkout)
    checkout.edit("lr: 0.002", "lr: 0.003")
    after = plan(checkout)
    assert {name for name in before if before[name] != after[name]} == {"unet/train.json"}
    checkout.edit("workers: 0", "workers: 2")
    assert plan(checkout) == after


def test_a_model_that_is_gone_has_no_plan(checkout: TinyCheckout) -> None:
    plan(checkout)
    text = checkout.params.read_text()
    checkout.params.write_text("data: {source: shapes}\nmodels:\n  unet: {arch: unet}\n" + text[text.index("evaluate:") : text.index("promote:")])
    assert {name.split("/")[0] for name in plan(checkout)} == {"unet"}


def test_auto_is_decided_and_the_reason_is_told(checkout: TinyCheckout) -> None:
    checkout.edit("encoder: mobilenet_v2\n    input: {size: [64, 64]}", "encoder: mobilenet_v2")
    decisions = json.loads(plan(checkout)["unet/decisions.json"])
    [size] = [decision for decision in decisions if decision["key"] == "input.size"]
    assert size["value"] == [64, 64] and "median training image has 64×64 pixels" in size["reason"]


def test_what_prepare_counted_decides(checkout: TinyCheckout) -> None:
    checkout.edit("input: {size: [64, 64]}\n    proposals", "input: {fit: auto}\n    anchors: auto\n    proposals")
    checkout.edit("train: {epochs: 1, batch_size: 4, lr: 0.0005, warmup: 0}", "train: {epochs: auto, batch_size: auto, lr: 0.0005, warmup: 0}")
    told = {decision["key"]: decision for decision in json.loads(plan(checkout)["maskrcnn/decisions.json"])}
    train = plans.read(plans.TrainPlan, Checkout(checkout.root).plan("maskrcnn").train)
    assert (train.settings.train.epochs, train.settings.train.batch_size) == (told["train.epochs"]["value"], told["train.batch_size"]["value"]) == (80, 4)
    assert train.to_json()["settings"]["anchors"] == told["anchors"]["value"] and "objects" in told["anchors"]["reason"]
    counted = checkout.root / "data" / "prepared" / "extents.json"
    content = counted.read_text()
    try:
        counted.unlink()
        assert "models.maskrcnn.input.fit is auto, and the data was prepared by an earlier Segline" in refused(checkout)
        counted.write_text(content[:40])
        assert f"{counted} cannot be read" in refused(checkout)
    finally:
        counted.write_text(content)


@pytest.mark.parametrize("given", ["relative", "absolute"])
def test_the_content_of_a_weight_file_is_part_of_the_plan_and_its_path_is_watched(checkout: TinyCheckout, tmp_path: Path, given: str) -> None:
    file = tmp_path / "encoder.pt" if given == "absolute" else checkout.root.parent / "encoder.pt"
    file.write_bytes(b"weights")
    checkout.edit("mobilenet_v2", f"mobilenet_v2\n    weights: {file if given == 'absolute' else '../encoder.pt'}")
    place = Checkout(checkout.root)
    plan(checkout)
    assert (place.weights / "unet").resolve() == file.resolve()
    first = plans.read(plans.TrainPlan, place.plan("unet").train)
    assert first.weights_digest == file_digest(file)
    file.write_bytes(b"other weights")
    plan(checkout)
    second = plans.read(plans.TrainPlan, place.plan("unet").train)
    assert second.weights_digest == file_digest(file)
    assert second.key != first.key
    checkout.edit(f"\n    weights: {file if given == 'absolute' else '../encoder.pt'}", "")
    plan(checkout)
    assert [entry.name for entry in place.weights.iterdir()] == ["README.md"]


def test_mistakes_of_all_models_are_told_together(checkout: TinyCheckout) -> None:
    checkout.edit("mobilenet_v2", "mobilenet_v2\n    weights: nowhere.pt")
    checkout.edit("mobilenet_v3_small", "mobilenet_v3_small\n    weights: /nowhere/at/all.pt")
    told = refused(checkout)
    assert "models.unet.weights: 'nowhere.pt' is neither imagenet nor none, and no such file exists" in told
    assert "models.maskrcnn.weights: '/nowhere/at/all.pt' is neither imagenet nor none, and no such file exists" in told
    assert not Checkout(checkout.root).plans.exists()


def test_data_that_is_not_prepared_or_lacks_the_truth_is_told(checkout: TinyCheckout) -> None:
    file = checkout.root / "data" / "prepared" / "dataset.json"
    content = file.read_text()
    try:
        file.write_text(json.dumps(json.loads(content) | {"truths": ["index"]}))
        assert "The model 'maskrcnn' learns from object masks (instance truth)" in refused(checkout)
        file.unlink()
        assert "run `dvc repro prepare` (or `python pipeline/prepare.py`) first" in refused(checkout)
    finally:
        file.write_text(content)


def test_weights_of_a_multi_label_model_are_by_its_objects_whatever_hides_them(checkout: TinyCheckout) -> None:
    """These overlap hardly, so the count of visible pixels is made another."""
    checkout.edit("    arch: unet\n", "    arch: unet\n    multilabel: true\n    loss: {binary_cross_entropy: {class_weights: balanced}}\n")
    place = Checkout(checkout.root)
    file = place.prepared / "dataset.json"
    before = file.read_text()
    values = json.loads(before)
    values["class_pixels"][1:] = [7] * (len(values["class_pixels"]) - 1)
    file.write_text(json.dumps(values))
    try:
        plan(checkout)
        info = with_label_pixels(PreparedDataset(place.prepared))
    finally:
        file.write_text(before)
    found = plans.read(plans.TrainPlan, place.plan("unet").train)
    assert found.class_weights == {"binary_cross_entropy": class_weights("balanced", info.class_pixels, info.class_image_pixels)}
    assert min(info.class_pixels) > 7
