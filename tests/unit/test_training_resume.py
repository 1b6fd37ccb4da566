"""The resume folder: whose it is, that its lock ends with its owner and with nobody else, and why a training starts afresh."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from segline.errors import LockedError
from segline.training import resume

PARTS = {"settings": "s", "data": "d", "code": "c"}
OWNER = "import os, sys, time\nfrom pathlib import Path\nfrom segline.training import resume\nroot = Path(sys.argv[1])\nparts = {'settings': 's'}\n"


def started(script: str, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", OWNER + script, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def is_free(root: Path) -> bool:
    try:
        with resume.claimed(root, "unet", "key", PARTS):
            return True
    except LockedError:
        return False


def test_a_second_trainer_is_refused_by_name(tmp_path: Path) -> None:
    with started("with resume.claimed(root, 'unet', 'key', parts): print('mine', flush=True); sys.stdin.read()", tmp_path) as owner:
        assert line(owner) == "mine"
        with (
            pytest.raises(LockedError, match=rf"already being trained with these parameters, data and code by process {owner.pid} on .*, since \d{{4}}-"),
            resume.claimed(tmp_path, "unet", "key", PARTS),
        ):
            pass
        with resume.claimed(tmp_path, "unet", "other", PARTS):
            pass  # another key is another training
        owner.kill()
    with resume.claimed(tmp_path, "unet", "key", PARTS) as folder:
        assert str(os.getpid()) in (folder / "owner.json").read_text()
    assert not (folder / "owner.json").exists(), "nobody holds it any more"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked on this system")
@pytest.mark.parametrize("kind", ["fork", "loader"])
def test_a_forked_process_that_outlives_its_killed_parent_does_not_keep_the_lock(kind: str, tmp_path: Path) -> None:
    fork = "child = os.fork()\n    if not child: time.sleep(600)\n"
    loader = (
        "from torch.utils.data import DataLoader\n"
        "    class Slow:\n"
        "        def __len__(self): return 2\n"
        "        def __getitem__(self, i): time.sleep(600 * i); return os.getpid()\n"
        "    batches = iter(DataLoader(Slow(), num_workers=1, multiprocessing_context='fork'))\n"
        "    child = int(next(batches))\n"
    )
    body = fork if kind == "fork" else loader
    with started(f"with resume.claimed(root, 'unet', 'key', parts):\n    {body}    print(child, flush=True)\n    time.sleep(600)\n", tmp_path) as owner:
        child = int(line(owner))
        try:
            os.kill(child, 0)
            assert not is_free(tmp_path)
            owner.send_signal(signal.SIGKILL)
            owner.wait()
            os.kill(child, 0)  # the child lives on
            assert is_free(tmp_path)
        finally:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked on this system")
def test_a_forked_process_that_ends_does_not_take_the_lock_with_it(tmp_path: Path) -> None:
    forks = "for end in (os._exit, sys.exit):\n        child = os.fork()\n        if not child: end(0)\n        os.waitpid(child, 0)\n"
    script = f"with resume.claimed(root, 'unet', 'key', parts):\n    {forks}    print('mine', flush=True)\n    sys.stdin.read()\n"
    with started(script, tmp_path) as owner:
        assert line(owner) == "mine"
        with pytest.raises(LockedError, match=f"process {owner.pid} on"), resume.claimed(tmp_path, "unet", "key", PARTS):
            pass
        owner.kill()


def test_a_trainer_that_outlives_the_process_that_started_it_keeps_the_lock(tmp_path: Path) -> None:
    """As after `kill -9` of `dvc`."""
    trainer = OWNER + "with resume.claimed(root, 'unet', 'key', parts): print(os.getpid(), flush=True); time.sleep(600)"
    script = f"import subprocess\nsubprocess.run([sys.executable, '-c', {trainer!r}, sys.argv[1]])"
    with started(script, tmp_path) as dvc:
        owner = int(line(dvc))
        try:
            dvc.kill()
            dvc.wait()
            with pytest.raises(LockedError, match=f"process {owner} on"), resume.claimed(tmp_path, "unet", "key", PARTS):
                pass
        finally:
            os.kill(owner, signal.SIGTERM)
    end = time.monotonic() + 60
    while not is_free(tmp_path):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_it_says_why_a_training_starts_afresh(tmp_path: Path) -> None:
    others = {"settings": "s", "data": "other", "code": "other"}
    with resume.claimed(tmp_path, "unet", "0123", others) as folder:
        (folder / resume.CHECKPOINT).write_bytes(b"")
    reason = resume.why_afresh(tmp_path, "unet", "4567", PARTS)
    assert reason is not None
    assert "because its data and code differ; starting afresh" in reason
    assert resume.why_afresh(tmp_path, "unet", "0123", others) is None

    identity = json.loads((folder / "identity.json").read_text())
    (folder / "identity.json").write_text(json.dumps(identity | {"version": identity["version"] + 1}))
    assert "another version of Segline" in str(resume.why_afresh(tmp_path, "unet", "4567", PARTS))


def test_a_model_whose_name_begins_like_anothers_is_another(tmp_path: Path) -> None:
    with resume.claimed(tmp_path, "unet-big", "0123", PARTS) as folder:
        (folder / resume.CHECKPOINT).write_bytes(b"")
    assert resume.why_afresh(tmp_path, "unet", "4567", PARTS) is None


def test_what_is_discarded_is_gone_and_can_be_claimed_again(tmp_path: Path) -> None:
    for _ in range(2):
        with resume.claimed(tmp_path, "unet", "key", PARTS) as folder:
            assert resume.checkpoint(folder) is None
            (folder / resume.CHECKPOINT).write_bytes(b"")
            assert resume.checkpoint(folder) == folder / resume.CHECKPOINT
            resume.discard(folder)
        assert not list(tmp_path.iterdir())
