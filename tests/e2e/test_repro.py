"""`dvc repro` of the tiny line, once and again, and how it tells of mistakes in params.yaml. What else the line does is in `test_line.py`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import TINY_PARAMS, TinyCheckout, ran

SHAPES = TINY_PARAMS[TINY_PARAMS.index("  source: shapes") : TINY_PARAMS.index("\nmodels:")]
UP_TO_DATE = "Data and pipelines are up to date."


def _receipt(checkout: TinyCheckout, model: str) -> dict[str, Any]:
    receipt: dict[str, Any] = json.loads((checkout.root / "models" / model / "registered.json").read_text())
    return receipt


def test_a_second_repro_is_up_to_date(line: TinyCheckout) -> None:
    output = line.run("dvc", "repro").stdout
    assert UP_TO_DATE in output
    assert ran(output) == []
    assert line.run("git", "status", "--porcelain").stdout.split() == ["??", "dvc.lock"]


def test_both_models_are_registered_as_candidates_and_in_the_logbook(line: TinyCheckout) -> None:
    assert _receipt(line, "unet")["version"] == _receipt(line, "maskrcnn")["version"] == 1
    shown = line.run("segline", "models").stdout
    assert "shapes-unet" in shown and "shapes-maskrcnn" in shown and "candidate" in shown
    assert line.run("segline", "status", check=False).returncode == 0


MISTAKES = {
    "unknown keys": (
        [("batch_size: 4, lr: 0.002", "batchsize: 4, lr: 0.002"), ("overlays", "overlay"), ("seed: 0", "seed: 0\nseeds: 1")],
        ["models.unet.train.batchsize is no known key; did you mean 'batch_size'?", "evaluate.overlay is no known key; did you mean 'overlays'?", "'seed'?"],
    ),
    "null data source": ([("source: shapes", "source: null")], ["data.source is empty (null)"]),
    "data source elsewhere": ([("source: shapes", "source: /nowhere/at/all\n  format: coco")], ["data.source: the folder '/nowhere/at/all' does not exist"]),
    "data source in the home folder": ([(SHAPES, "  source: ~/.\n  format: coco\n")], ["data.source: DVC does not expand '~'; write '"]),
    "bad model name": (
        [("  unet:\n    arch", "  U-Net:\n    arch"), ("  unet: {metric: miou, at_least: 0.0}\n", "")],
        ["models: 'U-Net' is no valid model name"],
    ),
    "no data source": ([("  source: shapes\n", "")], ["Could not find 'data.source'"]),
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
