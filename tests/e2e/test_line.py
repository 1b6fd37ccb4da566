"""The whole line in a temporary checkout: `dvc repro`, repeated, changed, taken back, shared; then promote, serve and predict.

One checkout serves the whole module; each test leaves it up to date with the parameters that it found.
"""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TinyCheckout
from PIL import Image

UP_TO_DATE = "Data and pipelines are up to date."
LR, OTHER_LR = "batch_size: 4, lr: 0.002", "batch_size: 4, lr: 0.003"
UNET = ["train@unet", "evaluate@unet", "export@unet", "register@unet"]


def _ran(output: str) -> list[str]:
    """The stages that DVC ran; those taken from the cache are not among them."""
    return re.findall(r"^Running stage '([^']+)':", output, re.MULTILINE)


def _receipt(checkout: TinyCheckout, model: str) -> dict[str, Any]:
    receipt: dict[str, Any] = json.loads((checkout.root / "models" / model / "registered.json").read_text())
    return receipt


@pytest.fixture(scope="module")
def line(make_tiny_checkout: Callable[[], TinyCheckout]) -> TinyCheckout:
    """A checkout in which `dvc repro` has run once."""
    checkout = make_tiny_checkout()
    output = checkout.run("dvc", "repro").stdout
    each = [f"{stage}@{model}" for stage in ("train", "evaluate", "export", "register") for model in ("unet", "maskrcnn")]
    assert sorted(_ran(output)) == sorted(["params", "download", "prepare", *each])
    return checkout


def test_a_second_repro_is_up_to_date(line: TinyCheckout) -> None:
    output = line.run("dvc", "repro").stdout
    assert UP_TO_DATE in output
    assert _ran(output) == []
    assert line.run("git", "status", "--porcelain").stdout.split() == ["??", "dvc.lock"]


def test_both_models_are_registered_as_candidates_and_in_the_logbook(line: TinyCheckout) -> None:
    assert _receipt(line, "unet")["version"] == _receipt(line, "maskrcnn")["version"] == 1
    shown = line.run("segline", "models").stdout
    assert "shapes-unet" in shown and "shapes-maskrcnn" in shown and "candidate" in shown
    assert line.run("segline", "status", check=False).returncode == 0


def test_metrics_and_plots_are_shown(line: TinyCheckout) -> None:
    metrics = json.loads(line.run("dvc", "metrics", "show", "--json").stdout)[""]["data"]
    assert 0 <= metrics["models/unet/metrics.json"]["data"]["miou"] <= 1
    assert 0 <= metrics["models/maskrcnn/metrics.json"]["data"]["mask_ap50"] <= 1
    line.run("dvc", "plots", "show")
    page = (line.root / "dvc_plots" / "index.html").read_text()
    for picture in (
        "unet_plots_confusion_matrix.png",
        "maskrcnn_plots_pr_curve.png",
        "unet_plots_training_curves.png",
        "unet_plots_overlays_best_1",
        "overlays_worst_1",
    ):
        assert picture in page
    assert "models/unet/history.csv" in page


def test_a_changed_learning_rate_reruns_one_model_and_going_back_brings_it_back(line: TinyCheckout) -> None:
    before = _receipt(line, "unet")
    line.edit(LR, OTHER_LR)
    output = line.run("dvc", "repro").stdout
    assert _ran(output) == ["params", *UNET]
    assert _receipt(line, "unet")["version"] == 2
    line.edit(OTHER_LR, LR)
    output = line.run("dvc", "repro").stdout
    assert _ran(output) == ["register@unet"], "everything but the registration comes from the run cache"
    assert _receipt(line, "unet") == before
    versions = line.run("segline", "models", "shapes-unet").stdout
    assert re.search(r"\b1\b.*candidate", versions)
    assert not re.search(r"\b2\b.*candidate", versions)
    assert UP_TO_DATE in line.run("dvc", "repro").stdout


def test_runtime_and_gates_rerun_no_model(line: TinyCheckout) -> None:
    line.edit("workers: 0", "workers: 1")
    line.edit("unet: {metric: miou, at_least: 0.0}", "unet: {metric: miou, at_least: 0.9}")
    assert _ran(line.run("dvc", "repro").stdout) == ["params"]
    line.edit("workers: 1", "workers: 0")
    line.edit("unet: {metric: miou, at_least: 0.9}", "unet: {metric: miou, at_least: 0.0}")
    assert _ran(line.run("dvc", "repro").stdout) == []


MISTAKES = {
    "unknown keys": (
        [("batch_size: 4, lr: 0.002", "batchsize: 4, lr: 0.002"), ("overlays", "overlay"), ("seed: 0", "seed: 0\nseeds: 1")],
        ["models.unet.train.batchsize is no known key; did you mean 'batch_size'?", "evaluate.overlay is no known key; did you mean 'overlays'?", "'seed'?"],
    ),
    "null data root": ([("root: data/own", "root: null")], ["data.root is empty (null)"]),
    "data root elsewhere": ([("root: data/own", "root: /nowhere/at/all")], ["data.root: the folder '/nowhere/at/all' does not exist"]),
    "bad model name": (
        [("  unet:\n    task", "  U-Net:\n    task"), ("  unet: {metric: miou, at_least: 0.0}\n", "")],
        ["models: 'U-Net' is no valid model name"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_params_are_told_under_dvc(mistake: str, tiny_checkout: TinyCheckout) -> None:
    edits, sentences = MISTAKES[mistake]
    for old, new in edits:
        tiny_checkout.edit(old, new)
    done = tiny_checkout.run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    for sentence in sentences:
        assert sentence in done.stdout


def test_a_missing_data_root_names_itself_under_dvc(tiny_checkout: TinyCheckout) -> None:
    tiny_checkout.edit("  root: data/own\n", "")
    done = tiny_checkout.run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "Could not find 'data.root'" in done.stdout
    assert "Traceback" not in done.stdout


def test_adding_or_changing_one_image_of_the_users_folder_reruns(line: TinyCheckout, tiny_checkout: TinyCheckout) -> None:
    images = tiny_checkout.root.parent / "images"
    shutil.copytree(line.root / "data" / "raw", images, ignore=shutil.ignore_patterns("manifest.json"))
    held_back = next((images / "train").iterdir())
    held_back.rename(images.parent / held_back.name)
    annotations = images / "annotations" / "instances_train.json"
    whole = json.loads(annotations.read_text())
    gone = {image["id"] for image in whole["images"] if Path(image["file_name"]).name == held_back.name}
    assert len(gone) == 1
    less = whole | {
        "images": [image for image in whole["images"] if image["id"] not in gone],
        "annotations": [thing for thing in whole["annotations"] if thing["image_id"] not in gone],
    }
    annotations.write_text(json.dumps(less))
    tiny_checkout.edit("dataset: shapes", "dataset: folder")
    tiny_checkout.edit("root: data/own", "root: ../images")

    assert _ran(tiny_checkout.run("dvc", "repro", "prepare").stdout) == ["params", "download", "prepare"]
    assert _counts(tiny_checkout) == {"train": 11, "val": 4, "test": 6}
    assert _ran(tiny_checkout.run("dvc", "repro", "prepare").stdout) == []

    (images.parent / held_back.name).rename(held_back)
    annotations.write_text(json.dumps(whole))
    assert _ran(tiny_checkout.run("dvc", "repro", "prepare").stdout) == ["download", "prepare"]
    assert _counts(tiny_checkout) == {"train": 12, "val": 4, "test": 6}

    pixels = np.asarray(Image.open(held_back)).copy()
    Image.fromarray(255 - pixels).save(held_back)
    assert _ran(tiny_checkout.run("dvc", "repro", "prepare").stdout) == ["download", "prepare"]


def _counts(checkout: TinyCheckout) -> dict[str, int]:
    counts: dict[str, int] = json.loads((checkout.root / "data" / "prepared" / "dataset.json").read_text())["counts"]
    return counts


def test_clone_and_pull_leave_nothing_to_rerun(line: TinyCheckout, tmp_path: Path) -> None:
    line.run("dvc", "remote", "add", "--default", "--force", "folder", str(tmp_path / "remote"))
    line.commit("results")
    line.run("dvc", "push")
    clone = line.clone(tmp_path / "clone")
    clone.run("dvc", "pull")
    assert UP_TO_DATE in clone.run("dvc", "status").stdout
    output = clone.run("dvc", "repro").stdout
    assert UP_TO_DATE in output and _ran(output) == []
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert _receipt(clone, "unet") == _receipt(line, "unet")
    # What was pulled predicts by itself, in a place that has neither logbook nor registry.
    image = next((clone.root / "data" / "prepared" / "test" / "images").iterdir())
    clone.run("segline", "predict", str(image), "--model", "models/unet", "--out", str(tmp_path / "out"))
    assert list((tmp_path / "out").rglob("*.png"))


def test_promote_serve_and_predict(line: TinyCheckout, tmp_path: Path) -> None:
    line.edit("unet: {metric: miou, at_least: 0.0}", "unet: {metric: miou, at_least: 0.999}")
    refused = line.run("segline", "promote", "shapes-unet", "--to", "staging", check=False)
    assert refused.returncode == 1
    assert "0.999" in refused.stdout
    assert line.run("segline", "predict", str(tmp_path), "--model", "models:/shapes-unet@staging", "--out", str(tmp_path / "none"), check=False).returncode == 2
    line.edit("unet: {metric: miou, at_least: 0.999}", "unet: {metric: miou, at_least: 0.0}")
    line.run("segline", "promote", "shapes-unet", "--to", "staging")
    line.run("segline", "promote", "shapes-maskrcnn", "--to", "staging")

    images = line.root / "data" / "prepared" / "test" / "images"
    for model in ("unet", "maskrcnn"):
        out = tmp_path / model
        line.run("segline", "predict", str(images), "--model", f"models:/shapes-{model}@staging", "--out", str(out))
        assert any(out.rglob("*"))

    [answer] = _served(line, "models:/shapes-unet@staging", next(images.iterdir()))
    assert answer["task"] == "semantic" and answer["size"] == [64, 64]
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["mask"]))))
    assert mask.shape == (64, 64) and mask.max() <= 4


def _served(checkout: TinyCheckout, uri: str, image: Path) -> list[dict[str, Any]]:
    """What `mlflow models serve` answers for one image."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["mlflow", "models", "serve", "-m", uri, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = checkout.environment | {"MLFLOW_TRACKING_URI": f"sqlite:///{checkout.root / 'mlflow.db'}"}
    log = checkout.root.parent / "serve.log"
    with log.open("w") as output, subprocess.Popen(command, cwd=checkout.root, env=environment, stdout=output, stderr=subprocess.STDOUT) as server:
        try:
            for _ in range(480):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                    break
                except (urllib.error.URLError, OSError):
                    assert server.poll() is None, log.read_text()
                    time.sleep(0.25)
            else:
                pytest.fail(f"the server did not come up:\n{log.read_text()}")
            body = json.dumps({"inputs": {"image": [base64.b64encode(image.read_bytes()).decode()]}}).encode()
            request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                predictions: list[dict[str, Any]] = json.load(answer)["predictions"]
                return predictions
        finally:
            server.terminate()
