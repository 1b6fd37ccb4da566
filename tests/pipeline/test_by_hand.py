"""The line by hand, script after script and without DVC: each stage leaves what the next one needs, and says what it lacks."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from conftest import TinyCheckout

from segline.card import ModelCard
from segline.layout import Checkout

pytestmark = pytest.mark.slow

STAGES = ("train", "evaluate", "export", "register")


@pytest.fixture(scope="module")
def line(make_tiny_checkout: Callable[[], TinyCheckout]) -> TinyCheckout:
    """A tiny checkout with plans for the U-Net, of which nothing has been trained."""
    checkout = make_tiny_checkout().cold()
    for stage in ("params", "download", "prepare", "plan"):
        said = checkout.run("python", f"pipeline/{stage}.py").stdout
        assert said.splitlines() == [] or (stage == "prepare" and "The split test lacks 1 class" in said and said.count("\n") == 1)
    return checkout


def told(line: TinyCheckout, *command: str) -> str:
    done = line.run("python", *command, check=False)
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def test_the_whole_line(line: TinyCheckout) -> None:
    place = Checkout(line.root)
    folder = place.model("unet")
    for stage in STAGES[1:]:
        assert "no trained model" in told(line, f"pipeline/{stage}.py", "unet")

    line.run("python", "pipeline/train.py", "unet")
    made = {"history.csv", "model.json", "trained_on.json", "weights.pt"}
    assert {file.name for file in folder.path.iterdir()} == made
    assert "metrics.json" in told(line, "pipeline/register.py", "unet")

    line.run("python", "pipeline/evaluate.py", "unet")
    made |= {"counts.npz", "metrics.json", "plots"}
    assert {file.name for file in folder.path.iterdir()} == made
    metrics = json.loads(folder.metrics.read_text())
    assert metrics["split"] == "test" and metrics["images"] == 3 and 0 <= metrics["miou_low"] <= metrics["miou"] <= metrics["miou_high"] <= 1
    assert {"training_curves.png", "confusion_matrix.png"} <= {file.name for file in folder.plots.iterdir()}

    line.run("python", "pipeline/export.py", "unet")
    assert {file.name for file in folder.path.iterdir()} == made | {"model.onnx", "parity.json"}
    parity = json.loads(folder.parity.read_text())
    assert parity["passed"] is True and parity["split_hash"] == metrics["split_hash"]
    assert parity["trained"] == metrics["miou"], "evaluation and export measure the same network"

    assert "shapes-unet version 1 is candidate" in line.run("python", "pipeline/register.py", "unet").stdout
    receipt = folder.receipt.read_text()
    assert json.loads(receipt)["version"] == 1
    line.run("python", "pipeline/register.py", "unet")
    assert folder.receipt.read_text() == receipt, "the same content is the same version"
    assert not (line.root / "dvc.lock").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_asks_for_one_model_that_there_is(line: TinyCheckout, stage: str) -> None:
    assert "params.yaml has no model 'unett'; it has unet, maskrcnn. Did you mean 'unet'?" in told(line, f"pipeline/{stage}.py", "unett")


def test_a_stage_without_a_model_tells_its_usage(line: TinyCheckout) -> None:
    assert told(line, "pipeline/register.py") == "usage: python pipeline/register.py <model of params.yaml>\n"


def test_what_was_trained_on_other_data_or_by_a_plan_that_is_gone_is_not_scored(line: TinyCheckout) -> None:
    place = Checkout(line.root)
    plan = place.plan("unet").evaluate
    kept = plan.read_text()
    if not place.model("unet").card.exists():
        line.run("python", "pipeline/train.py", "unet")
    hash_of_test = ModelCard.read(place.model("unet").card).dataset["split_hashes"]["test"]
    try:
        plan.write_text(kept.replace(hash_of_test, "0" * 64))
        assert "is not the one that the plan was made for; run `dvc repro evaluate@unet`" in told(line, "pipeline/evaluate.py", "unet")
        plan.unlink()
        assert "run `dvc repro plan` (or `python pipeline/plan.py`) to make it" in told(line, "pipeline/evaluate.py", "unet")
    finally:
        plan.write_text(kept)
