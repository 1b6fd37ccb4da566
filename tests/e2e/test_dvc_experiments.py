"""`dvc exp run` in the workspace, in a temporary copy and from the queue: the copy's own code, the main checkout's logbook."""

from __future__ import annotations

import csv
import io
import re
import shutil
import sqlite3
import time
from collections.abc import Callable

import pytest
from conftest import TinyCheckout, ran

pytestmark = pytest.mark.slow

TELLING = "\nprint(f'layout of {__file__}', file=__import__('sys').stderr)\n"
MAIN_COPY = re.compile(r"^layout of (.*)/src/segline/layout\.py$", re.MULTILINE)


@pytest.fixture(scope="module")
def checkout(make_tiny_checkout: Callable[[], TinyCheckout]) -> TinyCheckout:
    """A checkout with the U-Net alone, reproduced and committed, whose layout module says where it was loaded from."""
    checkout = make_tiny_checkout()
    text = re.sub(r"  maskrcnn:\n    arch.*?\n\n", "", checkout.params.read_text(), flags=re.DOTALL)
    checkout.params.write_text(re.sub(r"  maskrcnn: .*\n", "", text))
    layout = checkout.root / "src" / "segline" / "layout.py"
    layout.write_text(layout.read_text() + TELLING)
    checkout.run("dvc", "repro")
    checkout.commit("reproduced")
    return checkout


def _table(checkout: TinyCheckout) -> dict[str, dict[str, str]]:
    text = checkout.run("dvc", "exp", "show", "--csv").stdout
    return {row["Experiment"] or row["rev"]: row for row in csv.DictReader(io.StringIO(text[text.index("Experiment,") :]))}


def _experiments_in_the_logbook(checkout: TinyCheckout) -> set[str]:
    with sqlite3.connect(checkout.root / "mlflow.db") as store:
        return {value for (value,) in store.execute("select value from tags where key = 'segline.experiment'")}


def test_in_the_workspace(checkout: TinyCheckout) -> None:
    output = checkout.run("dvc", "exp", "run", "-n", "plain", "-S", "models.unet.train.lr=1e-5").stdout
    assert ran(output) == ["params", "plan", "train@unet", "evaluate@unet", "export@unet", "register@unet"]
    row = _table(checkout)["plain"]
    assert float(row["models.unet.train.lr"]) == 1e-5
    assert 0 <= float(row["miou"]) <= 1
    assert "plain" in _experiments_in_the_logbook(checkout)
    differences = checkout.run("dvc", "metrics", "diff", "main", "plain").stdout
    assert "models/unet/metrics.json" in differences
    checkout.run("git", "checkout", "-q", ".")
    checkout.run("dvc", "checkout")
    assert "Data and pipelines are up to date." in checkout.run("dvc", "status").stdout


def test_in_a_temporary_copy(checkout: TinyCheckout) -> None:
    output = checkout.run("dvc", "exp", "run", "--temp", "-n", "copied", "-S", "models.unet.train.lr=2e-5").stdout
    used = set(MAIN_COPY.findall(output))
    assert used and all("/.dvc/tmp/exps/" in place for place in used), "the copy runs its own code"
    assert float(_table(checkout)["copied"]["models.unet.train.lr"]) == 2e-5
    assert "copied" in _experiments_in_the_logbook(checkout)
    assert not list((checkout.root / ".dvc" / "tmp").rglob("mlflow.db"))
    assert checkout.run("git", "status", "--porcelain").stdout == ""


def test_from_the_queue(checkout: TinyCheckout) -> None:
    checkout.run("dvc", "exp", "run", "--queue", "-n", "queued", "-S", "models.unet.train.lr=3e-5")
    checkout.run("dvc", "queue", "start", "-j", "1")
    try:
        for _ in range(600):
            status = checkout.run("dvc", "queue", "status").stdout
            if re.search(r"queued\s.*(Success|Failed)", status):
                break
            time.sleep(0.5)
        log = checkout.run("dvc", "queue", "logs", "queued").stdout
        assert re.search(r"queued\s.*Success", status), f"{status}\n{log}"
    finally:
        checkout.run("dvc", "queue", "stop")
    assert all("/.dvc/tmp/exps/" in place for place in MAIN_COPY.findall(log))
    assert float(_table(checkout)["queued"]["models.unet.train.lr"]) == 3e-5
    assert "queued" in _experiments_in_the_logbook(checkout)
    assert not list((checkout.root / ".dvc" / "tmp").rglob("mlflow.db"))


def test_a_relative_source_elsewhere_is_told_in_a_copy(checkout: TinyCheckout) -> None:
    shutil.copytree(checkout.root / "data" / "raw", checkout.root.parent / "images")
    text = checkout.params.read_text()
    try:
        checkout.params.write_text("data: {source: ../../images, format: coco}\n\n" + text[text.index("models:") :])
        done = checkout.run("dvc", "exp", "run", "--temp", "-n", "elsewhere", check=False)
    finally:
        checkout.params.write_text(text)
    assert done.returncode != 0
    assert f"write it as an absolute path: '{(checkout.root.parent / 'images').resolve()}'" in done.stdout
    assert "Traceback" not in done.stdout
