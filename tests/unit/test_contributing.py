"""CONTRIBUTING.md: each example is put where it says, named in its catalogue by the line that it gives, and used."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segline.data.check import Frame
from segline.data.formats import catalog as formats
from segline.data.reading.tree import Tree
from segline.losses import catalog as losses
from segline.metrics import catalog as metrics
from segline.metrics.pixel_counts import PixelCounts
from segline.models import catalog as architectures
from segline.recipes import catalog as recipes
from segline.recipes.applied import applied
from segline.tasks import catalog as tasks
from segline_runtime import tasks as runtime_tasks
from segline_runtime.specification import ClassInfo

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
FILES = {match[1]: block for block in BLOCKS if (match := re.match(r"# (src/\S+\.py)\n", block))}
LINES = dict(re.findall(r'^    "(\w+)": "(segline\.[\w.]+)",$', "".join(BLOCKS), re.MULTILINE))
CATALOGUES = (architectures.ARCHITECTURES, losses.LOSSES, metrics.METRICS, formats.FORMATS, tasks.TASKS, recipes.RECIPES)


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The examples as if they stood in src/: the packages around look for modules in a second folder, too."""
    before = set(sys.modules)
    for name, content in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    for folder in sorted({(tmp_path / name).parent for name in FILES}):
        package = ".".join(folder.relative_to(tmp_path / "src").parts)
        if (ROOT / "src" / folder.relative_to(tmp_path / "src")).is_dir():
            module = importlib.import_module(package)
            monkeypatch.setattr(module, "__path__", [*module.__path__, str(folder)])
        else:  # a new package: its parent is to find it
            (folder / "__init__.py").touch()
            parent = importlib.import_module(package.rpartition(".")[0])
            monkeypatch.setattr(parent, "__path__", [*parent.__path__, str(folder.parent)])
    for word, module_name in LINES.items():
        [table] = [table for table in CATALOGUES if next(iter(table.values())).rpartition(".")[0] == module_name.rpartition(".")[0]]
        monkeypatch.setitem(table, word, module_name)
    importlib.invalidate_caches()
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("segline.", "segline_runtime.")) and str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_there_is_an_example_of_each_family() -> None:
    assert set(LINES) == {"linknet", "poly", "street", "worst_iou", "pairs", "organ"}
    assert not [word for word in LINES for table in CATALOGUES if word in table], "the example is part of the house by now: choose another"


def test_the_files_that_are_named_are_there() -> None:
    named = set(re.findall(r"`((?:src/|segline/|segline_runtime/|tests/)[\w/.]+\.py)`", TEXT)) - set(FILES)
    there = [name for name in named if (ROOT / name).is_file() or (ROOT / "src" / name).is_file()]
    assert named and sorted(there) == sorted(named)


@pytest.mark.usefixtures("added")
def test_architecture() -> None:
    kind = architectures.settings("linknet")
    settings = kind.model_validate_json(json.dumps({"arch": "linknet", "encoder": "mobilenet_v2"}), strict=True)
    assert settings.task == "semantic"
    network = architectures.build(settings, channels=3, classes=4).eval()
    with torch.inference_mode():
        outputs = network(torch.zeros(1, 3, 50, 70))
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {"logits": (1, 4, 50, 70)}
    assert architectures.pretrained_statistics(settings) is None


@pytest.mark.usefixtures("added")
def test_recipe() -> None:
    entry = applied({"arch": "linknet", "recipe": "street", "train": {"lr": 0.1}}).entry
    settings = architectures.settings("linknet").model_validate_json(json.dumps(entry), strict=True)
    assert (settings.train.lr, settings.train.optimizer, settings.train.schedule) == (0.1, "rmsprop", "constant")


@pytest.mark.usefixtures("added")
def test_loss() -> None:
    logits = torch.randn(2, 3, 5, 7, requires_grad=True)
    truth = torch.randint(0, 3, (2, 5, 7))
    truth[0, 0] = 255
    poly = losses.settings("poly")
    loss = poly.model_validate({}).compute(logits, truth, None)
    plain = poly.model_validate({"epsilon": 0.0}).compute(logits, truth, None)
    torch.testing.assert_close(plain, losses.settings("cross_entropy")().compute(logits, truth, None))
    assert loss.item() > plain.item() > 0
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and not logits.grad[0, :, 0].any()


@pytest.mark.usefixtures("added")
def test_metric(pixel_counts: PixelCounts) -> None:
    classes = [ClassInfo(i, name, (0, 0, 0), False) for i, name in enumerate(pixel_counts.classes)]
    worst, iou = metrics.get("worst_iou"), metrics.get("iou").figures(pixel_counts, classes)
    assert worst.figures(pixel_counts, classes) == {"worst_iou": min(value for key, value in iou.items() if key.startswith("iou/"))}
    once = np.ones((1, len(pixel_counts)), dtype=np.int64)
    assert worst.resampled(pixel_counts, once, "worst_iou", classes) == pytest.approx(list(worst.figures(pixel_counts, classes).values()))


@pytest.mark.usefixtures("added")
def test_format(tmp_path: Path) -> None:
    root = tmp_path / "own"
    mask = np.array([[0, 1], [255, 1]], np.uint8)
    for folder, name, pixels in (("images", "a.jpg", np.zeros((2, 2, 3), np.uint8)), ("images", "b.png", mask), ("masks", "a.png", mask)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / folder / name)
    module = formats.get("pairs")
    settings = module.Settings.model_validate({"source": str(root), "format": "pairs", "classes": ["sky", "road"]})
    source = module.FORMAT.read(root, settings)
    assert [file.as_posix() for file in source.files] == ["images/a.jpg", "masks/a.png"]
    assert [refused.file for refused in source.refused] == ["images/b.png"]
    np.testing.assert_array_equal(source.records[0].truth(Frame(2, 2)).mask, mask)
    assert module.FORMAT.recognise(Tree(root)).keys == {"classes": ["background", "class_1"]}
    assert module.FORMAT.recognise(Tree(root / "images")) is None


@pytest.mark.usefixtures("added")
def test_task(monkeypatch: pytest.MonkeyPatch) -> None:
    assert '    "organ": organ.TASK,\n' in TEXT
    organ = importlib.import_module("segline_runtime.organ")
    monkeypatch.setitem(runtime_tasks.TASKS, "organ", organ.TASK)
    assert runtime_tasks.get("organ").name == tasks.get("organ").name == "organ"
    assert set(tasks.get("organ").metrics) <= set(metrics.METRICS)
    assert hasattr(tasks.learning("organ"), "collate")


@pytest.fixture
def pixel_counts() -> PixelCounts:
    from segline.data.store import Sample
    from segline.tasks.semantic.task import TASK
    from segline_runtime.predictions import SemanticPrediction

    rng = np.random.default_rng(0)
    scorer = TASK.scorer([ClassInfo(i, name, (0, 0, 0), False) for i, name in enumerate(("sky", "road", "car"))])
    for i in range(4):
        truth, predicted = rng.integers(0, 3, (2, 6, 8)).astype(np.uint8)
        scorer.add(SemanticPrediction(predicted), Sample(i, f"image {i}", np.zeros((6, 8, 3), np.uint8), truth, None))
    counts = scorer.counts()
    assert isinstance(counts, PixelCounts)
    return counts
