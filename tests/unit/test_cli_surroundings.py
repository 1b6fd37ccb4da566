"""Hostile surroundings: terminals that know ASCII alone, files that may not be read, accounts without a name or a home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from segline.errors import TrainingError
from segline.files import unwritable
from segline.promotion.history import _user
from segline.registry.version import _no_model

SOURCE = Path(__file__).resolve().parents[2] / "src"


def run(code: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "OMP_NUM_THREADS")}
    return subprocess.run([sys.executable, "-c", code], env=kept | {"PYTHONPATH": str(SOURCE)} | environment, capture_output=True, check=False)


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}])
def test_a_terminal_of_ascii_gets_question_marks_and_no_traceback(environment: dict[str, str]) -> None:
    code = (
        "from segline.errors import told_in_sentences, ModelError\n"
        "from segline.cli.console import console\n"
        "from rich.table import Table\n"
        "with told_in_sentences():\n"
        "    print('version 1 → production …')\n"
        "    table = Table('größe'); table.add_row('− 3 ×'); console().print(table)\n"
        "    raise ModelError('it lies in “übung” → there')\n"
    )
    # The code itself is ASCII, as the command line of such a terminal is.
    done = run(code.encode("unicode_escape").decode("ascii").replace("\\n", "\n"), **environment)
    assert done.returncode == 2, done.stderr
    assert b"version 1 ? production" in done.stdout and b"Traceback" not in done.stdout
    assert b"Traceback" not in done.stderr and b"it lies in" in done.stderr


@pytest.mark.parametrize("code", ["open('/' + 'x' * 300)", "__import__('os').open('/proc/1/mem', 2) if __import__('os').getuid() else open('/' + 'y' * 300)"])
def test_what_the_system_refuses_is_a_sentence(code: str) -> None:
    done = run(f"from segline.errors import told_in_sentences\nwith told_in_sentences():\n    {code}\n")
    assert done.returncode == 2
    assert b"error: " in done.stderr and b"cannot be used" in done.stderr and b"Traceback" not in done.stderr


def test_a_bug_keeps_its_traceback() -> None:
    done = run("from segline.errors import told_in_sentences\nwith told_in_sentences():\n    open('/nowhere/at/all')\n")
    assert done.returncode == 1 and b"Traceback" in done.stderr


def test_an_account_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    assert _user() == "uid 54321"


def test_a_folder_is_asked_before_a_training_and_left_as_it_was(tmp_path: Path) -> None:
    from segline.trial import require_writable

    require_writable(tmp_path, tmp_path / "not" / "there" / "yet")
    assert unwritable(tmp_path) is None and not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot be written to"):
        require_writable(tmp_path / "file" / "unet")


@pytest.mark.skipif(os.getuid() != 0 or not Path("/proc").is_dir(), reason="another account can be taken by root alone")
def test_a_folder_of_somebody_else() -> None:
    code = (
        "import os, tempfile\nfrom pathlib import Path\nfrom segline.files import unwritable\ntempfile.gettempdir()\n"
        f"os.setuid(54321)\nprint(unwritable(Path({str(SOURCE)!r})))"
    )
    assert b"cannot be written to (Permission denied)" in run(code).stdout


def test_a_registered_model_without_versions_is_not_called_unknown() -> None:
    told = _no_model("shapes-unet", ["shapes-unet"], "sqlite:///x.db")
    assert "has no versions" in told and "Did you mean" not in told
