"""The stage `params` by its real entry point, and what DVC needs of params.yaml beyond its being valid."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TinyCheckout

from segline import conveyor
from segline.errors import ParametersError
from segline.layout import Checkout
from segline.plan import data

ROOT = Path(__file__).resolve().parents[2]

DATA = "data: {source: ../../images, format: coco}\n"
MODELS = "models:\n  unet: {arch: unet}\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A checkout with a valid params.yaml; the user's images lie beside it, in the home folder."""
    monkeypatch.delenv("SEGLINE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("images", "checkout/images", "checkout/data/raw", "checkout/data/plan", "checkout/data/mine", "checkout/models/unet"):
        (tmp_path / folder).mkdir(parents=True)
    checkout = Checkout(tmp_path / "checkout")
    checkout.params.write_text(DATA + MODELS)
    return checkout


def _problems(checkout: Checkout) -> tuple[str, ...]:
    with pytest.raises(ParametersError) as told:
        conveyor.check(checkout)
    return told.value.problems


def test_valid_params_pass(checkout: Checkout) -> None:
    assert conveyor.check(checkout).data_name() == "images"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (MODELS, "params.yaml: data is missing; DVC knows no defaults, so write it out: `data: {source: shapes}`."),
        ("data: {format: coco}\n" + MODELS, "params.yaml: data.source is missing; it is shapes (generated images), a public data set (`segline datasets`)"),
        (DATA, "params.yaml: models is missing"),
    ],
)
def test_every_key_that_dvc_names_must_be_written_out(checkout: Checkout, text: str, sentence: str) -> None:
    named = set(re.findall(r"\$\{([\w.]+)\}", (ROOT / "dvc.yaml").read_text()))
    assert named == {"data.source", "models", "key"}
    checkout.params.write_text(text)
    [told] = _problems(checkout)
    assert sentence in told


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nowhere", "data.source: the folder 'nowhere' does not exist"),
        ("images", "data.source: relative folders count from data/; write '../images'"),
        ("~/images", "data.source: DVC does not expand '~'; write '{home}/images'"),
        ("~nosuchuser/images", "data.source: '~nosuchuser/images' begins with a home folder that this machine does not know"),
        ("x" * 300, "cannot be looked at (File name too long)"),
        (".", "data.source is '.', which is or holds a folder that the line writes (data/raw)"),
        ("..", "data.source is '..', which is or holds a folder that the line writes (data/raw)"),
        ("''", "data.source is '', which is or holds a folder"),
        ("../models/unet", "data.source is '../models/unet', which is or holds a folder that the line writes (models)"),
        ("raw/", "which is or holds a folder that the line writes (data/raw)"),
        ("plan", "which is or holds a folder that the line writes (data/plan)"),
    ],
)
def test_data_sources_that_dvc_cannot_watch(checkout: Checkout, source: str, sentence: str) -> None:
    checkout.params.write_text(f"data: {{source: {source}, format: coco}}\n" + MODELS)
    [told] = _problems(checkout)
    assert sentence.format(home=Path.home()) in told


@pytest.mark.parametrize("source", ["../../images", "mine"])
def test_a_relative_source_that_a_copy_lacks_is_told(checkout: Checkout, source: str) -> None:
    copy = Checkout(checkout.root / ".dvc" / "tmp" / "exps" / "tmp1")
    (copy.root / "data").mkdir(parents=True)
    for place in (checkout, copy):
        place.params.write_text(f"data: {{source: {source}, format: coco}}\n" + MODELS)
    conveyor.check(checkout)
    [told] = _problems(copy)
    assert f"write it as an absolute path: '{(checkout.root / 'data' / source).resolve()}'" in told


def test_by_hand(tiny_checkout: TinyCheckout) -> None:
    assert tiny_checkout.run("python", "pipeline/params.py").stdout == ""
    plans = Checkout(tiny_checkout.root).data_plan
    assert [data.read(file).stage for file in (plans.download, plans.prepare)] == ["download", "prepare"]
    before = {file.name: file.read_text() for file in plans.path.iterdir()}
    tiny_checkout.edit("seed: 0", "sed: 0")
    done = tiny_checkout.run("python", "pipeline/params.py", check=False)
    assert done.returncode == 2
    assert done.stdout == "error: params.yaml: sed is no known key; did you mean 'seed'?\n"
    assert {file.name: file.read_text() for file in plans.path.iterdir()} == before


def test_each_plan_of_the_data_has_what_its_stage_uses_and_no_more(tiny_checkout: TinyCheckout) -> None:
    plans = Checkout(tiny_checkout.root).data_plan

    def after(*changes: tuple[str, str]) -> tuple[str, str]:
        for old, new in changes:
            tiny_checkout.edit(old, new)
        tiny_checkout.run("python", "pipeline/params.py")
        for old, new in changes:
            tiny_checkout.edit(new, old)
        return plans.download.read_text(), plans.prepare.read_text()

    download, prepare = after()
    assert after(("workers: 0", "workers: 3"), ("epochs: 1, batch_size: 4, lr: 0.002", "epochs: 2, batch_size: 4, lr: 0.002")) == (download, prepare)
    seeded = after(("seed: 0", "seed: 1"))
    assert seeded[0] != download, "shapes are drawn by it"
    assert seeded[1] == prepare, "and come with their splits"
    named = after(("source: shapes", "source: shapes\n  name: other"))
    assert (named[0] == download, named[1] == prepare) == (True, False)


def test_the_shipped_file_suits_dvc() -> None:
    conveyor.check(Checkout(ROOT))


def test_a_python_without_the_packages_is_told() -> None:
    done = subprocess.run([sys.executable, "-S", "-E", ROOT / "pipeline" / "params.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Activate the environment" in done.stderr
    assert "Traceback" not in done.stderr
