"""Images that show the same, across splits: found, told with both pictures, kept together, or dropped from what is learnt from."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from segline.data.download import download
from segline.data.formats import catalog
from segline.data.leaks import collisions, search
from segline.data.leaks import gathered as gathered_prints
from segline.data.leaks.across import leaks
from segline.data.leaks.fingerprint import fingerprint, placed
from segline.data.leaks.gathered import Gathered
from segline.data.leaks.known import leaked_images
from segline.data.leaks.search import alike, together
from segline.data.leaks.verify import relation
from segline.data.prepare import check, prepare
from segline.data.shapes import scene
from segline.data.sources import Splits
from segline.data.store import PreparedDataset
from segline.errors import DataError
from segline.inspection.write import write_page

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
NUMBER = 24


def photograph(number, size=(120, 160)):
    """A picture of its own: what is generated, over another light."""
    height, width = size
    light = cv2.resize(np.random.default_rng(number).uniform(0, 255, (3, 4, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(0.7 * scene(size, (7, number)).image + 0.3 * light, 0, 255).astype(np.uint8)


def jpeg(image, quality=40):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


CHANGES = {
    "stored anew": (lambda image: jpeg(image), "copy"),
    "resized": (lambda image: cv2.resize(image, (100, 75), interpolation=cv2.INTER_AREA), "copy"),
    "brightened": (lambda image: np.clip(image.astype(int) + 40, 0, 255).astype(np.uint8), "copy"),
    "grey": (lambda image: np.asarray(Image.fromarray(image).convert("L").convert("RGB")), "copy"),
    "mirrored": (lambda image: image[:, ::-1], "turned"),
    "on its side": (lambda image: np.rot90(image), "turned"),
    "cropped": (lambda image: image[12:110, 15:150], "scene"),
    "mirrored and cropped": (lambda image: image[10:112, 12:150][:, ::-1], "scene"),
}


def pairs_of(prints, apart=None, processes=1):
    """Of fingerprints by their numbers."""
    names = [str(i) for i in range(len(prints))]
    gathered = Gathered((name, one) for name, one in zip(names, prints, strict=True) if one is not None)
    return [(pair.first, pair.second) for pair in alike(gathered, names, apart, told=False, processes=processes)]


@pytest.fixture(scope="module")
def originals():
    return [fingerprint(photograph(i)) for i in range(NUMBER)]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_pictures_are_known_again(change, originals):
    make, how = CHANGES[change]
    again = fingerprint(np.ascontiguousarray(make(photograph(3))))
    assert relation(originals[3], again) == relation(again, originals[3]) == how
    assert not [i for i, other in enumerate(originals) if i != 3 and relation(other, again)]


def test_the_search_finds_them_among_others(originals):
    changed = [fingerprint(np.ascontiguousarray(make(photograph(i)))) for i, (make, _) in enumerate(CHANGES.values())]
    found = pairs_of([*originals, None, *changed])
    assert found == [(i, NUMBER + 1 + i) for i in range(len(CHANGES))]
    sides = ["train"] * (NUMBER + 1) + ["test"] * len(CHANGES)
    assert pairs_of([*originals, None, *changed], sides) == found
    assert pairs_of([*originals, *changed], ["train"] * (NUMBER + len(CHANGES))) == []
    assert pairs_of([]) == pairs_of([None, None]) == pairs_of(originals[:1]) == []


@pytest.mark.parametrize("at_once", [2**16, 64])
def test_a_long_row_of_one_scene_stays_linear(originals, at_once, monkeypatch):
    """Each of many alike images is compared with a bounded number of others, and all of them are found to belong together; also where votes are let go of."""
    monkeypatch.setattr(search, "_AT_ONCE", at_once)
    same = [originals[0]] * 200
    pairs = pairs_of(same)
    assert len(pairs) <= 200 * 2 * 12 and set(together(200, pairs)) == {0}


def test_the_search_finds_what_comparing_all_pairs_finds(monkeypatch):
    """Copies, parts and mirrored ones among more photographs than each is compared with; of which some are flat, or have no corners."""
    some = [photograph(i) for i in range(30)]
    changed = [make(photograph(i)) for i, (make, _) in enumerate(list(CHANGES.values()) * 2)]
    odd = [np.zeros((40, 50, 3), np.uint8), cv2.resize(some[0][:4, :4], (64, 48))]
    prints = [fingerprint(np.ascontiguousarray(image)) for image in (*some, *changed, *odd)]
    every = [(i, k) for i in range(len(prints)) for k in range(i + 1, len(prints)) if relation(prints[i], prints[k]) is not None]
    assert len(every) >= len(changed)
    assert pairs_of(prints) == pairs_of(prints, processes=2) == every
    sides = ["val" if i % 3 else "train" for i in range(len(prints))]
    assert pairs_of(prints, sides) == [(i, k) for i, k in every if sides[i] != sides[k]]
    # As among many: corners that could not coincide have no votes, and keys are ordered part by part.
    monkeypatch.setattr(search, "_FEW", 0)
    monkeypatch.setattr(collisions, "_AT_ONCE", 500)
    assert pairs_of(prints) == every


@pytest.mark.parametrize("waiting", [2**22, 5000], ids=["held", "in files"])
def test_gathered_fingerprints_are_given_back(originals, waiting, monkeypatch):
    """Also those without hashes and corners, and those added after others were read."""
    monkeypatch.setattr(gathered_prints, "_WAITING_BYTES", waiting)
    flat = fingerprint(np.zeros((40, 50, 3), np.uint8))
    prints = [originals[0], flat, originals[1], fingerprint(photograph(90, (300, 20)))]
    gathered = Gathered()
    for number, one in enumerate(prints):
        gathered.add(f"{number}", one)
        for name, before in zip(gathered, prints, strict=False):
            again = gathered[name]
            assert len(again.hashes) == len(before.hashes) and relation(again, before) == relation(before, before)
            for given, kept in ((again.corners, before.corners), (again.mirrored, before.mirrored)):
                assert np.array_equal(given.bits, kept.bits) and np.array_equal(given.positions, kept.positions)
            assert np.array_equal(again.hashes, before.hashes) and np.array_equal(again.picture, before.picture)
    gathered.add("0", flat)
    assert gathered.places(["2", "none", "0"]).tolist() == [2, -1, 0] and len(gathered) == 4 and len(gathered["0"].hashes)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((40, 50, 3), np.uint8),
        np.full((1, 1, 1), 9, np.uint8),
        np.full((30, 20, 5), np.nan, np.float32),
        np.zeros((3000, 2, 1), np.uint16),
        np.random.default_rng(0).normal(size=(50, 60, 7)).astype(np.float32),
        np.full((9, 9, 1), np.inf, np.float32),
        np.random.default_rng(0).uniform(-3e38, 3e38, (40, 30, 4)).astype(np.float32),
    ],
    ids=["black", "a pixel", "not a number", "a line", "seven channels", "infinite", "huge"],
)
def test_odd_pictures_are_like_no_other(pixels, originals):
    one = fingerprint(pixels)
    assert relation(one, originals[0]) is None
    if not np.isfinite(pixels).all() or not pixels.any():
        assert relation(one, one) is None and len(one.hashes) == 0


def test_hashes_are_those_of_the_placed_pictures():
    """The eight hashes of an image are the upright hashes of the image in its eight ways."""
    image = photograph(5, (128, 128))
    ways = fingerprint(image).hashes
    assert len(set(ways.tolist())) == 8
    for way, turned in zip(ways, placed(image[:, :, 0]), strict=True):
        alone = fingerprint(np.repeat(np.ascontiguousarray(turned)[:, :, None], 3, axis=2)).hashes[0]
        plain = fingerprint(np.repeat(image[:, :, :1], 3, axis=2)).hashes
        assert int(np.bitwise_count(alone ^ plain[list(ways).index(way)])) <= 2


def test_fingerprints_that_find_no_room_are_a_sentence(originals, monkeypatch, tmp_path):
    monkeypatch.setattr(gathered_prints, "_WAITING_BYTES", 5000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"cannot be written to .*gone \(No such file or directory\); make room there.*TMPDIR"):
        Gathered((str(i), originals[i]) for i in range(8))


def test_what_belongs_together_over_others():
    assert together(6, [(4, 1), (1, 5), (2, 3)]) == [0, 1, 2, 2, 1, 1]


def test_the_worse_leak_is_told(originals):
    names = ["a.png", "b.png", "c.png", "d.png"]
    prints = Gathered(zip(names, [originals[0], fingerprint(jpeg(photograph(0))), originals[0], originals[1]], strict=True))
    [steered, scored] = leaks(names, ["train", "val", "test", "test"], prints, {"a.png": "0", "b.png": "1", "c.png": "0", "d.png": "3"}, told=False)
    assert (steered.file, steered.other, steered.relation, steered.others) == ("b.png", "a.png", "copy", 0)
    assert (scored.file, scored.other, scored.relation, scored.others) == ("c.png", "a.png", "identical", 1)


# through the line ---------------------------------------------------------------------------------------------------------------------------------------


def make_source(root, leaks=4, splits=("train", "val")):
    """An index-mask folder with two splits; the first `leaks` of the second are changed training images."""
    kinds = [CHANGES[name][0] for name in ("stored anew", "mirrored", "cropped", "brightened")]
    for split, first in zip(splits, (0, 100), strict=True):
        for folder in ("images", "masks"):
            (root / folder / split).mkdir(parents=True)
        for i in range(10):
            image = photograph(first + i) if split == splits[0] or i >= leaks else kinds[i % 4](photograph(i))
            mask = np.zeros(image.shape[:2], np.uint8)
            mask[5:30, 5 : 20 + i] = 1
            Image.fromarray(np.ascontiguousarray(image)).save(root / "images" / split / f"{split}{i}.png")
            Image.fromarray(mask).save(root / "masks" / split / f"{split}{i}.png")
    return root


def settings_of(root, **keys):
    return catalog.get("masks").Settings(source=str(root), format="masks", classes=["ground", "box"], name="tiny", **keys)


def run(root, target, **keys):
    settings = settings_of(root, **keys)
    download(settings, root=root, seed=0, target=target / "raw")
    prepare(settings, raw=target / "raw", root=root, target=target / "prepared", processes=1)
    checked = json.loads((target / "prepared" / "check.json").read_text())
    counts = json.loads((target / "prepared" / "dataset.json").read_text())["counts"]
    return checked, counts, json.loads((target / "prepared" / "leaks.json").read_text())


def test_prepare_reports_and_the_page_shows_both_pictures(tmp_path, capsys):
    root = make_source(tmp_path / "root")
    checked, counts, leaked = run(root, tmp_path)
    told = [one for one in checked["findings"] if one["kind"] == "near_in_splits"]
    assert [one["place"] for one in told] == ["copy", "turned", "scene", "copy"]
    assert told[0]["sentence"] == "images/val/val0.png in val is the picture of images/train/train0.png in train."
    assert counts == {"train": 10, "val": 10}, "nothing is removed unasked"
    assert leaked["images"] == {"val": ["val0", "val1", "val2", "val3"]}
    assert leaked_images(tmp_path / "prepared", "val") == {"val0", "val1", "val2", "val3"}
    assert leaked_images(tmp_path / "prepared", "test") == leaked_images(tmp_path, "val") == frozenset()
    assert "val0.png in val is the picture of" in capsys.readouterr().err
    survey = check(settings_of(root), root, processes=1)
    assert survey.findings.counts["near_in_splits"] == 4
    write_page(survey, tmp_path / "check.html")
    section = (tmp_path / "check.html").read_text().split("Images of one scene in several splits")[1].split("</section>")[0]
    captions = [f"images/{file}.png</figcaption>" for i in range(3) for file in (f"val/val{i}", f"train/train{i}")]
    assert [section.index(caption) for caption in captions] == sorted(section.index(caption) for caption in captions), "each beside its like"


def test_drop_leaves_them_out_of_train_and_never_what_is_scored(tmp_path):
    checked, counts, leaked = run(make_source(tmp_path / "root"), tmp_path, on_leak="drop")
    assert counts == {"train": 6, "val": 10} and leaked["images"] == {} and "near_in_splits" not in checked["found"]
    dropped = [one["file"] for one in checked["findings"] if one["kind"] == "dropped"]
    assert dropped == [f"images/train/train{i}.png" for i in range(4)]
    names = [sample.name for split in ("train", "val") for sample in PreparedDataset(tmp_path / "prepared").split(split, ["index"])]
    assert names == [*(f"train{i}" for i in range(4, 10)), *(f"val{i}" for i in range(10))]


def test_drop_that_would_leave_nothing_is_refused(tmp_path):
    root = make_source(tmp_path / "root", leaks=10)
    with pytest.raises(DataError, match=r"on_leak: drop leaves train without images.*Set data\.on_leak to report or group"):
        run(root, tmp_path, on_leak="drop")


def test_official_splits_are_not_drawn_anew(tmp_path):
    root = make_source(tmp_path / "root")
    with pytest.raises(DataError, match=r"has splits of its own \(train, val\).*official to false"):
        run(root, tmp_path, on_leak="group")
    checked, _, leaked = run(root, tmp_path, on_leak="group", splits=Splits(official=False))
    assert leaked["images"] == {} and "near_in_splits" not in checked["found"]


@pytest.mark.parametrize("seed", range(3))
def test_auto_keeps_together_what_shows_the_same(tmp_path, seed):
    """Also where a split is drawn again; images that are like no other are drawn as without groups."""
    root = make_source(tmp_path / "root", splits=("a", "b"))
    grouped = check(settings_of(root, splits=Splits(group="auto", seed=seed, val=0.3, test=0.3)), root, processes=1)
    plain = check(settings_of(root, splits=Splits(seed=seed, val=0.3, test=0.3)), root, processes=1)
    split = {Path(seen.file).stem: seen.split for seen in grouped.images}
    before = {Path(seen.file).stem: seen.split for seen in plain.images}
    assert all(split[f"a{i}"] == split[f"b{i}"] for i in range(4)) and not grouped.leaks
    assert {name: split[name] for name in split if name[0] == "a"} == {name: before[name] for name in before if name[0] == "a"}, "first by name: they stay"
    assert {f"b{i}": split[f"b{i}"] for i in range(4, 10)} == {f"b{i}": before[f"b{i}"] for i in range(4, 10)}


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"on_leak": "group", "splits": {"group": "folder"}}, "on_leak: group is splits.group: auto, and splits.group is 'folder'"),
        ({"on_leak": "group", "splits": {"method": "every"}}, r"on_leak: group needs `splits.method: random`"),
        ({"splits": {"method": "every", "group": "auto"}}, "group needs `method: random`"),
        ({"on_leak": "remove"}, "report"),
    ],
)
def test_settings_that_do_not_go_together(tmp_path, keys, sentence):
    with pytest.raises(ValidationError, match=sentence):
        settings_of(tmp_path, **keys)


@pytest.mark.skipif(not (SHARED / "camvid").is_dir(), reason="shared/data/camvid is not here")
def test_frames_of_a_drive_are_known_and_other_drives_are_not():
    files = sorted((SHARED / "camvid" / "train").glob("*.jpg"))
    some = [file for drive in ("0001TP", "0006R0", "0016E5") for file in [f for f in files if f.name.startswith(drive)][10:18]]
    pairs = pairs_of([fingerprint(np.asarray(Image.open(file))) for file in some])
    assert {(some[one].name[:6], some[other].name[:6]) for one, other in pairs} == {(drive, drive) for drive in ("0001TP", "0006R0", "0016E5")}
    following = [(i, i + 1) for i in range(len(some) - 1) if some[i].name[:6] == some[i + 1].name[:6]]
    assert np.mean([pair in pairs for pair in following]) >= 0.8
