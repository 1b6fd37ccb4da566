"""Damaged sources end in sentences: a small part of `benchmarks/hostile/formats.py`."""

from __future__ import annotations

import pytest
from hostile import campaign_of

formats, ALLOWED = campaign_of("formats"), campaign_of("campaign").ALLOWED

KINDS = [(word, damage) for word, damages in formats.DAMAGES.items() for damage in damages]


@pytest.mark.parametrize("word", formats.SOURCES)
def test_an_undamaged_source_is_taken(tmp_path, word):
    formats.trial(word, formats.SOURCES[word](tmp_path / "root"))


@pytest.mark.parametrize(("word", "damage"), KINDS, ids=[f"{word}-{damage.__name__}" for word, damage in KINDS])
def test_damaged_sources_are_taken_or_refused_with_a_sentence(word, damage):
    # test_data_mutated.py and test_data_layouts.py try more of these.
    number = 2 if word in formats.TOOLS else 1 if word in formats.SETS else 10
    result = formats.campaign(formats.cases(word, damage, number), seconds=60, mib=1024)
    assert result.outcomes.total() == number
    assert set(result.outcomes) <= set(ALLOWED), result.findings


def test_a_campaign_tells_what_it_finds():
    def bug() -> None:
        raise KeyError("a bug")

    result = formats.campaign([("bug", bug)])
    assert dict(result.outcomes) == {"traceback": 1} and "a bug" in result.findings[0]["text"]
