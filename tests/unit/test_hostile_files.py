"""A small part of `benchmarks/hostile/files.py`: damage to what Segline wrote ends in a sentence that names the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile import campaign_of

from segline.errors import SeglineError
from segline_runtime.errors import InputError

hostile = campaign_of("files")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    hostile.made(folder)
    return folder


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning", "ignore:.*:UserWarning")
def test_damage_ends_in_a_sentence_or_is_none(root: Path) -> None:
    refused = 0
    for _, case in hostile.cases(root, 120, 20_000):
        try:
            case()
        except (SeglineError, InputError):
            refused += 1
    assert refused > 40


@pytest.mark.parametrize("content", ["", "[]", "null", "{", '{"version": 99}', '{"format": 99, "version": 99}', "[" * 100_000])
def test_each_file_is_named_by_the_sentence(root: Path, content: str) -> None:
    forgiving = ("identity.json", "owner.json")  # they only explain; without them the training starts afresh
    for name, use in hostile.targets(root).items():
        if not name.endswith(".json") or name.endswith(forgiving):
            continue
        if name.endswith(("metrics.json", "trained_on.json")) and content.startswith("{") and content != "{":
            continue  # a mapping of whatever figures is one
        told = _told(root, name, content, use)
        assert told and Path(name).name in told, (name, told)


def _told(root: Path, name: str, content: str, use: Callable[[Path], object]) -> str | None:
    try:
        hostile._tried(root, name, content.encode(), use)
    except SeglineError as error:
        return str(error)
    return None


def test_what_is_not_damaged_is_read(root: Path) -> None:
    for use in hostile.targets(root).values():
        use(root)
    assert json.loads((root / "models" / "unet" / "model.json").read_text())["version"] == 3
