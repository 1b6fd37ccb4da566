"""`dvc exp run` in the workspace, in a temporary copy and from the queue: the copy's own code, the main checkout's logbook."""

from __future__ import annotations

import csv
import io
import re
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

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


def _versions(checkout: TinyCheckout) -> dict[str, int]:
    """The registry: the experiment that each version with one comes from, `candidate`, and how many there are."""
    with sqlite3.connect(checkout.root / "mlflow.db") as store:
        found = dict(store.execute("select value, version from model_version_tags where key = 'segline.experiment'"))
        [(candidate,)] = store.execute("select version from registered_model_aliases where alias = 'candidate'")
        [(count,)] = store.execute("select count(*) from model_versions")
    return found | {"candidate": candidate, "count": count}


def test_the_candidate_is_what_the_workspace_holds(checkout: TinyCheckout, tmp_path: Path) -> None:
    checkout.run("dvc", "repro", "-f", "-s", "register@unet")  # other tests ran experiments in the workspace and went back by git alone
    before = _versions(checkout)
    output = checkout.run("dvc", "exp", "run", "--temp", "-n", "aside", "-S", "models.unet.train.lr=4e-5").stdout
    assert "is of 'aside'" in output
    after = _versions(checkout)
    assert (after["candidate"], after["count"]) == (before["candidate"], before["count"] + 1)
    assert after["aside"] == after["count"]
    assert checkout.run("segline", "status", check=False).returncode == 0

    checkout.run("dvc", "exp", "apply", "aside")
    assert "candidate is version" in checkout.run("segline", "status", check=False).stdout
    checkout.commit("applied, not reproduced")
    checkout.run("dvc", "remote", "add", "--default", "--force", "folder", str(tmp_path / "remote"))
    checkout.run("dvc", "push")
    try:
        clone = TinyCheckout(tmp_path / "clone", checkout.environment | {"MLFLOW_TRACKING_URI": f"sqlite:///{checkout.root / 'mlflow.db'}"})
        checkout.run("git", "clone", "-q", str(checkout.root), str(clone.root))
        clone.run("dvc", "remote", "add", "--default", "--force", "folder", str(tmp_path / "remote"))
        clone.run("dvc", "pull")
        for place in (clone, checkout):
            with sqlite3.connect(checkout.root / "mlflow.db") as store:
                store.execute("update registered_model_aliases set version = ? where alias = 'candidate'", (before["candidate"],))
            assert ran(place.run("dvc", "repro").stdout) == ["register@unet"]
            assert _versions(checkout)["candidate"] == after["aside"]
            assert ran(place.run("dvc", "repro").stdout) == []
            assert place.run("segline", "status", check=False).returncode == 0
    finally:
        checkout.run("git", "reset", "-q", "--hard", "HEAD~1")
        checkout.run("dvc", "checkout")
    assert _versions(checkout)["count"] == after["count"]


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
