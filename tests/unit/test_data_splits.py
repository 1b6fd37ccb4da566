"""Splits: official ones honoured, else drawn from each image's content, so that what is added moves nothing."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from segline.data.sources import Splits
from segline.data.splits import _place, assign
from segline.errors import DataError

NAMES = [f"{i:03d}" for i in range(120)]
MANY = [f"{i:05d}" for i in range(4000)]


def split(names, official=None, contents=None, root=None, present=None, **settings):
    """{name: split}; an image's content is hashed from its name, where `contents` says nothing else. `present`: classes by name."""
    hashes = {name: hashlib.sha256(name.encode()).hexdigest() for name in names} | (contents or {})
    found = assign(
        [Path(name) for name in names],
        [official] * len(names) if isinstance(official, str | None) else official,
        hashes,
        Splits(**settings),
        root=root,
        present=lambda: present,
    )
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


@pytest.mark.parametrize("only", ["train", "val", "test"])
def test_one_split_alone_is_divided_like_a_source_without_splits(only):
    assert split(NAMES, only, val=0.15, test=0.25) == split(NAMES, None, val=0.15, test=0.25)


@pytest.mark.parametrize(
    ("names", "official", "method", "val", "test", "sentence"),
    [
        (NAMES[:3], None, "random", 0.0, 0.0, "neither a val nor a test split.*set data.splits.val"),
        (NAMES[:1], None, "random", 0.1, 0.1, "neither a val nor a test split.*add images"),
        (NAMES[:3], ["val", "val", "test"], "random", 0.1, 0.1, "none for train"),
        (NAMES[:3], None, "every", 0.09, 0.9, "none to train on"),
    ],
)
def test_what_cannot_be_split_is_said(names, official, method, val, test, sentence):
    with pytest.raises(DataError, match=sentence):
        split(names, official, method=method, val=val, test=test)


# stratified, grouped, in folds --------------------------------------------------------------------------------------------------------------------------


def rare(names, *showing):
    """Class 0 in every image, class i + 1 in those of `showing[i]`."""
    return {name: frozenset({0} | {i + 1 for i, shown in enumerate(showing) if name in shown}) for name in names}


@pytest.mark.parametrize("seed", range(6))
def test_stratified_splits_lack_no_class_that_several_images_show(seed):
    present = rare(NAMES, NAMES[10:13], NAMES[50:54], NAMES[:60], NAMES[70:71], NAMES[80:82])
    drawn, plain = split(NAMES, seed=seed, stratify=True, present=present), split(NAMES, seed=seed)
    shown = {word: set().union(*(present[name] for name in NAMES if drawn[name] == word)) for word in ("train", "val", "test")}
    assert all({0, 1, 2, 3} <= classes for classes in shown.values())
    assert {4, 5} <= shown["train"], "what one image shows is learnt"
    assert 5 in shown["test"], "of two images one is scored"
    moved = [name for name in NAMES if drawn[name] != plain[name]]
    assert len(moved) <= 9 and all(present[name] - {0, 3} for name in moved), "none but those that stand in for a rare class"
    assert split(NAMES[::-1], seed=seed, stratify=True, present=present) == drawn


@pytest.mark.parametrize("seed", range(4))
def test_added_images_move_none_of_a_stratified_split_whose_classes_are_everywhere(seed):
    present = rare(MANY, MANY[::3], MANY[::40])
    few = MANY[:2000]
    assert split(few, seed=seed, stratify=True, present=present) == split(few, seed=seed)
    after = split(MANY, seed=seed, stratify=True, present=present)
    assert {name: after[name] for name in few} == split(few, seed=seed)


PATIENTS = [f"patient{i // 6:02d}_slice{i % 6}" for i in range(240)]


@pytest.mark.parametrize("kind", ["expression", "folder", "file", "column"])
def test_groups_stay_together(kind, tmp_path):
    names = [name.replace("_", "/") + ".png" if kind == "folder" else f"images/{name}.png" for name in PATIENTS]
    (tmp_path / "g.csv").write_text("hospital,image,group\n" + "".join(f"{i % 2},{name},{name[:9]}\n" for i, name in enumerate(PATIENTS)))
    group = {"expression": r"(patient\d+)_", "folder": "folder", "file": "g.csv", "column": "g.csv:group"}[kind]
    found = split(names, group=group, val=0.2, test=0.2, root=tmp_path)
    for i in range(0, 240, 6):
        assert len({found[name] for name in names[i : i + 6]}) == 1
    assert set(found.values()) == {"train", "val", "test"}
    fewer = split(names[60:], group=group, val=0.2, test=0.2, root=tmp_path)
    assert fewer == {name: found[name] for name in names[60:]}, "added groups move no other"


@pytest.mark.parametrize(
    ("group", "content", "sentence"),
    [
        (r"(x+)y", "", "gives no group to 240 of 240 images"),
        ("none.csv", "", "has no file 'none.csv'.*columns image and group"),
        ("../g.csv", "", "lies outside the folder"),
        ("g.csv", "image\na\n", "needs a first line that names its columns"),
        ("g.csv", "", "needs a first line"),
        ("g.csv:ward", "image,group\na,b\n", "a column 'ward'; it has image, group"),
        ("g.csv", "image,group\npatient00_slice0,a\npatient00_slice0,b\nc\n", "line 3, puts 'patient00_slice0' into a second group"),
        ("g.csv", "image,group\npatient00_slice0,a\n", "gives no group to 239 of 240 images"),
        ("folder", "", r"data.splits.group finds 1\)"),
    ],
)
def test_groups_that_are_none(group, content, sentence, tmp_path):
    (tmp_path / "g.csv").write_text(content)
    with pytest.raises(DataError, match=sentence):
        split(PATIENTS, group=group, root=tmp_path)


@pytest.mark.parametrize("folds", [2, 5])
def test_each_image_is_tested_in_one_fold(folds):
    parts = [split(MANY, folds=folds, fold=i, val=0.2) for i in range(folds)]
    assert all(sum(part[name] == "test" for part in parts) == 1 for name in MANY)
    for part in parts:
        assert counts(part)["test"] == pytest.approx(4000 / folds, rel=0.1)
        assert counts(part)["val"] == pytest.approx(0.2 * 4000 * (1 - 1 / folds), rel=0.15)
        few = split(MANY[:3000], folds=folds, fold=parts.index(part), val=0.2)
        assert few == {name: part[name] for name in MANY[:3000]}, "added images move no other"
    grouped = [split(PATIENTS, folds=folds, fold=i, group=r"(patient\d+)_") for i in range(folds)]
    assert all(len({part[name] for name in PATIENTS[:6]}) == 1 for part in grouped)


def test_official_splits_and_folds():
    official = ["train"] * 100 + ["val"] * 20
    with pytest.raises(DataError, match=r"splits of its own \(train, val\); set data.splits.official to false"):
        split(NAMES, official, folds=3)
    hashes = {name: hashlib.sha256(name.encode()).hexdigest() for name in NAMES}
    found = assign([Path(name) for name in NAMES], official, hashes, Splits(official=False))
    assert found == list(split(NAMES).values()), "set aside, they are as if they were not there"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"method": "every", "stratify": True}, "stratify needs `method: random`"),
        ({"method": "every", "group": "folder"}, "group needs `method: random`"),
        ({"folds": 3, "fold": 3}, "the 3 folds are counted from 0 to 2"),
        ({"folds": 3, "stratify": True}, "remove one of the two"),
        ({"group": "(a"}, "is no regular expression"),
        ({"group": "abc"}, "has no bracket"),
    ],
)
def test_settings_that_exclude_each_other(settings, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Splits(**settings)


def test_a_fold_that_holds_nothing_is_said():
    empty = next(fold for fold in range(50) if all(int(_place(hashlib.sha256(name.encode()).hexdigest(), 0) * 50) != fold for name in NAMES[:3]))
    with pytest.raises(DataError, match=f"Fold {empty} of 50 holds none of 3 images"):
        split(NAMES[:3], folds=50, fold=empty, val=0.0)
