"""Shared by all tests: where the checkout is, and tiny checkouts of it in which the whole line runs in a minute."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import warm

ROOT = Path(__file__).resolve().parents[1]

if "PYTEST_XDIST_WORKER" in os.environ:
    # Two workers on two cores: threads of both would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

TINY_PARAMS = """\
seed: 0

data:
  source: shapes
  train: 8
  val: 2
  test: 3
  size: [64, 64]

models:
  unet:
    arch: unet
    encoder: mobilenet_v2
    input: {size: [64, 64]}
    augment:
      - HorizontalFlip: {p: 0.5}
    train: {epochs: 1, batch_size: 4, lr: 0.002, warmup: 0}

  maskrcnn:
    arch: maskrcnn
    encoder: mobilenet_v3_small
    input: {size: [64, 64]}
    proposals: {train_before_nms: 50, train_after_nms: 20, test_before_nms: 50, test_after_nms: 10, rpn_batch: 16, box_batch: 8}
    predict: {max_detections: 10}
    train: {epochs: 1, batch_size: 4, lr: 0.0005, warmup: 0}

evaluate:
  overlays: 1

export:
  opset: 18
  tolerance: 0.001
  latency_runs: 2

promote:
  unet: {metric: miou, at_least: 0.0}
  maskrcnn: {metric: mask_ap50, at_least: 0.0}

runtime:
  accelerator: cpu
  devices: 1
  workers: 0
"""


LEFT_BY_THE_LINE = frozenset({"dvc.lock"})
"""What `dvc repro` writes into a checkout and git does not ignore."""


@dataclass(frozen=True)
class TinyCheckout:
    """A git checkout of its own, with a tiny params.yaml, its own tracking store and its own DVC cache."""

    root: Path
    environment: dict[str, str] = field(repr=False)

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    def run(self, *command: str, check: bool = True, timeout: float = 500) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout, stderr within stdout; with `check`, a failure shows all that it printed."""
        started = subprocess.Popen(
            command, cwd=self.root, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        try:
            output, _ = started.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)  # with what it started: DVC's children outlive it
            output, _ = started.communicate()
            pytest.fail(f"{' '.join(command)} took more than {timeout:g} s:\n{output}", pytrace=False)
        if check and started.returncode:
            pytest.fail(f"{' '.join(command)} exited with {started.returncode}:\n{output}", pytrace=False)
        return subprocess.CompletedProcess(command, started.returncode, output)

    def edit(self, old: str, new: str, file: str = "params.yaml") -> None:
        """Replace the one place in a file that reads `old`."""
        text = (self.root / file).read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        (self.root / file).write_text(text.replace(old, new))

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "-m", message)

    def cold(self) -> TinyCheckout:
        """The same, whose `python` is the interpreter itself and imports what it needs."""
        return TinyCheckout(self.root, self.environment | {"PATH": self.environment["PATH"].partition(os.pathsep)[2]})

    def clone(self, target: Path) -> TinyCheckout:
        """A `git clone`, with nothing of DVC's cache."""
        self.run("git", "clone", "-q", str(self.root), str(target))
        return TinyCheckout(target, self.environment)


def ran(output: str) -> list[str]:
    """The stages that DVC ran; those taken from the cache are not among them."""
    return re.findall(r"^Running stage '([^']+)':", output, re.MULTILINE)


def _environment(base: Path, python: Path) -> dict[str, str]:
    """The environment of a user who activated the environment that runs the tests, and who set nothing else; but its `python` is warm."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_", "MLFLOW_", "SEGLINE_", "PYTEST_"))}
    author = {f"GIT_{role}_{part}": f"test{end}" for role in ("AUTHOR", "COMMITTER") for part, end in (("NAME", ""), ("EMAIL", "@example.org"))}
    return (
        kept
        | author
        | {
            "PATH": os.pathsep.join([str(python), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "DVC_SITE_CACHE_DIR": str(base / "dvc-site"),
            "DVC_NO_ANALYTICS": "1",
            "DO_NOT_TRACK": "1",
            "COLUMNS": "200",
        }
    )


def _copy_of_the_checkout(target: Path) -> None:
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in sorted(set(filter(None, names)) - LEFT_BY_THE_LINE):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def _make_tiny_checkout(base: Path, python: Path) -> TinyCheckout:
    checkout = TinyCheckout(base / "checkout", _environment(base, python))
    checkout.root.mkdir()
    _copy_of_the_checkout(checkout.root)
    checkout.params.write_text(TINY_PARAMS)
    checkout.run("git", "init", "-q", "-b", "main")
    checkout.commit("tiny")
    return checkout


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the beginning of PATH: its `python` has imported the libraries already."""
    with warm.interpreter(tmp_path_factory.mktemp("warm")) as folder:
        yield folder


@pytest.fixture
def warm_path(warm_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put that `python` first on this process's PATH."""
    monkeypatch.setenv("PATH", os.pathsep.join([str(warm_python), os.environ["PATH"]]))


@pytest.fixture
def tiny_checkout(tmp_path: Path, warm_python: Path) -> TinyCheckout:
    """A fresh tiny checkout in which nothing has run yet."""
    return _make_tiny_checkout(tmp_path, warm_python)


@pytest.fixture(scope="session")
def make_tiny_checkout(tmp_path_factory: pytest.TempPathFactory, warm_python: Path) -> Callable[[], TinyCheckout]:
    """Makes tiny checkouts for fixtures that live longer than one test."""
    return lambda: _make_tiny_checkout(tmp_path_factory.mktemp("tiny"), warm_python)


@pytest.fixture(scope="module")
def line(make_tiny_checkout: Callable[[], TinyCheckout]) -> TinyCheckout:
    """A checkout in which `dvc repro` has run once."""
    checkout = make_tiny_checkout()
    output = checkout.run("dvc", "repro").stdout
    each = [f"{stage}@{model}" for stage in ("train", "evaluate", "export", "register") for model in ("unet", "maskrcnn")]
    assert sorted(ran(output)) == sorted(["params", "download", "prepare", "plan", *each])
    return checkout
