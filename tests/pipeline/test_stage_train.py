"""The train stage by its real entry point: outputs, resuming after `kill -9`, refusals, several processes, weight files, a copy made by DVC, no server."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from conftest import TinyCheckout
from servers import free_port

from segline.card import ModelCard
from segline.data.store import PreparedDataset
from segline.evaluation.evaluate import evaluate
from segline.evaluation.trained import load
from segline.layout import Checkout, ModelFolder
from segline.metrics import catalog
from segline.metrics.base import Counts
from segline.metrics.figures import figures
from segline.plan import plans
from segline.tasks import catalog as tasks

pytestmark = pytest.mark.slow

EPOCHS = 4
UNET = f"epochs: {EPOCHS}, batch_size: 4, lr: 0.002, warmup: 1"
MODELS = f"""\
models:
  unet:
    arch: unet
    encoder: mobilenet_v2
    input: {{size: [64, 64]}}
    augment: [{{HorizontalFlip: {{p: 0.5}}}}]
    train: {{{UNET}, ema: 0.9}}
  maskrcnn:
    arch: maskrcnn
    encoder: mobilenet_v3_small
    input: {{size: [64, 64]}}
    proposals: {{train_before_nms: 50, train_after_nms: 20, test_before_nms: 50, test_after_nms: 10, rpn_batch: 16, box_batch: 8}}
    predict: {{max_detections: 10}}
    train: {{epochs: 1, batch_size: 4, lr: 0.0005, warmup: 0}}
"""


@pytest.fixture(scope="module")
def line(make_tiny_checkout: Callable[[], TinyCheckout]) -> TinyCheckout:
    """A tiny checkout whose data is prepared; 5 validation images, so that two processes get unequal parts."""
    checkout = make_tiny_checkout()
    text = checkout.params.read_text().replace("val: 2\n", "val: 5\n").replace("workers: 0", "workers: 1")
    text = text[: text.index("models:")] + MODELS + text[text.index("evaluate:") :]
    assert "val: 5\n" in text and "workers: 1" in text
    checkout.params.write_text(text)
    for stage in ("params", "download", "prepare", "plan"):
        checkout.run("python", f"pipeline/{stage}.py")
    return checkout


@pytest.fixture
def checkout(line: TinyCheckout) -> Iterator[TinyCheckout]:
    """The same, with params.yaml and the plans put back afterwards."""
    data = line.root / "data"
    kept = data / "kept"
    before = line.params.read_text()
    shutil.copytree(data / "plan", kept)
    yield line
    line.params.write_text(before)
    shutil.rmtree(data / "plan")
    kept.rename(data / "plan")


def change(checkout: TinyCheckout, *edits: tuple[str, str]) -> None:
    """Edit params.yaml, and plan by it."""
    for old, new in edits:
        checkout.edit(old, new)
    checkout.run("python", "pipeline/plan.py")


def rows(checkout: TinyCheckout, model: str = "unet") -> list[dict[str, float]]:
    """The history, without what depends on the machine's speed."""
    with (checkout.root / "models" / model / "history.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if v and k != "seconds"} for row in csv.DictReader(file)]


def start(checkout: TinyCheckout, model: str = "unet") -> subprocess.Popen[str]:
    """As from a terminal: where the tests themselves run in the background, Ctrl-C is ignored, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a handler of Python's own is not inherited: the child begins with the default
    try:
        command = [sys.executable, "pipeline/train.py", model]
        return subprocess.Popen(command, cwd=checkout.root, env=checkout.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for_epoch(process: subprocess.Popen[str], epoch: int) -> None:
    """Then the checkpoint of the epoch before is there."""
    assert process.stdout is not None
    for line_ in process.stdout:
        if line_.startswith(f"epoch {epoch}/"):
            return
    pytest.fail(f"the training ended before epoch {epoch}")


def train_plan(checkout: TinyCheckout, model: str = "unet") -> plans.TrainPlan:
    return plans.read(plans.TrainPlan, Checkout(checkout.root).plan(model).train)


def runs_in_the_logbook(checkout: TinyCheckout, key: str) -> int:
    script = (
        "import sys, mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        "runs = mlflow.search_runs(search_all_experiments=True, filter_string=f\"tags.`segline.key` = '{sys.argv[1]}'\", output_format='list')\n"
        "print('RUNS', len(runs))"
    )
    return int(checkout.run("python", "-c", script, key).stdout.rpartition("RUNS ")[2])


def saved_weights_on_val(place: Checkout, model: str) -> Counts:
    """What the saved weights count in the validation images, one after the other, in this process."""
    trained = load(place.model(model), plans.read(plans.EvaluatePlan, place.plan(model).evaluate), torch.device("cpu"))
    split = PreparedDataset(place.prepared).split("val", trained.task.truths)
    return evaluate(trained.predict, split, trained.task.scorer(trained.specification.classes)).counts


def measured(place: Checkout, model: str, counts: Counts) -> dict[str, float]:
    card = ModelCard.read(place.model(model).card)
    return figures(counts, [catalog.get(word) for word in tasks.get(card.task).metrics], card.specification.classes)


def supports(values: dict[str, float]) -> dict[str, float]:
    """True pixels or objects of each class: no prediction moves them, a lost or repeated image does."""
    return {name.removeprefix("val_"): value for name, value in values.items() if "support/" in name}


def test_an_undisturbed_and_a_killed_training_end_alike(checkout: TinyCheckout) -> None:
    place = Checkout(checkout.root)
    key = train_plan(checkout).key
    checkout.run("python", "pipeline/train.py", "unet")
    undisturbed = rows(checkout)
    weights = torch.load(place.model("unet").weights, weights_only=True)
    assert [row["epoch"] for row in undisturbed] == [1, 2, 3, EPOCHS]
    assert sorted(file.name for file in place.model("unet").path.iterdir()) == ["history.csv", "model.json", "trained_on.json", "weights.pt"]
    assert ModelCard.read(place.model("unet").card).key == key
    assert not list(place.resume.glob("unet-*")), "a finished training leaves nothing to resume"

    with start(checkout) as training:
        wait_for_epoch(training, 2)
        training.send_signal(signal.SIGKILL)
    assert (place.resume / f"unet-{key}" / "last.ckpt").is_file()
    told = checkout.run("python", "pipeline/train.py", "unet").stdout
    assert "'unet' goes on after epoch" in told
    resumed = rows(checkout)
    assert [row["epoch"] for row in resumed] == [1, 2, 3, EPOCHS]
    for one, other in zip(undisturbed, resumed, strict=True):
        assert other == pytest.approx(one, abs=1e-6)
    again = torch.load(place.model("unet").weights, weights_only=True)
    assert all(torch.allclose(weights[name].float(), again[name].float(), atol=1e-6) for name in weights)
    assert ModelCard.read(place.model("unet").card).key == key
    assert runs_in_the_logbook(checkout, key) == 1
    assert not list(place.resume.glob("unet-*"))


def test_the_metric_while_training_is_the_metric_afterwards(checkout: TinyCheckout) -> None:
    place = Checkout(checkout.root)
    if not place.model("unet").weights.exists():
        checkout.run("python", "pipeline/train.py", "unet")
    summary = ModelCard.read(place.model("unet").card).training
    # Validation takes batches, on weights laid out otherwise: a pixel may flip.
    assert summary["best"] == pytest.approx(measured(place, "unet", saved_weights_on_val(place, "unet"))["miou"], abs=2e-3)
    assert summary["best"] == max(row["val_miou"] for row in rows(checkout))


@pytest.mark.parametrize(("model", "metric"), [("unet", "miou"), ("maskrcnn", "mask_ap")])
def test_two_processes_validate_each_image_once(checkout: TinyCheckout, model: str, metric: str) -> None:
    """That they count what one process counts, to the last pixel, is in tests/unit/test_training_processes.py: rounding is left aside there."""
    change(checkout, ("devices: 1", "devices: 2\n  strategy: ddp"), (f"epochs: {EPOCHS}", "epochs: 1"))
    checkout.run("python", "pipeline/train.py", model)
    place = Checkout(checkout.root)
    card = ModelCard.read(place.model(model).card)
    assert card.training["processes"] == 2
    counts = saved_weights_on_val(place, model)
    one_process = measured(place, model, counts)
    assert supports(rows(checkout, model)[-1]) == supports(one_process)
    everything = range(len(counts))
    for i in everything:
        for other in (counts.select([j for j in everything if j != i]), counts.select([*everything, i])):
            assert supports(measured(place, model, other)) != supports(one_process), "no image could be lost or repeated unseen"
    assert rows(checkout, model)[-1][f"val_{metric}"] == pytest.approx(one_process[metric], abs=2e-3)
    assert runs_in_the_logbook(checkout, card.key) == 1


def test_other_parameters_start_afresh_and_say_why(checkout: TinyCheckout) -> None:
    with start(checkout) as training:
        wait_for_epoch(training, 2)
        training.kill()
    change(checkout, (UNET, "epochs: 1, batch_size: 4, lr: 0.001, warmup: 1"))
    told = checkout.run("python", "pipeline/train.py", "unet").stdout
    assert "is not continued, because its parameters differ; starting afresh" in told
    assert "goes on after" not in told


def test_a_second_trainer_is_refused_by_name(checkout: TinyCheckout) -> None:
    change(checkout, (f"epochs: {EPOCHS}, batch_size: 4, lr: 0.002", "epochs: 500, batch_size: 4, lr: 0.003"))
    with start(checkout) as training:
        wait_for_epoch(training, 1)
        second = checkout.run("python", "pipeline/train.py", "unet", check=False)
        training.kill()
    assert second.returncode == 2
    assert f"already being trained with these parameters, data and code by process {training.pid}" in second.stdout
    assert "Traceback" not in second.stdout


def test_ctrl_c_ends_in_a_sentence_and_can_be_resumed(checkout: TinyCheckout) -> None:
    change(checkout, (f"epochs: {EPOCHS}, batch_size: 4, lr: 0.002", "epochs: 8, batch_size: 4, lr: 0.004"))
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
        ("accelerator: cpu", "accelerator: cpuu", "runtime: Lightning refuses these settings"),
    ],
)
def test_a_mistake_gets_a_sentence_before_training(checkout: TinyCheckout, old: str, new: str, sentence: str) -> None:
    change(checkout, (old, new))
    refused(checkout, sentence, "maskrcnn" if "mobilenet_v3" in old else "unet")


def refused(checkout: TinyCheckout, sentence: str, model: str = "unet") -> None:
    failed = checkout.run("python", "pipeline/train.py", model, check=False)
    assert failed.returncode == 2, failed.stdout
    assert sentence in failed.stdout
    assert "Traceback" not in failed.stdout


def test_a_missing_plan_and_other_data_than_the_plans_are_told(checkout: TinyCheckout) -> None:
    place = Checkout(checkout.root)
    plan = place.plan("unet").train
    content = plan.read_text()
    plan.unlink()
    refused(checkout, "run `dvc repro plan` (or `python pipeline/plan.py`) to make it")
    plan.write_text(content.replace(PreparedDataset(place.prepared).info.split_hashes["train"], "0" * 64))
    refused(checkout, "is not the one that the plan was made for; run `dvc repro train@unet`")


def save_encoder(file: Path, seed: int) -> None:
    torch.manual_seed(seed)
    torch.save(smp.encoders.get_encoder("mobilenet_v2", weights=None).state_dict(), file)


@pytest.mark.parametrize("given", ["relative", "absolute"])
def test_a_weight_file_is_where_the_training_begins(checkout: TinyCheckout, tmp_path: Path, given: str) -> None:
    file = tmp_path / "encoder.pt" if given == "absolute" else checkout.root / "encoder.pt"
    save_encoder(file, seed=1)
    # So small a learning rate leaves the encoder's weights where they were.
    written = str(file) if given == "absolute" else file.name
    change(
        checkout,
        (f"epochs: {EPOCHS}, batch_size: 4, lr: 0.002", "epochs: 1, batch_size: 4, lr: 1.0e-9"),
        ("mobilenet_v2", f"mobilenet_v2\n    weights: {written}"),
    )
    checkout.run("python", "pipeline/train.py", "unet")
    saved, began = torch.load(Checkout(checkout.root).model("unet").weights, weights_only=True), torch.load(file, weights_only=True)
    name = "features.0.0.weight"
    assert torch.allclose(next(value for key, value in saved.items() if key.endswith(f"encoder.{name}")), began[name], atol=1e-6)
    save_encoder(file, seed=2)
    refused(checkout, f"The weight file {file} is not there or was changed since the plan was made; run `dvc repro train@unet`.")
    file.unlink()
    refused(checkout, f"The weight file {file} is not there or was changed since the plan was made")


def test_a_copy_made_by_dvc_trains_by_its_own_code_and_keeps_its_books_in_the_main_checkout(checkout: TinyCheckout) -> None:
    copy = checkout.root / ".dvc" / "tmp" / "exps" / "tmp1"
    for folder in ("src", "pipeline", "data/prepared"):
        shutil.copytree(checkout.root / folder, copy / folder)
    save_encoder(checkout.root / "of_the_main_checkout.pt", seed=1)
    text = checkout.params.read_text().replace(f"epochs: {EPOCHS}, batch_size: 4, lr: 0.002", "epochs: 2, batch_size: 4, lr: 0.0021")
    (copy / "params.yaml").write_text(text.replace("mobilenet_v2", "mobilenet_v2\n    weights: of_the_main_checkout.pt"))
    layout = copy / "src" / "segline" / "layout.py"
    layout.write_text(layout.read_text() + "\nprint(f'layout of {__file__}')\n")
    inside = TinyCheckout(copy, checkout.environment)
    inside.run("python", "pipeline/plan.py")
    key = train_plan(inside).key
    with start(inside) as training:
        wait_for_epoch(training, 1)
        assert (Checkout(checkout.root).resume / f"unet-{key}").is_dir()
        assert training.stdout is not None
        told = training.stdout.read()
    assert training.returncode == 0, told
    assert f"layout of {layout}" in inside.run("python", "pipeline/train.py", "nobody", check=False).stdout
    assert ModelCard.read(ModelFolder(copy / "models" / "unet").card).key == key
    assert runs_in_the_logbook(checkout, key) == 1
    assert not list(copy.rglob("mlflow.db")) and not (copy / ".segline").exists()
    shutil.rmtree(checkout.root / ".dvc" / "tmp" / "exps")


def test_a_tracking_server_that_is_down_costs_a_sentence_and_not_the_training(checkout: TinyCheckout) -> None:
    change(checkout, (f"epochs: {EPOCHS}, batch_size: 4, lr: 0.002", "epochs: 1, batch_size: 4, lr: 0.0022"))
    server = f"http://127.0.0.1:{free_port()}"
    without = TinyCheckout(checkout.root, checkout.environment | {"MLFLOW_TRACKING_URI": server})
    done = without.run("python", "pipeline/train.py", "unet", timeout=200)
    assert f"tracking: The MLflow server {server}" in done.stdout and "Traceback" not in done.stdout
    place = Checkout(checkout.root)
    key = train_plan(checkout).key
    assert ModelCard.read(place.model("unet").card).key == key
    assert runs_in_the_logbook(checkout, key) == 0
    checkout.run("segline", "sync")
    assert runs_in_the_logbook(checkout, key) == 1
