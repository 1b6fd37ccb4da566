"""Splits: official ones honoured, else drawn from each image's content, so that what is added moves nothing."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from segline.data.sources import Splits
from segline.data.splits import assign
from segline.errors import DataError

NAMES = [f"{i:03d}" for i in range(120)]
MANY = [f"{i:05d}" for i in range(4000)]


def split(names, official=None, contents=None, **settings):
    """{name: split}; an image's content is hashed from its name, where `contents` says nothing else."""
    hashes = {name: hashlib.sha256(name.encode()).hexdigest() for name in names} | (contents or {})
    found = assign([Path(name) for name in names], [official] * len(names) if isinstance(official, str | None) else official, hashes, Splits(**settings))
    return dict(zip(names, found, strict=True))


def counts(found):
    return dict(Counter(found.values()))


def test_shares_hold_on_average_and_the_seed_draws_anew():
    first = split(MANY, val=0.15, test=0.25)
    assert counts(first)["val"] == pytest.approx(600, abs=70) and counts(first)["test"] == pytest.approx(1000, abs=85)
    other = split(MANY, val=0.15, test=0.25, seed=1)
    both = sum(first[name] == other[name] == "test" for name in MANY)
    assert both == pytest.approx(250, abs=50), "the seeds draw independently"
    average = sum(counts(split(NAMES, val=0.15, test=0.25, seed=seed))["test"] for seed in range(200)) / 200
    assert average == pytest.approx(30, abs=1.5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("added", [1, 40])
def test_old_images_stay_where_they_are(seed, added):
    """Added anywhere in the order of names; removed likewise, which is the same seen from the other side."""
    new = [f"{i:03d}a" for i in range(0, 120, 120 // added)]
    before, after = split(NAMES, seed=seed), split([*new, *NAMES], seed=seed)
    assert {name: after[name] for name in NAMES} == before


def test_the_order_and_the_names_of_images_change_nothing():
    first = split(NAMES)
    assert first == split(NAMES[::-1])
    renamed = split([f"moved/{name}" for name in NAMES], contents={f"moved/{name}": hashlib.sha256(name.encode()).hexdigest() for name in NAMES})
    assert list(renamed.values()) == list(first.values())


def test_copies_of_an_image_are_on_one_side():
    copies = {f"{name}_copy": hashlib.sha256(name.encode()).hexdigest() for name in NAMES}
    found = split([*NAMES, *copies], contents=copies)
    assert all(found[name] == found[f"{name}_copy"] for name in NAMES)
    with pytest.raises(DataError, match=r"neither a val nor a test split.*add images"):
        split(["a", "b"], contents={"a": "same", "b": "same"})


def test_a_larger_share_takes_from_train_alone():
    before, after = split(MANY, val=0.15, test=0.1), split(MANY, val=0.15, test=0.3)
    assert {before[name] for name in MANY if before[name] != after[name]} == {"train"}


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize(
    ("images", "expected"), [(2, {"train", "test"}), (3, {"train", "val", "test"}), (4, {"train", "val", "test"}), (9, {"train", "val", "test"})]
)
@pytest.mark.parametrize(("val", "test"), [(0.01, 0.01), (0.15, 0.15), (0.09, 0.9), (0.9, 0.09)])
def test_small_sources_still_get_each_split(images, expected, val, test, seed):
    assert set(split(NAMES[:images], val=val, test=test, seed=seed).values()) == expected


def test_a_share_of_nothing_is_nothing():
    assert set(split(NAMES, val=0.0).values()) == {"train", "test"}
    assert set(split(NAMES, test=0.0).values()) == {"train", "val"}


def test_every_takes_each_nth_name_in_sorted_order():
    found = split(NAMES[::-1], method="every", val=0.25, test=0.25)
    assert [n for n in NAMES if found[n] == "test"] == NAMES[3::4]
    rest = [n for n in NAMES if n not in NAMES[3::4]]
    assert [n for n in NAMES if found[n] == "val"] == rest[3::4]


def test_official_splits_are_honoured():
    official = ["train"] * 100 + ["val"] * 20
    assert list(split(NAMES, official, val=0.5, test=0.4).values()) == official
    official = ["train"] * 100 + ["val"] * 10 + ["test"] * 10
    assert list(split(NAMES, official, val=0.5, test=0.4).values()) == official


def test_val_is_taken_from_train_where_only_test_is_official():
    official = ["train"] * 100 + ["test"] * 20
    found = split(NAMES, official, val=0.1, test=0.4)
    assert list(found.values())[100:] == ["test"] * 20
    assert set(list(found.values())[:100]) == {"train", "val"}
    fewer = split(NAMES[3:], official[3:], val=0.1, test=0.4)
    assert fewer == {name: found[name] for name in NAMES[3:]}
    assert counts(split(NAMES, official, method="every", val=0.1)) == {"train": 90, "val": 10, "test": 20}


def test_only_train_is_divided_like_a_source_without_splits():
    assert split(NAMES, "train", val=0.15, test=0.25) == split(NAMES, None, val=0.15, test=0.25)


@pytest.mark.parametrize(
    ("names", "official", "method", "val", "test", "sentence"),
    [
        (NAMES[:3], None, "random", 0.0, 0.0, "neither a val nor a test split.*set data.splits.val"),
        (NAMES[:1], None, "random", 0.1, 0.1, "neither a val nor a test split.*add images"),
        (NAMES[:3], "val", "random", 0.1, 0.1, "none for train"),
        (NAMES[:3], None, "every", 0.09, 0.9, "none to train on"),
    ],
)
def test_what_cannot_be_split_is_said(names, official, method, val, test, sentence):
    with pytest.raises(DataError, match=sentence):
        split(names, official, method=method, val=val, test=test)
