"""Splits: official ones honoured, else by data.splits."""

from __future__ import annotations

import pytest

from segline.data.splits import assign, choose, counts
from segline.errors import DataError

NAMES = [f"{i:03d}" for i in range(120)]


def test_every_takes_each_nth_name_in_sorted_order():
    split = assign(list(reversed(NAMES)), [None] * 120, "every", 0.25, 0.25, seed=0)
    by_name = dict(zip(reversed(NAMES), split, strict=True))
    assert [n for n in NAMES if by_name[n] == "test"] == NAMES[3::4]
    rest = [n for n in NAMES if n not in NAMES[3::4]]
    assert [n for n in NAMES if by_name[n] == "val"] == rest[3::4]


def test_random_is_seeded_and_has_the_asked_shares():
    first = assign(NAMES, [None] * 120, "random", 0.15, 0.25, seed=0)
    assert counts(first) == {"train": 72, "val": 18, "test": 30}
    assert first == assign(NAMES, [None] * 120, "random", 0.15, 0.25, seed=0)
    assert first != assign(NAMES, [None] * 120, "random", 0.15, 0.25, seed=1)


def test_random_does_not_depend_on_the_order_and_one_more_image_moves_few():
    first = set(choose(NAMES, "random", 0.25, 0))
    assert first == set(choose(NAMES[::-1], "random", 0.25, 0))
    assert len(first ^ set(choose([*NAMES, "new"], "random", 0.25, 0))) <= 2


def test_official_splits_are_honoured():
    official = ["train"] * 100 + ["val"] * 20
    assert assign(NAMES, official, "random", 0.5, 0.4, seed=0) == official


def test_val_is_taken_from_train_where_only_test_is_official():
    split = assign(NAMES, ["train"] * 100 + ["test"] * 20, "random", 0.1, 0.4, seed=0)
    assert split[100:] == ["test"] * 20
    assert counts(split) == {"train": 90, "val": 10, "test": 20}


def test_only_train_is_divided_like_a_source_without_splits():
    assert counts(assign(NAMES, ["train"] * 120, "random", 0.15, 0.25, seed=0)) == {"train": 72, "val": 18, "test": 30}


def test_small_sources_still_get_each_split():
    assert counts(assign(NAMES[:4], [None] * 4, "random", 0.15, 0.15, seed=0)) == {"train": 2, "val": 1, "test": 1}


@pytest.mark.parametrize(
    ("names", "official", "method", "val", "test", "sentence"),
    [
        (NAMES[:3], None, "random", 0.0, 0.0, "neither a val nor a test split"),
        (NAMES[:3], "val", "random", 0.1, 0.1, "none for train"),
        (NAMES[:3], None, "every", 0.1, 0.9, "none to train on"),
    ],
)
def test_what_cannot_be_split_is_said(names, official, method, val, test, sentence):
    with pytest.raises(DataError, match=sentence):
        assign(names, [official] * len(names), method, val, test, seed=0)
