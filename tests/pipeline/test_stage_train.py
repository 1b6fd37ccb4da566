"""The train stage by its real entry point: outputs, resuming after `kill -9`, refusals, several processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from conftest import TinyCheckout

from segline.data.store import PreparedDataset
from segline.layout import Checkout
from segline.tasks.trained import load

EPOCHS = 4
MODELS = f"""\
models:
  unet:
    task: semantic
    encoder: mobilenet_v2
    augment: [{{HorizontalFlip: {{p: 0.5}}}}]
    train: {{epochs: {EPOCHS}, batch_size: 4, lr: 0.002, warmup: 1, ema: 0.9}}
  maskrcnn:
    task: instance
    encoder: mobilenet_v3_small
    proposals: {{train_before_nms: 50, train_after_nms: 20, test_before_nms: 50, test_after_nms: 10, rpn_batch: 16, box_batch: 8}}
    max_detections: 10
    train: {{epochs: 1, batch_size: 4, lr: 0.0005, warmup: 0}}
"""


@pytest.fixture(scope="module")
def line(make_tiny_checkout: Callable[[], TinyCheckout]) -> TinyCheckout:
    """A tiny checkout whose data is prepared; 5 validation images, so that two processes get unequal parts."""
    checkout = make_tiny_checkout()
    text = checkout.params.read_text().replace("val: 4,", "val: 5,").replace("workers: 0", "workers: 1")
    checkout.params.write_text(text[: text.index("models:")] + MODELS + text[text.index("evaluate:") :])
    checkout.run("python", "pipeline/download.py")
    checkout.run("python", "pipeline/prepare.py")
    return checkout


@pytest.fixture
def checkout(line: TinyCheckout) -> Iterator[TinyCheckout]:
    """The same, with params.yaml put back afterwards."""
    before = line.params.read_text()
    yield line
    line.params.write_text(before)


def rows(checkout: TinyCheckout, model: str = "unet") -> list[dict[str, float]]:
    """The history, without what depends on the machine's speed."""
    with (checkout.root / "models" / model / "history.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if v and k != "seconds"} for row in csv.DictReader(file)]


def start(checkout: TinyCheckout, model: str = "unet") -> subprocess.Popen[str]:
    command = [sys.executable, "pipeline/train.py", model]
    return subprocess.Popen(command, cwd=checkout.root, env=checkout.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_epoch(process: subprocess.Popen[str], epoch: int) -> None:
    """Then the checkpoint of the epoch before is there."""
    assert process.stdout is not None
    for line_ in process.stdout:
        if line_.startswith(f"epoch {epoch}/"):
            return
    pytest.fail(f"the training ended before epoch {epoch}")


def test_an_undisturbed_and_a_killed_training_end_alike(checkout: TinyCheckout) -> None:
    checkout.run("python", "pipeline/train.py", "unet")
    undisturbed = rows(checkout)
    weights = torch.load(checkout.root / "models/unet/weights.pt", weights_only=True)
    assert [row["epoch"] for row in undisturbed] == [1, 2, 3, EPOCHS]
    assert not list((checkout.root / ".segline/resume").glob("unet-*")), "a finished training leaves nothing to resume"

    with start(checkout) as training:
        wait_for_epoch(training, 2)
        training.send_signal(signal.SIGKILL)
    told = checkout.run("python", "pipeline/train.py", "unet").stdout
    assert "'unet' goes on after epoch" in told
    resumed = rows(checkout)
    assert [row["epoch"] for row in resumed] == [1, 2, 3, EPOCHS]
    for one, other in zip(undisturbed, resumed, strict=True):
        assert other == pytest.approx(one, abs=1e-6)
    again = torch.load(checkout.root / "models/unet/weights.pt", weights_only=True)
    assert all(torch.allclose(weights[name].float(), again[name].float(), atol=1e-6) for name in weights)


def test_the_metric_while_training_is_the_metric_afterwards(checkout: TinyCheckout) -> None:
    place = Checkout(checkout.root)
    if not place.model("unet").weights.exists():
        checkout.run("python", "pipeline/train.py", "unet")
    trained = load(place.model("unet"), torch.device("cpu"))
    summary = trained.card.training
    assert summary["best"] == pytest.approx(one_process(place, "unet")["miou"], abs=1e-6)
    assert summary["best"] == max(row["val_miou"] for row in rows(checkout))


def one_process(place: Checkout, model: str) -> dict[str, float]:
    """The validation metrics of the saved weights, computed here."""
    trained = load(place.model(model), torch.device("cpu"))
    scorer = trained.task.scorer(trained.card.specification.classes)
    for sample in PreparedDataset(place.prepared).split("val"):
        scorer.add(trained.predict([sample.image])[0], sample)
    return scorer.metrics()


@pytest.mark.parametrize(("model", "metric"), [("unet", "miou"), ("maskrcnn", "mask_ap")])
def test_two_processes_validate_as_one(checkout: TinyCheckout, model: str, metric: str) -> None:
    text = checkout.params.read_text().replace("devices: 1", "devices: 2\n  strategy: ddp").replace(f"epochs: {EPOCHS}", "epochs: 1")
    checkout.params.write_text(text)
    checkout.run("python", "pipeline/train.py", model)
    place = Checkout(checkout.root)
    assert load(place.model(model), torch.device("cpu")).card.training["processes"] == 2
    assert rows(checkout, model)[-1][f"val_{metric}"] == pytest.approx(one_process(place, model)[metric], abs=1e-6)
    key = json.loads(place.model(model).card.read_text())["provenance"]
    found = checkout.run(
        "python",
        "-c",
        "import sys, mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        "runs = mlflow.search_runs(search_all_experiments=True, filter_string=f\"tags.`segline.model` = '{sys.argv[1]}'\", output_format='list')\n"
        "print('RUNS', sum(run.data.tags['segline.parameters'] == sys.argv[2] for run in runs))",
        model,
        key["parameters"],
    ).stdout
    assert "RUNS 1" in found, found


def test_other_parameters_start_afresh_and_say_why(checkout: TinyCheckout) -> None:
    with start(checkout) as training:
        wait_for_epoch(training, 2)
        training.kill()
    checkout.edit("lr: 0.002, warmup: 1", "lr: 0.001, warmup: 1")
    checkout.params.write_text(checkout.params.read_text().replace(f"epochs: {EPOCHS}", "epochs: 1"))
    told = checkout.run("python", "pipeline/train.py", "unet").stdout
    assert "is not continued, because its parameters differ; starting afresh" in told
    assert "goes on after" not in told


def test_a_second_trainer_is_refused_by_name(checkout: TinyCheckout) -> None:
    checkout.edit(f"epochs: {EPOCHS}, batch_size: 4, lr: 0.002", "epochs: 500, batch_size: 4, lr: 0.003")
    with start(checkout) as training:
        wait_for_epoch(training, 1)
        second = checkout.run("python", "pipeline/train.py", "unet", check=False)
        training.kill()
    assert second.returncode == 2
    assert f"already being trained with these parameters, data and code by process {training.pid}" in second.stdout
    assert "Traceback" not in second.stdout


def test_ctrl_c_ends_in_a_sentence_and_can_be_resumed(checkout: TinyCheckout) -> None:
    checkout.edit(f"epochs: {EPOCHS}, batch_size: 4, lr: 0.002", "epochs: 8, batch_size: 4, lr: 0.004")
    with start(checkout) as training:
        wait_for_epoch(training, 2)
        os.kill(training.pid, signal.SIGINT)
        assert training.stdout is not None
        told = training.stdout.read()
    assert training.returncode == 130, told
    assert "interrupted" in told
    assert "Traceback" not in told
    assert "goes on after epoch" in checkout.run("python", "pipeline/train.py", "unet").stdout


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("encoder: mobilenet_v2", "encoder: mobilenet_v22", "There is no encoder 'mobilenet_v22'. Did you mean mobilenet_v2"),
        ("encoder: mobilenet_v3_small", "encoder: mobilenet_v4", "There is no Mask R-CNN encoder 'mobilenet_v4'"),
        ("HorizontalFlip: {p: 0.5}", "HorizontalFlop: {p: 0.5}", "albumentations has no transform 'HorizontalFlop'. Did you mean HorizontalFlip"),
        ("HorizontalFlip: {p: 0.5}", "HorizontalFlip: {q: 0.5}", "HorizontalFlip cannot be made with"),
        ("encoder: mobilenet_v2", "encoder: mobilenet_v2\n    weights: nowhere.pt", "no such file exists"),
        ("accelerator: cpu", "accelerator: cpuu", "runtime: Lightning refuses these settings"),
    ],
)
def test_a_mistake_gets_a_sentence_before_training(checkout: TinyCheckout, old: str, new: str, sentence: str) -> None:
    checkout.edit(old, new)
    model = "maskrcnn" if "mobilenet_v3" in old else "unet"
    failed = checkout.run("python", "pipeline/train.py", model, check=False)
    assert failed.returncode == 2, failed.stdout
    assert sentence in failed.stdout
    assert "Traceback" not in failed.stdout
