"""The whole line in a temporary checkout, after its first `dvc repro`: shown, changed, taken back, shared; then promote, serve and predict.

One checkout serves the whole module; each test leaves it up to date with the parameters that it found.
"""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TinyCheckout, ran
from PIL import Image
from servers import model_server

pytestmark = pytest.mark.slow

UP_TO_DATE = "Data and pipelines are up to date."
LR, OTHER_LR = "batch_size: 4, lr: 0.002", "batch_size: 4, lr: 0.003"
UNET = ["train@unet", "evaluate@unet", "export@unet", "register@unet"]


def _receipt(checkout: TinyCheckout, model: str) -> dict[str, Any]:
    receipt: dict[str, Any] = json.loads((checkout.root / "models" / model / "registered.json").read_text())
    return receipt


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
    assert ran(output) == ["params", "plan", *UNET]
    assert _receipt(line, "unet")["version"] == 2
    line.edit(OTHER_LR, LR)
    output = line.run("dvc", "repro").stdout
    assert ran(output) == ["register@unet"], "everything but the registration comes from the run cache"
    assert _receipt(line, "unet") == before
    versions = line.run("segline", "models", "shapes-unet").stdout
    assert re.search(r"\b1\b.*candidate", versions)
    assert not re.search(r"\b2\b.*candidate", versions)
    assert UP_TO_DATE in line.run("dvc", "repro").stdout


def test_runtime_and_gates_rerun_no_model(line: TinyCheckout) -> None:
    line.edit("workers: 0", "workers: 1")
    line.edit("unet: {metric: miou, at_least: 0.0}", "unet: {metric: miou, at_least: 0.9}")
    assert ran(line.run("dvc", "repro").stdout) == ["params", "plan"]
    line.edit("workers: 1", "workers: 0")
    line.edit("unet: {metric: miou, at_least: 0.9}", "unet: {metric: miou, at_least: 0.0}")
    assert ran(line.run("dvc", "repro").stdout) == []


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
    text = tiny_checkout.params.read_text()
    tiny_checkout.params.write_text("seed: 0\n\ndata: {source: ../../images, format: coco}\n\n" + text[text.index("models:") :])

    assert ran(tiny_checkout.run("dvc", "repro", "prepare").stdout) == ["params", "download", "prepare"]
    assert _counts(tiny_checkout) == {"train": 7, "val": 2, "test": 3}
    assert ran(tiny_checkout.run("dvc", "repro", "prepare").stdout) == []

    (images.parent / held_back.name).rename(held_back)
    annotations.write_text(json.dumps(whole))
    assert ran(tiny_checkout.run("dvc", "repro", "prepare").stdout) == ["download", "prepare"]
    assert _counts(tiny_checkout) == {"train": 8, "val": 2, "test": 3}

    pixels = np.asarray(Image.open(held_back)).copy()
    Image.fromarray(255 - pixels).save(held_back)
    assert ran(tiny_checkout.run("dvc", "repro", "prepare").stdout) == ["download", "prepare"]


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
    assert UP_TO_DATE in output and ran(output) == []
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert _receipt(clone, "unet") == _receipt(line, "unet")
    # What was pulled predicts by itself, in a place that has neither logbook nor registry.
    clone.run("segline", "convert", "--to", "masks", "--out", str(tmp_path / "files"))
    image = next((tmp_path / "files" / "images" / "test").iterdir())
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

    line.run("segline", "convert", "--to", "masks", "--out", str(tmp_path / "files"))
    images = tmp_path / "files" / "images" / "test"
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
    environment = checkout.environment | {"MLFLOW_TRACKING_URI": f"sqlite:///{checkout.root / 'mlflow.db'}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    body = json.dumps({"inputs": {"image": [base64.b64encode(image.read_bytes()).decode()]}}).encode()
    with model_server(uri, checkout.root.parent, environment) as server:
        request = urllib.request.Request(f"{server.address}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            predictions: list[dict[str, Any]] = json.load(answer)["predictions"]
            return predictions
