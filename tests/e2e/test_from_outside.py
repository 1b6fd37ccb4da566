"""The examples of CONTRIBUTING.md, put where it says, run the whole line: an architecture, a loss, a metric, a format and a task, each a file and a line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TinyCheckout
from PIL import Image

pytestmark = pytest.mark.slow

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
FILES = {match[1]: block for block in BLOCKS if (match := re.match(r"# (src/\S+\.py)\n", block))}
LINES = dict(re.findall(r'^    "(\w+)": "(segline\.[\w.]+)",$', "".join(BLOCKS), re.MULTILINE))
CATALOGUES = {"linknet": "models", "poly": "losses", "worst_iou": "metrics", "pairs": "data/formats", "organ": "tasks"}

ORGAN_SETTINGS = '''\
"""The keys of `arch: organnet`."""

from typing import ClassVar, Literal

from segline.models.linknet import settings


class Settings(settings.Settings):
    """LinkNet for organs."""

    task_of_arch: ClassVar[str] = "organ"
    arch: Literal["organnet"] = "organnet"
'''

PARAMS = """\
seed: 0

data: {source: ../../pairs, format: pairs, classes: [ground, disc]}

models:
  link: {arch: linknet, encoder: mobilenet_v2, input: {size: [64, 64]}, loss: {poly: {epsilon: 2.0}}, train: {epochs: 1, batch_size: 4, warmup: 0}}
  organ: {arch: organnet, encoder: mobilenet_v2, input: {size: [64, 64]}, train: {epochs: 1, batch_size: 4, warmup: 0}}

evaluate: {metrics: [iou, dice, worst_iou], overlays: 1}
export: {latency_runs: 2}
runtime: {accelerator: cpu, devices: 1, workers: 0}
"""


@pytest.fixture(scope="module")
def line(make_tiny_checkout: Callable[[], TinyCheckout]) -> TinyCheckout:
    """A checkout with the examples in it, reproduced."""
    made = make_tiny_checkout()
    # `segline` is to be this checkout's own, as after `make setup` in it.
    checkout = TinyCheckout(made.root, made.environment | {"PYTHONPATH": str(made.root / "src")})
    for name, content in FILES.items():
        _write(checkout.root / name, content)
    for word, family in CATALOGUES.items():
        _add_line(checkout.root / "src/segline" / family / "catalog.py", f'    "{word}": "{LINES[word]}",\n')
    runtime = checkout.root / "src/segline_runtime/tasks.py"
    _add_line(runtime, '    "organ": organ.TASK,\n')
    runtime.write_text(runtime.read_text().replace("multilabel, semantic\n", "multilabel, organ, semantic\n"))
    _write(checkout.root / "src/segline/models/organnet/settings.py", ORGAN_SETTINGS)
    _write(checkout.root / "src/segline/models/organnet/network.py", "from segline.models.linknet.network import build, statistics\n")
    _add_line(checkout.root / "src/segline/models/catalog.py", '    "organnet": "segline.models.organnet",\n')
    _write_images(checkout.root.parent / "pairs")
    checkout.params.write_text(PARAMS)
    checkout.run("dvc", "repro")
    return checkout


def _write(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    (file.parent / "__init__.py").touch()
    file.write_text(content)


def _add_line(catalogue: Path, line: str) -> None:
    text, added = re.subn(r"^([A-Z]+: dict\[str, .*\] = \{\n)", lambda match: match[0] + line, catalogue.read_text(), count=1, flags=re.MULTILINE)
    assert added == 1, catalogue
    catalogue.write_text(text)


def _write_images(folder: Path) -> None:
    rows, columns = np.mgrid[:64, :64]
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for i in range(16):
        disc = (rows - 20 - i) ** 2 + (columns - 30) ** 2 < 150
        image = np.random.default_rng(i).integers(0, 60, (64, 64, 3)) + 180 * disc[..., None]
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{i:02}.png")
        Image.fromarray(disc.astype(np.uint8)).save(folder / "masks" / f"{i:02}.png")


def test_the_line_trains_scores_exports_and_registers_them(line: TinyCheckout) -> None:
    link, organ = (json.loads((line.root / "models" / name / "metrics.json").read_text()) for name in ("link", "organ"))
    assert {"miou", "mdice", "worst_iou", "worst_iou_low", "worst_iou_high"} <= set(link)
    assert link["worst_iou"] == min(link["iou/ground"], link["iou/disc"])
    assert {"mdice", "worst_iou"} <= set(organ)
    card = json.loads((line.root / "models/organ/model.json").read_text())
    assert (card["task"], card["training"]["metric"]) == ("organ", "val_mdice")
    parity = json.loads((line.root / "models/organ/parity.json").read_text())
    assert (parity["passed"], parity["metric"]) == (True, "mdice")
    history = (line.root / "models/link/history.csv").read_text().splitlines()[0]
    assert "train_poly" in history
    shown = line.run("segline", "models").stdout
    assert "pairs-link" in shown and "pairs-organ" in shown


def test_they_predict_and_are_promoted_like_any_other(line: TinyCheckout, tmp_path: Path) -> None:
    images = line.root.parent / "pairs" / "images"
    line.run("segline", "predict", str(images), "--model", "models/organ", "--out", str(tmp_path / "out"))
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 16
    assert "staging" in line.run("segline", "promote", "organ", "--to", "staging").stdout


def test_mistakes_in_their_keys_are_told_as_for_any_other(line: TinyCheckout) -> None:
    line.edit("epsilon: 2.0", "epsilom: 2.0")
    failed = line.run("python", "pipeline/params.py", check=False)
    assert "models.link.loss.poly.epsilom is no known key; did you mean 'epsilon'?" in failed.stdout
    line.edit("epsilom: 2.0", "epsilon: 2.0")
