"""Damaged sources end in sentences: a small part of `benchmarks/hostile/formats.py`."""

from __future__ import annotations

import time
from functools import partial

import pytest
from hostile import campaign_of

formats, ALLOWED = campaign_of("formats"), campaign_of("campaign").ALLOWED

LONGER = ("text_numbers", "encodings")
"""Damages that belong to the slow tests, as do the layouts of public data sets, which test_data_layouts.py damages in its own way."""


def marks_of(word, damage=""):
    return [pytest.mark.slow] if word in formats.SETS or damage in LONGER else []


KINDS = [
    pytest.param(word, damage, marks=marks_of(word, damage.__name__), id=f"{word}-{damage.__name__}")
    for word, damages in formats.DAMAGES.items()
    for damage in damages
]


@pytest.mark.parametrize("word", [pytest.param(word, marks=marks_of(word)) for word in formats.SOURCES])
def test_an_undamaged_source_is_taken(tmp_path, word):
    formats.trial(word, formats.SOURCES[word](tmp_path / "root"))


@pytest.mark.parametrize(("word", "damage"), KINDS)
def test_damaged_sources_are_taken_or_refused_with_a_sentence(word, damage):
    # test_data_mutated.py and test_data_layouts.py try more of these.
    number = 3 if word in formats.TOOLS or word in formats.SETS else 10
    result = formats.campaign(formats.cases(word, damage, number), seconds=60, mib=1024)
    assert result.outcomes.total() == number
    assert set(result.outcomes) <= set(ALLOWED), result.findings


def test_a_campaign_tells_what_it_finds():
    def bug() -> None:
        raise KeyError("a bug")

    def loop() -> None:
        while True:
            pass

    result = formats.campaign([("bug", bug), ("loop", loop), ("wait", partial(time.sleep, 2))], seconds=1)
    assert dict(result.outcomes) == {"traceback": 1, "hang": 1, "ok": 1} and "a bug" in result.findings[0]["text"]
