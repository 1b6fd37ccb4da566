"""How far work has come, in a log and on a terminal."""

from __future__ import annotations

import pytest

from segline import progress as module
from segline.progress import progress


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 10.0, 31.0, 40.0, 62.0, 300.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(seconds))
    with progress("scoring test", 50) as advance:
        for number in (1, 9, 5, 5, 30):
            advance(number)
    assert capsys.readouterr().err.splitlines() == ["scoring test: 10 of 50, 2 min left", "scoring test: 20 of 50, 2 min left"]


def test_short_work_and_work_that_nobody_asks_about_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for shown in (True, False):
        with progress("predict", 2, shown=shown) as advance:
            advance(1)
            advance(1)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("predict", 2) as advance:
        advance(2)
    assert "2/2" in capsys.readouterr().err
