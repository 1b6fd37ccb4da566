"""Work is repeated when its result could differ, and only then: each change to a finished tiny line, and the stages that are stale after it.

`params` and `plan` look at everything and take a second; they are run, and `dvc status` then tells which of the stages that cost something would follow.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from conftest import TinyCheckout
from PIL import Image

pytestmark = pytest.mark.slow

MODELS = """\
models:
  unet:
    arch: unet
    encoder: mobilenet_v2
    input: {size: [64, 64]}
    loss: {cross_entropy: 1.0, dice: 1.0}
    train: {epochs: 1, batch_size: 4, warmup: 0}
  warm:
    arch: unet
    encoder: mobilenet_v2
    weights: ../encoder.pt
    input: {size: [64, 64]}
    train: {epochs: 1, batch_size: 4, warmup: 0}
  maskrcnn:
    arch: maskrcnn
    encoder: mobilenet_v3_small
    input: {size: [64, 64]}
    proposals: {train_before_nms: 50, train_after_nms: 20, test_before_nms: 50, test_after_nms: 10, rpn_batch: 16, box_batch: 8}
    predict: {max_detections: 10}
    train: {epochs: 1, batch_size: 4, lr: 0.0005, warmup: 0}

"""
CLASSES = "[circle, square, triangle, cross]"

UNETS = {"unet", "warm"}
ALL = {*UNETS, "maskrcnn"}


@pytest.fixture(scope="module")
def line(make_tiny_checkout: Callable[[], TinyCheckout]) -> TinyCheckout:
    """A line that has run once, on a folder of the user's, with a weight file."""
    checkout = make_tiny_checkout()
    checkout.run("python", "pipeline/params.py")
    checkout.run("python", "pipeline/download.py")
    outside = checkout.root.parent
    shutil.copytree(checkout.root / "data" / "raw", outside / "images", ignore=shutil.ignore_patterns("manifest.json"))
    shutil.rmtree(checkout.root / "data" / "raw")
    _save_encoder(outside / "encoder.pt", seed=0)
    text = checkout.params.read_text()
    data = f"data:\n  source: ../../images\n  format: coco\n  classes: {CLASSES}\n\n"
    text = "seed: 0\n\n" + data + MODELS + text[text.index("evaluate:") :]
    checkout.params.write_text(text)
    checkout.commit("a folder of images")
    checkout.run("dvc", "repro")
    assert _stale(checkout) == set()
    return checkout


@pytest.fixture
def changed(line: TinyCheckout) -> Iterator[TinyCheckout]:
    """The line, put back afterwards: the checkout, the images and the weight file."""
    outside = line.root.parent
    kept = outside / "kept"
    shutil.copytree(outside / "images", kept / "images")
    shutil.copy2(outside / "encoder.pt", kept / "encoder.pt")
    yield line
    line.run("git", "checkout", "-q", "--", "params.yaml", "src")
    line.run("git", "clean", "-qfd", "src", "tests")
    shutil.rmtree(outside / "images")
    (kept / "images").rename(outside / "images")
    (kept / "encoder.pt").replace(outside / "encoder.pt")
    kept.rmdir()


def _save_encoder(file: Path, seed: int) -> None:
    torch.manual_seed(seed)
    torch.save(smp.encoders.get_encoder("mobilenet_v2", weights=None).state_dict(), file)


def _stale(checkout: TinyCheckout) -> set[str]:
    """Stages that would run now, once `plan` has looked at the change."""
    checkout.run("dvc", "repro", "plan")
    found: set[str] = set(json.loads(checkout.run("dvc", "status", "--json").stdout.splitlines()[-1]))
    return found


def _ran(checkout: TinyCheckout) -> list[str]:
    return re.findall(r"^Running stage '([^']+)':", checkout.run("dvc", "repro", "plan").stdout, re.MULTILINE)


def _each(stages: str, models: set[str]) -> set[str]:
    return {f"{stage}@{model}" for stage in stages.split() for model in models}


def _insert(checkout: TinyCheckout, file: str, before: str, text: str) -> None:
    checkout.edit(before, text + before, file)


ADDITIONS: dict[str, Callable[[TinyCheckout], None]] = {}


def _addition(function: Callable[[TinyCheckout], None]) -> Callable[[TinyCheckout], None]:
    ADDITIONS[function.__name__.strip("_")] = function
    return function


@_addition
def _architecture(checkout: TinyCheckout) -> None:
    shutil.copytree(checkout.root / "src/segline/models/unet", checkout.root / "src/segline/models/other", ignore=shutil.ignore_patterns("__pycache__"))
    _insert(checkout, "src/segline/models/catalog.py", '    "maskrcnn":', '    "other": "segline.models.other",\n')


@_addition
def _loss(checkout: TinyCheckout) -> None:
    shutil.copy(checkout.root / "src/segline/losses/dice.py", checkout.root / "src/segline/losses/other.py")
    _insert(checkout, "src/segline/losses/catalog.py", '    "dice":', '    "other": "segline.losses.other",\n')


@_addition
def _metric(checkout: TinyCheckout) -> None:
    shutil.copy(checkout.root / "src/segline/metrics/iou.py", checkout.root / "src/segline/metrics/other.py")
    _insert(checkout, "src/segline/metrics/catalog.py", '    "dice":', '    "other": "segline.metrics.other",\n')


@_addition
def _data_format(checkout: TinyCheckout) -> None:
    shutil.copy(checkout.root / "src/segline/data/formats/camvid.py", checkout.root / "src/segline/data/formats/other.py")
    _insert(checkout, "src/segline/data/formats/catalog.py", '    "coco":', '    "other": "segline.data.formats.other",\n')


@_addition
def _test_file(checkout: TinyCheckout) -> None:
    (checkout.root / "tests").mkdir(exist_ok=True)
    (checkout.root / "tests" / "test_other.py").write_text("def test_nothing(): ...\n")


@_addition
def _docstring(checkout: TinyCheckout) -> None:
    checkout.edit("Raises ModelError for an unknown encoder or weights that cannot be had.", "Raises ModelError.", "src/segline/models/unet/network.py")


@_addition
def _comment(checkout: TinyCheckout) -> None:
    _insert(checkout, "src/segline/training/fit.py", "    lightning.seed_everything", "    # first of all\n")


@_addition
def _log_sentence(checkout: TinyCheckout) -> None:
    checkout.edit("about {left / 60:.1f} min left", "{left / 60:.1f} min to go", "src/segline/training/callbacks.py")
    checkout.edit("The training broke down: {error}.", "It broke down: {error}.", "src/segline/training/fit.py")


@pytest.mark.parametrize("addition", ADDITIONS)
def test_nothing_reruns_for(addition: str, changed: TinyCheckout) -> None:
    ADDITIONS[addition](changed)
    assert _stale(changed) == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        (
            "models/unet/network.py",
            "return encoded.build(smp.Unet,",
            "classes += 0\n    return encoded.build(smp.Unet,",
            _each("train evaluate export", UNETS),
        ),
        ("losses/dice.py", "of.mean(1 -", "of.mean(1.0 -", _each("train", {"unet"})),
        ("losses/cross_entropy.py", "clamp(min=1e-12)", "clamp(min=1e-11)", _each("train", UNETS)),
        ("metrics/dice.py", 'counts = "pixels"', 'counts = "pixels"\n    extra = 1', _each("evaluate export", UNETS)),
        ("metrics/object_support.py", 'counts = "detections"', 'counts = "detections"\n    extra = 1', _each("evaluate export", {"maskrcnn"})),
        ("tasks/instance/learning.py", "SMALLEST_BOX = 1.0", "SMALLEST_BOX = 2.0", _each("train evaluate export", {"maskrcnn"})),
        ("drawing/curves.py", "linewidth=2", "linewidth=3", _each("evaluate", ALL)),
        ("training/schedule.py", "LEFT = 0.01", "LEFT = 0.02", _each("train", ALL)),
        ("data/formats/camvid.py", "UNLABELLED = 11", "UNLABELLED = 12", set()),
    ],
)
def test_an_edit_reruns_what_runs_it(changed: TinyCheckout, file: str, old: str, new: str, stale: set[str]) -> None:
    changed.edit(old, new, f"src/segline/{file}")
    assert _stale(changed) == stale


@pytest.mark.parametrize(
    ("old", "new", "stale"),
    [
        ("predict: {max_detections: 10}", "predict: {max_detections: 10, score_threshold: 0.2}", _each("evaluate export", {"maskrcnn"})),
        ("loss: {cross_entropy: 1.0, dice: 1.0}", "loss: {dice: 1.0, cross_entropy: 1.0}", set()),
        ("loss: {cross_entropy: 1.0, dice: 1.0}", "loss: {cross_entropy: {class_weights: enet}, dice: 1.0}", _each("train", {"unet"})),
        ("  workers: 0", "  workers: 1\n\ntracking: {uri: 'sqlite:///other.db'}", set()),
        ("  unet: {metric: miou, at_least: 0.0}", "  unet: {metric: miou, at_least: 0.5}", set()),
        (f"classes: {CLASSES}", "classes: [square, circle, triangle, cross]", _each("train evaluate export", ALL)),
        ("seed: 0", "seed: 1", None),
    ],
    ids=["predict", "order", "loss", "runtime and tracking", "gates", "class names swapped", "seed"],
)
def test_a_setting_reruns_what_uses_it(changed: TinyCheckout, old: str, new: str, stale: set[str] | None) -> None:
    changed.edit(old, new)
    found = _stale(changed)
    # The official splits of the images are kept, so a seed changes the trainings alone.
    assert found == (_each("train", ALL) if stale is None else stale)


def test_the_size_of_the_input_concerns_one_model_and_not_the_data(changed: TinyCheckout) -> None:
    text = changed.params.read_text()
    changed.params.write_text(text.replace("input: {size: [64, 64]}", "input: {size: [96, 64]}", 1))
    assert _ran(changed) == ["params", "plan"]
    assert _stale(changed) == _each("train evaluate export", {"unet"})


def test_one_image_more_in_test_trains_nothing(changed: TinyCheckout) -> None:
    _add_image(changed.root.parent / "images", "test")
    assert _stale(changed) == _each("evaluate export", ALL)


def test_one_image_more_in_train_trains(changed: TinyCheckout) -> None:
    _add_image(changed.root.parent / "images", "train")
    assert _stale(changed) == _each("train", ALL)


def test_another_content_behind_the_same_weight_file_trains(changed: TinyCheckout) -> None:
    assert _stale(changed) == set()
    _save_encoder(changed.root.parent / "encoder.pt", seed=1)
    status = json.loads(changed.run("dvc", "status", "--json").stdout.splitlines()[-1])
    assert set(status) == {"plan"}, "DVC sees it by itself"
    assert _stale(changed) == _each("train", {"warm"})


def _add_image(images: Path, split: str) -> None:
    file = images / split / "another.png"
    Image.fromarray(np.random.default_rng(9).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file)
    annotations = images / "annotations" / f"instances_{split}.json"
    content = json.loads(annotations.read_text())
    content["images"].append({"id": 999, "file_name": "another.png", "height": 64, "width": 64})
    square = [10, 10, 40, 10, 40, 40, 10, 40]
    content["annotations"].append(
        {"id": 9999, "image_id": 999, "category_id": 1, "segmentation": [square], "bbox": [10, 10, 30, 30], "area": 900, "iscrowd": 0}
    )
    annotations.write_text(json.dumps(content))
