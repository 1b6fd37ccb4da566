"""Nothing half-written is seen, and what killed processes left behind goes with the next attempt."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from segline.files import whole, write_json

KILLED = """
import os, signal, sys
from pathlib import Path
from segline.files import whole
with whole(Path(sys.argv[1])) as beside:
    if sys.argv[2] == "folder":
        (beside / "inside").mkdir(parents=True)
    else:
        beside.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_goes_with_the_next_attempt(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "prepared"
    subprocess.run([sys.executable, "-c", KILLED, str(target), kind], check=False)
    [left] = names(tmp_path)
    assert left.endswith(".part")
    with whole(target) as beside:
        assert names(tmp_path) == []
        beside.write_text("whole")
    assert names(tmp_path) == ["prepared"]


def test_what_others_may_be_writing_stays(tmp_path: Path) -> None:
    host, dead = socket.gethostname(), 2**22 + 1
    stays = {f".a.json.{host}.{os.getppid()}.part", ".a.json.other-machine.1.part", ".a.json.part", f"a.json.{host}.{dead}.part", f".a.json.{host}.{dead}"}
    goes = {f".a.json.{host}.{dead}.part", f".another.{host}.{dead}.part", ".old.other-machine.1.part"}
    for name in stays | goes:
        (tmp_path / name).write_text("")
    os.utime(tmp_path / ".old.other-machine.1.part", (0, 0))
    write_json(tmp_path / "a.json", 1)
    assert set(names(tmp_path)) == {"a.json", *stays}


def written_to_a_full_disk(target: Path) -> None:
    with whole(target) as beside, Path("/dev/full").open("w") as full:
        beside.write_text("half")
        full.write("x" * 100_000)


def test_a_write_that_fails_says_where(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as failed:
        written_to_a_full_disk(tmp_path / "a.json")
    assert failed.value.filename == str(tmp_path / "a.json")
    assert names(tmp_path) == []
