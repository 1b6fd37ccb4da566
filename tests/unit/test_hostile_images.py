"""A part of `benchmarks/hostile/images.py`: damaged image files end in an image or a sentence, in every decoder, within bounds of time and memory."""

from __future__ import annotations

import pytest
from hostile import campaign_of

from segline.errors import SeglineError
from segline_runtime.errors import InputError

hostile = campaign_of("images")

DAMAGED = 120


@pytest.mark.filterwarnings("ignore")
def test_files() -> None:
    hostile.quiet()
    files = hostile.bombs() | hostile.seeds()
    assert len(files) > 50
    found = hostile.campaign(hostile.cases(DAMAGED), seconds=60, mib=1024)
    assert found.outcomes.total() > DAMAGED
    assert found.findings == []
    assert found.largest_mib < 1024


@pytest.mark.filterwarnings("ignore")
def test_formats_that_are_not_read() -> None:
    foreign = {name: content for name, content in hostile.seeds().items() if name.startswith("foreign")}
    assert len(foreign) > 5
    for content in foreign.values():
        for decoder in hostile.decoders().values():
            with pytest.raises((InputError, SeglineError), match=r"not an image|is no image"):
                decoder(content)
