"""The small parts of training: schedule, hold-out, shuffling, lock and resume folder."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from segline.errors import LockedError
from segline.provenance import Provenance
from segline.training import resume
from segline.training.holdout import holdout
from segline.training.loaders import _Shuffle
from segline.training.schedule import factor

HERE = Provenance("p", "d", "c")


@pytest.mark.parametrize("schedule", ["cosine", "poly"])
def test_the_rate_warms_up_and_decays_to_nothing(schedule: str) -> None:
    rates = [factor(step, schedule=schedule, warmup_steps=5, total_steps=50) for step in range(51)]
    assert rates[:6] == sorted(rates[:6])
    assert rates[5] == 1.0
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[50] == pytest.approx(0.0, abs=1e-9)


def test_a_constant_rate_stays() -> None:
    assert factor(40, schedule="constant", warmup_steps=0, total_steps=50) == 1.0


@pytest.mark.parametrize("count", [2, 9, 80, 367])
def test_the_holdout_is_seeded_disjoint_and_of_the_asked_size(count: int) -> None:
    kept, held = holdout(count, 0.1, seed=1)
    assert sorted(kept + held) == list(range(count))
    assert abs(len(held) - max(1, count * 0.1)) <= 8
    assert holdout(count, 0.1, seed=1) == (kept, held)


def test_the_holdout_takes_images_in_a_row() -> None:
    _, held = holdout(400, 0.1, seed=0)
    jumps = sum(b - a > 1 for a, b in pairwise(held))
    assert jumps <= len(held) / 8


def test_processes_share_an_epoch_evenly() -> None:
    parts = []
    for rank in range(3):
        sampler = _Shuffle(10, seed=5, rank=rank, world=3)
        sampler.set_epoch(2)
        parts.append(list(sampler))
    assert {len(part) for part in parts} == {4}
    assert {i for part in parts for _, i in part} == set(range(10))
    assert {epoch for part in parts for epoch, _ in part} == {2}


def test_epochs_differ_and_repeat() -> None:
    sampler = _Shuffle(50, seed=0, rank=0, world=1)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert [i for _, i in sampler] != [i for _, i in first]


def test_a_second_trainer_is_refused_by_name(tmp_path: Path) -> None:
    other = (
        "import sys; from pathlib import Path; from segline.provenance import Provenance; from segline.training import resume\n"
        "with resume.claimed(Path(sys.argv[1]), 'unet', Provenance('p', 'd', 'c')): print('mine', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", other, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "mine\n"
        with pytest.raises(LockedError, match=f"process {owner.pid} on"), resume.claimed(tmp_path, "unet", HERE):
            pass
        with resume.claimed(tmp_path, "unet", Provenance("other", "d", "c")):
            pass  # other parameters are another training
        owner.kill()
    with resume.claimed(tmp_path, "unet", HERE) as folder:
        assert str(os.getpid()) in (folder / "owner.lock").read_text()


def test_it_says_why_a_training_starts_afresh(tmp_path: Path) -> None:
    with resume.claimed(tmp_path, "unet", Provenance("p", "other data", "other code")) as folder:
        (folder / resume.CHECKPOINT).write_bytes(b"")
    reason = resume.why_afresh(tmp_path, "unet", HERE)
    assert reason is not None
    assert "data and code differ" in reason
    assert resume.why_afresh(tmp_path, "unet", Provenance("p", "other data", "other code")) is None
