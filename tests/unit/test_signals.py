"""Ctrl-C and SIGTERM at any time: one sentence and the exit code 130 or 143, in every script; and in forked workers what would have been without us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from segline import signals
from segline.errors import told_in_sentences

ROOT = Path(__file__).resolve().parents[2]
STAGES = sorted(path.stem for path in (ROOT / "pipeline").glob("*.py") if path.stem != "here")
SENTENCES = {
    signal.SIGINT: "error: interrupted; nothing half-written was left behind. Run the same command again to go on.\n",
    signal.SIGTERM: "error: stopped by SIGTERM; nothing half-written was left behind. Run the same command again to go on.\n",
}
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}

both = pytest.mark.parametrize("signum", list(SENTENCES), ids=lambda signum: signum.name)


def started(*command: str) -> subprocess.Popen[str]:
    """As from a terminal: in the background Ctrl-C is ignored, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


IMPORT = """
import runpy, sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            print("importing", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Slow())
if sys.argv[2] == "segline":
    from segline.cli import main
    main()
sys.path.insert(0, "pipeline")
runpy.run_path(f"pipeline/{sys.argv[2]}.py", run_name="__main__")
"""


@both
@pytest.mark.parametrize("script", [*STAGES, "segline"])
def test_while_it_imports(script: str, signum: signal.Signals) -> None:
    with started(sys.executable, "-c", IMPORT, "typer" if script == "segline" else "pydantic", script) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signum)
        told = process.stderr.read()
    assert (process.returncode, told) == (CODES[signum], SENTENCES[signum])


WORK = """
import sys, time
from pathlib import Path
from segline.errors import told_in_sentences
from segline.files import whole
with told_in_sentences():
    try:
        with whole(Path(sys.argv[1]) / "out") as beside:
            beside.write_text("half")
            print("working", flush=True)
            time.sleep(60)
    except BaseException:
        if sys.argv[2] == "hidden":
            raise RuntimeError("a library's own error in place of ours") from None
        raise
"""


WHERE_NOTHING_IS_RAISED = """
import os, signal, sys, time
from segline.errors import told_in_sentences
number = int(sys.argv[1])
class Garbage:
    def __del__(self):
        os.kill(os.getpid(), number)
def hook():
    os.kill(os.getpid(), number)
with told_in_sentences():
    if sys.argv[2] == "finalizer":
        Garbage()
    else:
        os.register_at_fork(after_in_parent=hook)
        if not os.fork():
            os._exit(0)
    time.sleep(60)
"""


@both
@pytest.mark.parametrize("where", ["finalizer", "fork"])
def test_a_signal_that_comes_where_python_drops_exceptions_is_not_lost(where: str, signum: signal.Signals) -> None:
    """As it does in what runs at a fork, when the processes of a loader start."""
    with started(sys.executable, "-c", WHERE_NOTHING_IS_RAISED, str(int(signum)), where) as process:
        assert process.stderr is not None
        told = process.stderr.read()
    assert (process.returncode, told) == (CODES[signum], SENTENCES[signum])


@both
@pytest.mark.parametrize("how", ["told", "hidden"])
def test_while_it_works(how: str, signum: signal.Signals, tmp_path: Path) -> None:
    with started(sys.executable, "-c", WORK, str(tmp_path), how) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signum)
        told = process.stderr.read()
    assert (process.returncode, told) == (CODES[signum], SENTENCES[signum])
    assert not list(tmp_path.iterdir())


@both
def test_a_verb_of_segline_is_not_told_of_a_second_time(signum: signal.Signals) -> None:
    """typer has a word of its own for KeyboardInterrupt."""
    work = (
        "import time\nfrom segline.cli.app import app\nfrom segline.cli import main\n"
        "@app.command()\ndef wait() -> None:\n    print('working', flush=True)\n    time.sleep(60)\nimport sys; sys.argv = ['segline', 'wait']; main()"
    )
    with started(sys.executable, "-c", work) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signum)
        told = process.stderr.read()
    assert (process.returncode, told) == (CODES[signum], SENTENCES[signum])


@pytest.fixture
def terminal() -> Iterator[None]:
    """Ctrl-C is not ignored, as it is where the tests themselves run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@both
@pytest.mark.usefixtures("terminal")
def test_a_forked_worker_ends_as_any_process(signum: signal.Signals) -> None:
    with signals.raised_as_stopped():
        receive, send = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.write(send, b"!")
                for _ in range(1000):
                    time.sleep(0.02)
            except KeyboardInterrupt:
                os._exit(7)  # as a loader's worker takes it
            os._exit(1)
        os.read(receive, 1)
        os.kill(child, signum)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (7 if signum == signal.SIGINT else -signal.SIGTERM)


@pytest.mark.usefixtures("terminal")
def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(signum) for signum in signals.STOPPING]
    with told_in_sentences():
        assert [signal.getsignal(signum) for signum in signals.STOPPING] != before
    assert [signal.getsignal(signum) for signum in signals.STOPPING] == before
    assert signals.received() is None


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with told_in_sentences():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
