"""Ensembles, soups and components in the whole line: in the right order, made anew when a member was, and never of stale members."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from conftest import TinyCheckout, ran

from segline.provenance import file_digest

pytestmark = pytest.mark.slow

ONE, OTHER_ONE = "lr: 0.002, warmup: 0", "lr: 0.003, warmup: 0"
MODELS = f"""\
models:
  one:
    arch: segnet
    width: 4
    input: {{size: [64, 64]}}
    train: {{epochs: 1, batch_size: 4, {ONE}}}
  two:
    arch: segnet
    width: 4
    input: {{size: [64, 64]}}
    augment: [{{HorizontalFlip: {{p: 0.5}}}}]
    train: {{epochs: 1, batch_size: 4, lr: 0.001, warmup: 0}}
  other:
    arch: unet
    encoder: mobilenet_v2
    input: {{size: [96, 64], fit: letterbox}}
    train: {{epochs: 1, batch_size: 4, lr: 0.001, warmup: 0}}
  soup: {{arch: soup, of: [one, two], greedy: true}}
  mixed: {{arch: ensemble, of: [two, other]}}
  objects: {{arch: components, of: mixed, predict: {{min_size: 4}}}}

"""
NAMES = ("one", "two", "other", "soup", "mixed", "objects")
UP_TO_DATE = "Data and pipelines are up to date."


def each(*names: str) -> list[str]:
    return [f"{stage}@{name}" for stage in ("train", "evaluate", "export", "register") for name in names]


@pytest.fixture(scope="module")
def line(make_tiny_checkout: Callable[[], TinyCheckout]) -> TinyCheckout:
    """A line of networks and what is made of them that has run once."""
    checkout = make_tiny_checkout()
    text = checkout.params.read_text()
    parts = (text[: text.index("models:")], MODELS, text[text.index("evaluate:") : text.index("promote:")], text[text.index("runtime:") :])
    checkout.params.write_text("".join(parts))
    checkout.commit("models made of others")
    output = checkout.run("dvc", "repro", timeout=2500).stdout
    assert ran(output) == ["params", "download", "prepare", "plan", *each(*NAMES)], "each after what it is made of"
    return checkout


@pytest.fixture
def changed(line: TinyCheckout) -> Iterator[TinyCheckout]:
    """The line, with its parameters and scripts put back and run afterwards."""
    yield line
    line.run("git", "checkout", "-q", "--", "params.yaml", "pipeline")
    line.run("dvc", "repro", timeout=2500)


def digests(checkout: TinyCheckout) -> dict[str, str]:
    return {name: file_digest(checkout.root / "models" / name / "weights.pt") for name in NAMES}


def test_from_images_to_the_registry(line: TinyCheckout) -> None:
    assert UP_TO_DATE in line.run("dvc", "status").stdout
    for name in NAMES:
        folder = line.root / "models" / name
        assert json.loads((folder / "parity.json").read_text())["difference"] == 0
        assert json.loads((folder / "registered.json").read_text())["version"] == 1
        assert f"shapes-{name}" in line.run("segline", "models").stdout
    figures = json.loads((line.root / "models" / "objects" / "metrics.json").read_text())
    assert "mask_ap" in figures and figures["split"] == "test"
    assert "WARNING" not in line.run("dvc", "plots", "show").stdout
    assert line.run("segline", "status").returncode == 0


def test_a_changed_member_makes_what_is_made_of_it_anew_and_nothing_else(changed: TinyCheckout) -> None:
    before = digests(changed)
    changed.edit(ONE, OTHER_ONE)
    output = changed.run("dvc", "repro", timeout=2500).stdout
    assert ran(output) == ["params", "plan", *each("one", "soup")]
    assert {name for name, value in digests(changed).items() if value != before[name]} <= {"one", "soup"}
    assert UP_TO_DATE in changed.run("dvc", "status").stdout


def test_alone_it_is_refused_until_its_members_are_right(changed: TinyCheckout) -> None:
    changed.edit(ONE, "lr: 0.004, warmup: 0")  # of which the run cache knows nothing
    refused = changed.run("dvc", "repro", "train@soup", check=False)
    assert refused.returncode != 0 and "Traceback" not in refused.stdout
    assert "'soup' is made of 'one', and" in refused.stdout and "holds a model that was trained by another plan" in refused.stdout
    assert not (changed.root / "models" / "soup" / "weights.pt").exists()


def test_a_forced_training_with_other_weights_makes_it_anew(changed: TinyCheckout) -> None:
    """The script is made to do what a GPU does: to come to other weights by the same plan."""
    before = digests(changed)
    seeded = "    import torch\n\n    seeded = torch.manual_seed\n    torch.manual_seed = lambda seed: seeded(seed + 1)\n"
    changed.edit("    plan = plans.read_train(", seeded + "    plan = plans.read_train(", "pipeline/train.py")
    changed.run("dvc", "repro", "plan")
    changed.run("dvc", "repro", "-f", "-s", "train@other")
    assert digests(changed)["other"] != before["other"]
    assert "made of other weights of other" in changed.run("segline", "status", check=False).stdout
    refused = changed.run("python", "pipeline/evaluate.py", "mixed", check=False)
    assert refused.returncode == 2 and "'mixed' was made of other weights of 'other'" in refused.stdout
    assert set(json.loads(changed.run("dvc", "status", "--json").stdout.splitlines()[-1])) >= {"plan", "evaluate@other"}
    stages = ran(changed.run("dvc", "repro", timeout=2500).stdout)
    assert stages == [
        "plan",
        "train@mixed",
        "train@objects",
        *[f"{stage}@{name}" for stage in ("evaluate", "export", "register") for name in NAMES[2:] if name != "soup"],
    ]
    assert UP_TO_DATE in changed.run("dvc", "status").stdout
