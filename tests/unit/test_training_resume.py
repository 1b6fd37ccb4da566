"""The resume folder: whose it is, that its lock ends with its owner and with nobody else, and why a training starts afresh."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

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


def test_what_others_decoded_is_removed_when_nobody_has_written_it_for_a_day(tmp_path: Path) -> None:
    """A killed training leaves gigabytes, and may never be taken up again."""
    files = {}
    for name, age_h in (("m-old", 25), ("m-new", 1), ("other-old", 25), ("m-mine", 25)):
        files[name] = tmp_path / name / "decoded-here"
        files[name].parent.mkdir()
        files[name].write_bytes(b"pixels")
        os.utime(files[name], (time.time() - age_h * 3600,) * 2)
        (tmp_path / name / "last.ckpt").write_bytes(b"weights")
    with resume.claimed(tmp_path, "m", "mine", {}):
        assert [name for name, file in files.items() if file.is_file()] == ["m-new", "m-mine"]
    assert len(list(tmp_path.glob("*/last.ckpt"))) == 4


def test_a_model_whose_name_begins_like_anothers_is_another(tmp_path: Path) -> None:
    with resume.claimed(tmp_path, "unet-big", "0123", PARTS) as folder:
        (folder / resume.CHECKPOINT).write_bytes(b"")
    assert resume.why_afresh(tmp_path, "unet", "4567", PARTS) is None


def test_what_is_discarded_is_gone_and_can_be_claimed_again(tmp_path: Path) -> None:
    for _ in range(2):
        with resume.claimed(tmp_path, "unet", "key", PARTS) as folder:
            assert resume.begun(folder) == resume.Begun()
            for epoch in range(2):
                resume.save_checkpoint(content(epoch), folder / resume.CHECKPOINT)
            assert resume.begun(folder) == resume.Begun(folder / resume.CHECKPOINT, 2)
            resume.discard(folder)
        assert not list(tmp_path.iterdir())


def content(epoch: int) -> dict[str, Any]:
    """As much of Lightning's checkpoint as is asked for."""
    weights = {"weight": torch.full((100_000,), float(epoch))}
    return {"epoch": epoch, "state_dict": weights, "optimizer_states": [], "loops": {}, "callbacks": {}}


def saved(folder: Path, epochs: int) -> None:
    for epoch in range(epochs):
        resume.save_checkpoint(content(epoch), folder / resume.CHECKPOINT)


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100_000])


def one_bit(file: Path) -> None:
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)


class Malicious:
    """Unpickling it would write a file."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> Any:
        return Path.write_text, (self._target, "harm")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut off": cut_off,
    "one bit": one_bit,
    "empty": lambda file: file.write_bytes(b""),
    "another file": lambda file: file.write_text("no checkpoint"),
    "incomplete": lambda file: torch.save({"epoch": 3}, file),
    "a pickle that runs code": lambda file: torch.save({**content(7), "callbacks": Malicious(file.with_name("harm"))}, file),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before_it(damage: str, tmp_path: Path) -> None:
    saved(tmp_path, 3)
    newest, earlier = tmp_path / resume.CHECKPOINT, tmp_path / resume.EARLIER
    DAMAGES[damage](newest)
    found = resume.begun(tmp_path)
    assert (found.checkpoint, found.epochs) == (earlier, 2)
    [sentence] = found.unreadable
    assert sentence.startswith(f"The checkpoint {newest} of an interrupted training cannot be read (")
    resume.forget_unreadable(tmp_path, found)
    assert [file.name for file in tmp_path.iterdir()] == [earlier.name]

    DAMAGES[damage](earlier)
    found = resume.begun(tmp_path)
    assert (found.checkpoint, found.epochs, len(found.unreadable)) == (None, 0, 1)
    resume.forget_unreadable(tmp_path, found)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size")
def test_a_disk_that_fills_while_a_checkpoint_is_saved_leaves_the_last_good_one(tmp_path: Path) -> None:
    """The process may write files of 100 kB at most, and a checkpoint has 400."""
    saved(tmp_path, 2)
    script = (
        "import resource, sys, torch\nfrom pathlib import Path\nfrom segline.errors import told_in_sentences\nfrom segline.training import resume\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "with told_in_sentences():\n"
        "    resume.save_checkpoint({'epoch': 9, 'state_dict': torch.zeros(100_000)}, Path(sys.argv[1]))"
    )
    newest = tmp_path / resume.CHECKPOINT
    done = subprocess.run([sys.executable, "-c", script, str(newest)], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: a file may not grow any larger (see `ulimit -f`) while writing {newest}. Free some space and run the same")
    assert resume.begun(tmp_path) == resume.Begun(newest, 2)
    assert [file.name for file in tmp_path.iterdir()] == [newest.name], "no half of one is left"


KILLED_WHILE_SAVING = """
import os, signal, sys, torch
from pathlib import Path
from segline.training import resume
calls = 0
def killed_at(event, arguments):
    global calls
    if event in ("os.rename", "os.remove") and "ckpt" in str(arguments[0]):
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(killed_at)
resume.save_checkpoint(torch.load(sys.argv[3], weights_only=True), Path(sys.argv[1]))
"""


@pytest.mark.parametrize(("at", "epochs"), [(1, 3), (3, 3), (4, 3), (5, 4)])
def test_a_kill_at_any_moment_of_saving_leaves_a_checkpoint_that_is_whole(at: int, epochs: int, tmp_path: Path) -> None:
    folder = tmp_path / "resume"
    folder.mkdir()
    saved(folder, 3)
    torch.save(content(3), tmp_path / "next.pt")
    command = [sys.executable, "-c", KILLED_WHILE_SAVING, str(folder / resume.CHECKPOINT), str(at), str(tmp_path / "next.pt")]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    found = resume.begun(folder)
    assert (found.epochs, found.unreadable) == (epochs, ())
    saved(folder, 1)
    assert resume.begun(folder).epochs == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', '{"version": 1, "parts": 3}', "\x00"])
def test_notes_that_somebody_edited_get_a_sentence(tmp_path: Path, text: str) -> None:
    with resume.claimed(tmp_path, "unet", "0123", PARTS) as folder:
        (folder / resume.CHECKPOINT).write_bytes(b"")
        (folder / "owner.json").write_text(text)
        with pytest.raises(LockedError, match="already being trained"), resume.claimed(tmp_path, "unet", "0123", PARTS):
            pass
    (folder / "identity.json").write_text(text)
    assert "is not continued, because" in str(resume.why_afresh(tmp_path, "unet", "4567", PARTS))
