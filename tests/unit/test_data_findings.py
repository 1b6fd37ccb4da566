"""What is wrong with a source is found, with kind, file and sentence: by `segline check` and by `prepare` alike."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from layout_sources import H, W, known, make_cityscapes, picture, save, save_palette, square, write
from PIL import Image

from segline.data import writer
from segline.data.download import download
from segline.data.findings import KINDS, MOST_KEPT, Finding, Findings
from segline.data.formats import catalog
from segline.data.parallel import in_order
from segline.data.polygons import faults
from segline.data.prepare import check, prepare
from segline.data.sources import Splits
from segline.data.store import PreparedDataset
from segline.errors import DataError


def camvid(root, count=12, classes=("sky", "road", "car")):
    """Three classes in each of `count` images, which differ."""
    for split, number in (("train", count - 2), ("val", 2)):
        for i in range(number):
            picture(root / split / f"{split}{i}.png")
            save(root / f"{split}annot" / f"{split}{i}.png", known(0, 1, 2, 1))
    return root, {"classes": list(classes)}


def settings(root, word="camvid", **keys):
    return catalog.get(word).Settings(source=str(root), name="tiny", splits=Splits(val=0.3, test=0.3), **keys)


def found(root, word="camvid", **keys):
    survey = check(settings(root, word, **keys), root)
    return survey, {kind: survey.findings.of(kind) for kind in survey.findings.counts}


def prepared(root, target, word="camvid", processes=None, **keys):
    chosen = settings(root, word, **keys)
    download(chosen, root=root, seed=0, target=target / "raw")
    seen = []
    prepare(chosen, raw=target / "raw", root=root, target=target / "prepared", processes=processes, shown=seen.append)
    return json.loads((target / "prepared" / "check.json").read_text()), seen[0]


# what is found ------------------------------------------------------------------------------------------------------------------------------------------


def test_nothing_is_found_where_nothing_is_wrong(tmp_path):
    root, keys = camvid(tmp_path)
    survey, kinds = found(root, **keys)
    assert kinds == {} and len(survey.images) == survey.total == 12 and survey.counts() == {"train": 10, "val": 2}
    assert survey.class_images()[:3].tolist() == [12, 12, 12] and survey.class_pixels("val")[2] == 2 * 6


def break_nothing(root): ...


def break_image(root):
    (root / "train" / "train3.png").write_bytes((root / "train" / "train3.png").read_bytes()[:90])


def break_size(root):
    save(root / "trainannot" / "train3.png", np.zeros((H + 1, W)))


def break_labels(root):
    save(root / "trainannot" / "train3.png", known(0, 1, 77, 1))


def break_colours(root):
    save(root / "trainannot" / "train3.png", np.zeros((H, W, 3)))


def break_kind(root):
    Image.fromarray(np.zeros((H, W), dtype=np.uint16)).save(root / "train" / "train3.png")


def ignore_one(root):
    save(root / "trainannot" / "train3.png", np.full((H, W), 9))


def copy_across(root):
    (root / "val" / "val0.png").write_bytes((root / "train" / "train3.png").read_bytes())


def copy_within(root):
    (root / "train" / "train4.png").write_bytes((root / "train" / "train3.png").read_bytes())


def forget_mask(root):
    (root / "trainannot" / "train3.png").unlink()


def drop_class(root):
    for file in (root / "valannot").iterdir():
        save(file, known(0, 1, 1, 1))


def mix_palettes(root):
    for i, file in enumerate(sorted((root / "trainannot").iterdir())):
        colours = [(0, 0, 0), (255, 0, 0), (0, 255, 0)]
        save_palette(file, known(0, 1, 2, 1), colours if i else [(0, 0, 0), (0, 255, 0), (255, 0, 0)])


@pytest.mark.parametrize(
    ("damage", "kind", "words"),
    [
        (break_image, "unreadable", "train/train3.png cannot be decoded"),
        (break_size, "size", "trainannot/train3.png is 8x7 pixels"),
        (break_labels, "labels", "unknown label value 77"),
        (break_colours, "colours", "is a colour image"),
        (break_kind, "image_kind", "all images must be of one kind"),
        (ignore_one, "nothing_to_learn", "Every pixel of the mask of train/train3.png is ignored"),
        (copy_across, "same_in_splits", "val/val0.png in val, is byte for byte train/train3.png"),
        (copy_within, "same_twice", "train/train3.png, train/train4.png are one image"),
        (forget_mask, "left_out", "train/train3.png: there is no mask"),
        (drop_class, "class_not_in_split", "The split val lacks 1 class that others have: car"),
        (mix_palettes, "palette", "The index 1 is #ff0000 in 9 masks, and #00ff00 in 1 (trainannot/train0.png)"),
    ],
)
def test_each_mistake_is_found_by_both(tmp_path, damage, kind, words):
    """Errors stop `prepare` with the same sentence, all else is listed in check.json; `check` raises nothing."""
    root, keys = camvid(tmp_path / "root")
    damage(root)
    _, kinds = found(root, ignore=[9], **keys)
    assert set(kinds) == {kind}
    assert words in kinds[kind][0].sentence and KINDS[kind].remedy
    if KINDS[kind].severity == "error":
        with pytest.raises(DataError) as caught:
            prepared(root, tmp_path / "out", ignore=[9], **keys)
        assert list(caught.value.problems) == [finding.sentence for finding in kinds[kind]]
        assert not (tmp_path / "out" / "prepared").exists()
    else:
        listed, _ = prepared(root, tmp_path / "out", ignore=[9], **keys)
        assert listed["found"] == {kind: len(kinds[kind])}
        assert listed["findings"][0] == kinds[kind][0].to_dict() and listed["findings"][0]["remedy"]


def test_a_class_that_never_occurs(tmp_path):
    root, keys = camvid(tmp_path, classes=("sky", "road", "car", "bus", "tram"))
    _, kinds = found(root, **keys)
    assert [f.sentence for f in kinds["class_never"]] == ["2 classes never occur: bus, tram."]


def test_truth_that_teaches_nothing(tmp_path):
    root, keys = camvid(tmp_path / "a")
    for file in root.rglob("*annot/*.png"):
        save(file, known(0, 0, 255, 0))
    _, kinds = found(root, ignore=[255], **keys)
    assert "show nothing but 'sky'" in kinds["occurrence"][0].sentence and kinds["occurrence"][0].severity == "error"


def test_the_place_of_an_unknown_label(tmp_path):
    root, keys = camvid(tmp_path)
    break_labels(root)
    _, kinds = found(root, **keys)
    assert kinds["labels"][0].place == "x 2, y 1"


def test_images_are_converted_by_stated_rules(tmp_path):
    root, keys = camvid(tmp_path)
    odd = [("1", "RGBA", {}), ("2", "L", {}), ("3", "CMYK", {}), ("4", "P", {}), ("5", "LA", {})]
    for number, mode, _ in odd:
        file = root / "train" / f"train{number}.png"
        if mode == "CMYK":
            file.unlink()
            file = file.with_suffix(".jpg")
        Image.new("RGB", (W, H), (9, 9, int(number))).convert(mode).save(file)
    exif = Image.Exif()
    exif[274] = 3
    (root / "train" / "train6.png").unlink()
    Image.new("RGB", (W, H)).save(root / "train" / "train6.jpg", exif=exif)
    survey, kinds = found(root, orientation="stored", **keys)
    assert dict(survey.converted) == {
        "grey, whose channel is repeated to RGB": 2, "in CMYK, which become RGB": 1, "turned as viewers turn them (EXIF orientation)": 1,
        "with a palette, whose colours are looked up": 1, "with transparency, which is dropped": 2,
    }  # fmt: skip
    assert {f.sentence for f in kinds["turned"]} == {"1 image turned as viewers turn them (EXIF orientation)."} and len(kinds["converted"]) == 4


def test_images_without_objects_are_kept_and_counted(tmp_path):
    for name in ("a", "b", "c", "d"):
        picture(tmp_path / "PNGImages" / f"{name}.png")
        save(tmp_path / "PedMasks" / f"{name}_mask.png", known(0, 0, 0 if name in "bc" else 1, 0))
    survey, kinds = found(tmp_path, "pennfudan")
    assert kinds["empty"][0].sentence == "2 images show no object; kept: PNGImages/b.png, PNGImages/c.png." and len(survey.images) == 4


def test_a_layout_that_is_not_there_is_a_finding(tmp_path):
    picture(tmp_path / "x" / "y.png")
    survey, kinds = found(tmp_path, "cityscapes")
    assert "not in the cityscapes layout" in kinds["structure"][0].sentence and survey.images == [] and survey.findings.number("error") == 1


def test_many_findings_of_a_kind_are_counted():
    findings = Findings()
    findings.add(Finding("polygon", "a", str(i)) for i in range(MOST_KEPT + 5))
    assert findings.counts["polygon"] == MOST_KEPT + 5 == findings.number("warning") and len(list(findings)) == MOST_KEPT
    assert findings.errors() == []


# outlines -----------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "fault"),
    [
        ([(1, 1), (5, 1), (5, 4), (1, 4)], None),
        ([(1, 1), (5, 1), (5, 4), (1, 4), (1, 1)], None),  # closed
        ([(1, 1), (5, 1), (3, 1), (3, 4)], None),  # runs back along itself: touches, and does not cross
        ([(0, 0), (8, 0), (8, 6), (0, 6)], None),  # the far edges
        ([], "it has 0 different points"),
        ([(1, 1), (5, 1)], "it has 2 different points"),
        ([(1, 1), (1, 1), (5, 1), (5, 1)], "it has 2 different points"),
        ([(1, 1), (3, 3), (5, 5)], "it encloses no area"),
        ([(1, 1), (5, 4), (5, 1), (1, 4)], "it crosses itself near x 3, y 2"),
        ([(1, 1), (50, 1), (5, 4)], "it reaches beyond the image (8x6), to x 1 … 50 of 8, y 1 … 4 of 6"),
        ([(11, 1), (15, 1), (15, 4)], "it lies outside of the image (8x6)"),
    ],
)
def test_outlines_that_nobody_meant(points, fault):
    told = faults(np.array(points, dtype=np.float64).reshape(-1, 2), (6, 8))
    assert told == [] if fault is None else told and told[0].startswith(fault)


def test_crossings_are_those_of_pairs_of_edges():
    """Against each pair of edges by itself."""

    def side(a, b, c):
        return np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    random = np.random.default_rng(0)
    both = set()
    for _ in range(300):
        points = random.uniform(0, 100, (int(random.integers(3, 7)), 2))
        count = len(points)
        crosses = False
        for i in range(count):
            for k in range(i + 1, count):
                a, b, c, d = points[i], points[(i + 1) % count], points[k], points[(k + 1) % count]
                crosses |= bool(side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0)
        assert any("crosses" in fault for fault in faults(points, (100, 100))) == crosses
        both.add(crosses)
    assert both == {True, False}


def test_outlines_of_cityscapes_are_told_with_their_object(tmp_path):
    make_cityscapes(tmp_path, masks=False)
    file = sorted(tmp_path.rglob("*_polygons.json"))[0]
    content = json.loads(file.read_text())
    content["objects"] += [{"label": "car", "polygon": [[1, 3], [5, 4], [5, 3], [1, 4]]}, {"label": "sky", "polygon": square(0, 4, 90, 2)}]
    write(file, content)
    _, kinds = found(tmp_path, "cityscapes")
    told = {f.place.split(" (")[0]: f.sentence for f in kinds["polygon"] if f.file.endswith("aachen_000000_000019_gtFine_polygons.json")}
    assert told["object 10"].endswith("(car): it crosses itself near x 3, y 3.5.") and "(sky): it reaches beyond the image" in told["object 11"]
    assert "object 1" not in told and "object 9" not in told, "what is right or deleted is not told"


# skipping -----------------------------------------------------------------------------------------------------------------------------------------------


def test_images_with_errors_are_skipped_where_that_is_asked_for(tmp_path, capsys):
    root, keys = camvid(tmp_path / "root", 24)
    break_image(root)
    (root / "trainannot" / "train7.png").write_bytes(b"")
    listed, survey = prepared(root, tmp_path / "out", on_error="skip", most_skipped=0.1, **keys)
    assert listed["skipped"] == ["train/train3.png", "train/train7.png"] == survey.skipped and listed["found"] == {"skipped": 2}
    assert "cannot be decoded" in listed["findings"][0]["sentence"]
    data = PreparedDataset(tmp_path / "out" / "prepared")
    assert data.info.counts == {"train": 20, "val": 2} and "train3" not in {s.name for s in data.split("train", ("index",))}
    assert "warning: train/train3.png cannot be decoded" in capsys.readouterr().err


def test_too_many_skipped_images_stop_prepare(tmp_path):
    root, keys = camvid(tmp_path / "root", 24)
    break_image(root)
    break_labels(root)
    (root / "trainannot" / "train7.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 of 24 images have errors, and data.most_skipped lets 5 % be left out.*train3.png cannot be decoded"):
        prepared(root, tmp_path / "out", on_error="skip", **keys)
    assert not (tmp_path / "out" / "prepared").exists()


def test_what_was_seen_is_shown_before_prepare_stops(tmp_path):
    root, keys = camvid(tmp_path / "root")
    break_image(root)
    chosen, seen = settings(root, **keys), []
    download(chosen, root=root, seed=0, target=tmp_path / "raw")
    with pytest.raises(DataError):
        prepare(chosen, raw=tmp_path / "raw", root=root, target=tmp_path / "prepared", shown=seen.append)
    assert seen[0].findings.number("error") == 1 and seen[0].look(seen[0].numbers["train/train2.png"]).pixels.shape == (H, W, 3)


# several processes --------------------------------------------------------------------------------------------------------------------------------------


def files(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("word", ["camvid", "cityscapes"])
def test_any_number_of_processes_writes_the_same_bytes(tmp_path, word):
    if word == "camvid":
        root, keys = camvid(tmp_path / "root", 40)
    else:
        root, keys = make_cityscapes(tmp_path / "root"), {}
    for processes in (1, 2, 3):
        prepared(root, tmp_path / str(processes), word, processes, **keys)
    one, two, three = (files(tmp_path / str(n) / "prepared") for n in (1, 2, 3))
    assert one == two == three and len(one) > 8


def test_large_images_go_from_one_process_to_another_in_files(tmp_path, monkeypatch):
    """What waits between processes would else be held in memory as a whole."""
    root, keys = camvid(tmp_path / "root", 40)
    prepared(root, tmp_path / "1", processes=1, **keys)
    monkeypatch.setattr(writer, "_CARRIED_BYTES", 100)
    taken = []
    original = writer._taken
    monkeypatch.setattr(writer, "_taken", lambda content: taken.append(isinstance(content, Path)) or original(content))
    prepared(root, tmp_path / "2", processes=2, **keys)
    assert any(taken) and files(tmp_path / "1" / "prepared") == files(tmp_path / "2" / "prepared")
    wanted = ["check.json", "dataset.json", "extents.json", "leaks.json", "test", "train", "val"]
    assert sorted(file.name for file in (tmp_path / "2" / "prepared").iterdir()) == wanted


def test_deep_images_have_the_same_statistics_by_any_number_of_processes(tmp_path):
    root, keys = camvid(tmp_path / "root", 24)
    random = np.random.default_rng(0)
    for file in [*(root / "train").iterdir(), *(root / "val").iterdir()]:
        Image.fromarray(random.integers(0, 65535, (H, W)).astype(np.uint16)).save(file)
    for processes in (1, 2):
        prepared(root, tmp_path / str(processes), processes=processes, **keys)
    assert files(tmp_path / "1" / "prepared") == files(tmp_path / "2" / "prepared")


def test_errors_are_the_same_by_any_number_of_processes(tmp_path):
    root, keys = camvid(tmp_path / "root", 40)
    break_labels(root)
    break_kind(root)
    (root / "train" / "train0.png").write_bytes(b"")  # the first, which would decide the kind of images
    told = []
    for processes in (1, 2):
        with pytest.raises(DataError) as caught:
            prepared(root, tmp_path / "out", processes=processes, **keys)
        told.append(caught.value.problems)
    assert told[0] == told[1] and len(told[0]) == 2


def test_results_come_in_order_and_bugs_as_they_are():
    for processes in (1, 2):
        with in_order(lambda i: i * i, range(100), processes) as results:
            assert list(results) == [i * i for i in range(100)]
    with in_order(lambda i: i, range(1000), 2) as results:
        assert next(results) == 0, "who leaves early waits for no other"

    def work(i):
        return 1 // (i - 50)

    with pytest.raises(ZeroDivisionError), in_order(work, range(100), 2) as results:
        list(results)


def test_a_process_that_is_killed_is_a_sentence():
    def work(i):
        if i == 30:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    with pytest.raises(DataError, match="was killed, most likely because memory ran short"), in_order(work, range(60), 2) as results:
        list(results)


ORPHANS = """
import os, sys, time
from segline.data.parallel import in_order

def work(i):
    os.write(1, f'{os.getpid()}\\n'.encode())  # at once: two processes write
    time.sleep(0.2)
    return i

with in_order(work, range(1000), 2) as results:
    list(results)
"""


def test_no_process_outlives_the_one_that_started_it():
    with subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True) as started:
        children = {int(started.stdout.readline()) for _ in range(6)}
        started.kill()
    ending = time.monotonic() + 20
    while time.monotonic() < ending and any(Path(f"/proc/{child}").exists() for child in children):
        time.sleep(0.05)
    assert not [child for child in children if Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]]
