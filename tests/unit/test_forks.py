"""A process that is forked while a thread imports can import the same module."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from segline import forks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")

MODULE = """\
import pathlib, time
pathlib.Path(__file__).with_name("begun").touch()
time.sleep(1)
value = 1
"""


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_waits_until_a_thread_has_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))

    def work() -> None:
        with forks.held_off():
            importlib.import_module("slow_to_import")

    thread = threading.Thread(target=work)
    thread.start()
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    child = os.fork()
    if child == 0:
        os._exit(importlib.import_module("slow_to_import").value)
    thread.join()
    deadline = time.monotonic() + 20
    ended, status = os.waitpid(child, os.WNOHANG)
    while not ended and time.monotonic() < deadline:
        time.sleep(0.05)
        ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        os.kill(child, 9)
        os.waitpid(child, 0)
    del sys.modules["slow_to_import"]
    assert ended and os.waitstatus_to_exitcode(status) == 1


def test_the_thread_that_imports_may_fork() -> None:
    with forks.held_off():
        child = os.fork()
        if child == 0:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
