"""The prepared data set: what `segline.data.store` and any COCO tool reads, written whole or not at all."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from factories import code
from PIL import Image
from pycocotools.coco import COCO
from pydantic import ValidationError

from segline import params, progress
from segline.data.check import Refused
from segline.data.convert.convert import convert_prepared
from segline.data.download import download
from segline.data.formats import catalog
from segline.data.formats.base import Record, SourceClass, SourceData
from segline.data.manifest import Manifest
from segline.data.prepare import _class_infos, _names, prepare, read_folder
from segline.data.sources import Folder, Shapes, Splits, locate, name_of, root_of
from segline.data.store import PreparedDataset
from segline.errors import DataError
from segline.plan.data import data_plans
from segline.provenance import file_digest
from segline_runtime.specification import ClassInfo, ImageKind

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT / ".." / "shared" / "data"
H, W = 12, 16


def save(file, array, **keys):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(file, **keys)


def source(root, count=6, folder="PNGImages"):
    """A tiny Penn-Fudan folder; images differ in size."""
    rng = np.random.default_rng(0)
    for i in range(count):
        height, width = H + i, W - i % 6
        save(root / folder / f"im{i}.png", rng.integers(0, 255, (height, width, 3)))
        mask = np.zeros((height, width))
        mask[1:5, 1:5], mask[3:8, 4:9] = 1, 2
        save(root / "PedMasks" / f"im{i}_mask.png", mask)
    return root


BOTH = ("index", "instances")


def folder(root, data_format="pennfudan", **keys):
    return catalog.get(data_format).Settings(source=str(root), **keys)


def run(root, target, data_format="pennfudan", *, only=None, method="every", val=0.3, test=0.3, **keys):
    settings = folder(root, data_format, **({"name": "tiny", "splits": Splits(method=method, val=val, test=test)} | keys))
    if only != "prepare":
        download(settings, root=root, seed=0, target=target / "raw")
    if only != "download":
        prepare(settings, raw=target / "raw", root=root, target=target / "prepared")
    return target / "prepared"


def leftovers(target):
    """Whatever lies in a folder beside data/raw."""
    return [f.name for f in target.iterdir() if f.name != "raw"] if target.exists() else []


def files(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


# what is written ----------------------------------------------------------------------------------------------------------------------------------------


def test_the_contract_of_the_store(tmp_path):
    root = source(tmp_path / "root")
    data = PreparedDataset(run(root, tmp_path / "out"))
    info = data.info
    assert info.counts == {"train": 3, "val": 1, "test": 2}
    assert info.instance_counts == {"train": 6, "val": 2, "test": 4}
    assert info.truths == ("index", "instances")
    assert [(c.id, c.name, c.thing) for c in info.classes] == [(0, "background", False), (1, "person", True)]
    assert info.classes[0].color == (0, 0, 0)
    assert (info.image, info.scored, info.version) == (ImageKind(), "test", 3)
    train = data.split("train", BOTH)
    pixels = np.concatenate([s.image.reshape(-1, 3) for s in train]) / 255
    assert np.allclose(info.mean, pixels.mean(axis=0), atol=1e-5) and np.allclose(info.std, pixels.std(axis=0), atol=1e-5)
    masks = [s.mask for s in train]
    heights, widths = zip(*(m.shape for m in masks), strict=True)
    assert info.image_size.min == (min(heights), min(widths)) and info.image_size.max == (max(heights), max(widths))
    assert info.image_size.median == (np.median(heights), np.median(widths))
    assert info.class_pixels == tuple(sum(int((m == c).sum()) for m in masks) for c in (0, 1))
    assert info.class_image_pixels == (sum(m.size for m in masks),) * 2
    for split in ("train", "val", "test"):
        stored = data.split(split, BOTH)
        for i, sample in enumerate(stored):
            assert sample.image.shape[:2] == sample.mask.shape
            assert (sample.instances.masks.any(axis=0) == (sample.mask == 1)).all()
            original = root / "PNGImages" / f"{sample.name}.png"
            assert stored.content(i) == original.read_bytes()


def test_pycocotools_reads_the_instances(tmp_path):
    prepared = run(source(tmp_path / "root"), tmp_path / "out")
    convert_prepared(prepared, "coco", tmp_path / "coco")
    coco = COCO(tmp_path / "coco" / "annotations" / "instances_train.json")
    train = PreparedDataset(prepared).split("train", BOTH)
    masks = {f"{sample.name}.png": sample.mask for sample in train}
    assert sorted(i["file_name"] for i in coco.imgs.values()) == train.names() == sorted(masks)
    assert coco.loadCats(coco.getCatIds()) == [{"id": 1, "name": "person"}]
    assert len(coco.anns) == 6
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation).astype(bool)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert annotation["bbox"] == [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        assert annotation["area"] == mask.sum()
        assert isinstance(annotation["segmentation"]["counts"], str)
        image = coco.imgs[annotation["image_id"]]
        truth = masks[image["file_name"]]
        assert (truth[mask] == annotation["category_id"]).all() and mask.shape == (image["height"], image["width"])


def test_the_same_source_gives_the_same_bytes_wherever_it_lies(tmp_path):
    first = files(run(source(tmp_path / "here"), tmp_path / "a"))
    assert first == files(run(source(tmp_path / "elsewhere" / "deeper"), tmp_path / "b"))
    here, there = (Manifest.read(tmp_path / name / "raw") for name in "ab")
    assert here.fingerprint == there.fingerprint and here.changed(tmp_path / "elsewhere" / "deeper") == []


def test_changed_truth_changes_the_hash_of_its_split_alone(tmp_path):
    root = source(tmp_path / "root")
    before = PreparedDataset(run(root, tmp_path / "a")).info
    mask = np.array(Image.open(root / "PedMasks" / "im2_mask.png"))  # the third name: test
    mask[0, 0] = 1
    save(root / "PedMasks" / "im2_mask.png", mask)
    after = PreparedDataset(run(root, tmp_path / "b")).info
    assert [split for split in before.split_hashes if before.split_hashes[split] != after.split_hashes[split]] == ["test"]
    assert before.fingerprint != after.fingerprint


def test_an_added_image_changes_the_files_of_its_split_alone(tmp_path):
    """DVC compares the folders of the splits: who reads another one has nothing to do again."""
    root = tmp_path / "root"
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        for i in range(count):
            save(root / split / f"{split}{i}.png", np.random.default_rng([count, i]).integers(0, 255, (H, W, 3)))
            save(root / f"{split}annot" / f"{split}{i}.png", np.arange(H * W).reshape(H, W) % 11)
    before = files(run(root, tmp_path / "a", "camvid"))
    save(root / "test" / "more.png", np.random.default_rng(9).integers(0, 255, (H, W, 3)))
    save(root / "testannot" / "more.png", np.arange(H * W).reshape(H, W) % 11)
    after = files(run(root, tmp_path / "b", "camvid"))
    changed = {name for name in before if before[name] != after[name]}
    of_test = {f"test/{name}" for name in ("split.json", "index-000.arrow", "images-000.arrow", "masks-000.arrow")}
    assert before.keys() == after.keys() and changed == {"dataset.json", "check.json"} | of_test


def test_other_file_types_become_png(tmp_path):
    root = source(tmp_path / "root", 4)
    rng = np.random.default_rng(1)
    grey, colour = rng.integers(0, 255, (H, W)), rng.integers(0, 255, (H + 1, W - 1, 3))
    (root / "PNGImages" / "im0.png").unlink()
    save(root / "PNGImages" / "im0.tif", grey)
    (root / "PNGImages" / "im1.png").unlink()
    save(root / "PNGImages" / "im1.BMP", colour)
    data = PreparedDataset(run(root, tmp_path / "out"))
    splits = [data.split(name, ()) for name in data.info.counts]
    assert {name for split in splits for name in split.names()} == {f"im{i}.png" for i in range(4)}
    images = {sample.name: sample.image for split in splits for sample in split}
    assert (images["im0"] == grey[..., None]).all() and (images["im1"] == colour).all()
    assert all(split.content(0).startswith(b"\x89PNG") for split in splits)


def test_names_stay_unique_across_folders():
    def names(*paths):
        return _names([Record(Path(p.split(":")[-1]), p.split(":")[0] or None, lambda _: None) for p in paths])

    assert names(":images/a.png", ":images/b.jpg") == ["a", "b"]
    assert names(":images/x/a.png", ":images/y/a.png") == ["x_a", "y_a"]
    assert names("train:train/a.png", "val:val/a.png") == ["a", "a"]
    assert names(":a.png", ":x/a.png") == ["a", "x_a"]
    for paths in ((":a.png", ":a.jpg"), (":x/y_z.png", ":x_y/z.png"), (":A.png", ":a.png"), (":x/b/a.png", ":x_b/a.png", ":c/a.png")):
        assert len({name.lower() for name in names(*paths)}) == len(paths)


def test_colours_of_many_classes_differ():
    classes = tuple(SourceClass(f"c{i}", True) for i in range(255))
    colours = [c.color for c in _class_infos(SourceData(classes, ("index",), (), "", ()))]
    assert len(set(colours)) == 255 and (0, 0, 0) not in colours
    assert _class_infos(SourceData((SourceClass("background", False), *classes[:3]), ("index",), (), "", ()))[0].color == (0, 0, 0)


def test_harmless_things_are_listed_and_told(tmp_path, capsys):
    root = source(tmp_path / "root")
    save(root / "PNGImages" / "alone.png", np.zeros((H, W, 3)))
    prepared = run(root, tmp_path / "out")
    check = json.loads((prepared / "check.json").read_text())
    assert check["refused"] == [{"file": "PNGImages/alone.png", "reason": "there is no mask PedMasks/alone_mask.png"}]
    assert check["accepted"]["images"] == {"train": 3, "val": 1, "test": 2}
    assert "alone.png: there is no mask" in capsys.readouterr().err
    assert Refused(**check["refused"][0]).file == "PNGImages/alone.png"


def test_long_work_tells_a_log_how_far_it_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "PAUSE_S", -1.0)
    run(source(tmp_path / "root"), tmp_path / "out")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("preparing")]
    assert [line.partition(",")[0] for line in lines] == [f"preparing images: {i} of 6" for i in range(1, 6)]


# mistakes -----------------------------------------------------------------------------------------------------------------------------------------------


def test_all_bad_files_are_told_together_and_nothing_is_written(tmp_path):
    root = source(tmp_path / "root")
    (root / "PNGImages" / "im0.png").write_bytes(b"no image at all")
    whole = (root / "PNGImages" / "im1.png").read_bytes()
    (root / "PNGImages" / "im1.png").write_bytes(whole[: len(whole) // 2])
    save(root / "PedMasks" / "im2_mask.png", np.zeros((3, 3)))
    Image.fromarray(np.zeros((H + 3, W - 3), dtype=np.uint16)).save(root / "PNGImages" / "im3.png")
    with pytest.raises(DataError) as caught:
        run(root, tmp_path / "out")
    sentences = caught.value.problems
    assert len(sentences) == 4
    for sentence, words in zip(
        sentences, ("im0.png cannot be decoded (it is no image)", "im1.png cannot be decoded", "im2_mask.png is 3x3", "8-bit"), strict=True
    ):
        assert words in sentence
    assert leftovers(tmp_path / "out") == []


def test_many_bad_files_are_counted(tmp_path):
    root = source(tmp_path / "root", 1)
    for i in range(30):
        (root / "PNGImages" / f"bad{i}.png").write_bytes(b"")
        save(root / "PedMasks" / f"bad{i}_mask.png", np.zeros((H, W)))
    with pytest.raises(DataError) as caught:
        run(root, tmp_path / "out")
    assert len(caught.value.problems) == 21 and "10 more" in caught.value.problems[-1]


def test_a_failing_stage_leaves_the_older_result_alone(tmp_path):
    root = source(tmp_path / "root")
    prepared = run(root, tmp_path / "out")
    before = files(prepared)
    (root / "PNGImages" / "im0.png").write_bytes(b"")
    with pytest.raises(DataError):
        run(root, tmp_path / "out")
    assert files(prepared) == before and leftovers(tmp_path / "out") == ["prepared"]


def test_a_missing_empty_or_unreadable_root(tmp_path):
    for root, words in ((tmp_path / "gone", "does not exist"), (tmp_path / "file", "is a file"), (tmp_path / "empty", "holds no images")):
        if root.name == "file":
            root.write_text("")
        if root.name == "empty":
            root.mkdir()
        with pytest.raises(DataError, match=words):
            run(root, tmp_path / "out", only="download")
    assert not (tmp_path / "out" / "raw").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_or_file_without_permission(tmp_path):
    root = source(tmp_path / "root")
    for path, words in ((root / "PNGImages" / "im0.png", "cannot be read"), (root, "Check its permissions")):
        mode = path.stat().st_mode
        path.chmod(0)
        with pytest.raises(DataError, match=words):
            run(root, tmp_path / "out", only="download")
        path.chmod(mode)


def test_a_folder_where_nothing_is_annotated(tmp_path):
    source(tmp_path / "root", 2)
    for mask in (tmp_path / "root" / "PedMasks").iterdir():
        mask.unlink()
    with pytest.raises(DataError, match=r"holds no annotated image .*im0\.png: there is no mask"):
        run(tmp_path / "root", tmp_path / "out")


def test_the_root_is_found_from_any_checkout(tmp_path, monkeypatch):
    main, copy = tmp_path / "main", tmp_path / "copy"
    (main / "data" / "mine").mkdir(parents=True)
    copy.mkdir()
    assert locate("mine", main, copy) == main / "data" / "mine"
    assert locate("mine", copy, main) == main / "data" / "mine"
    assert locate("../../copy", main) == copy
    assert locate(str(copy), main) == copy
    monkeypatch.setenv("HOME", str(main))
    assert locate("~/data/mine", copy) == main / "data" / "mine"
    with pytest.raises(DataError, match=r"data\.source: the folder 'nowhere' does not exist"):
        locate("nowhere", tmp_path)
    assert root_of(folder("mine"), main / "data" / "raw", main) == main / "data" / "mine"
    assert root_of(Shapes(), main / "data" / "raw", main) == main / "data" / "raw"


def test_the_name_of_a_data_set():
    assert name_of(Shapes()) == "shapes"
    assert name_of(Shapes(name="ramps")) == "ramps"
    assert name_of(folder("/x/My Photos-2")) == "my_photos_2"
    assert name_of(folder("own")) == "own"
    assert name_of(folder("own", name="mine")) == "mine"
    with pytest.raises(ValidationError, match="lower-case letters"):
        folder("own", name="My data")


def test_splits_leave_something_to_train_on():
    with pytest.raises(ValidationError, match="must stay below 1"):
        Splits(val=0.5, test=0.5)


def test_an_added_image_moves_no_other(tmp_path):
    """Also when it comes first by name, and when those that are there move to another folder."""
    root = source(tmp_path / "root", 24)
    before = PreparedDataset(run(root, tmp_path / "a", method="random"))
    save(root / "PNGImages" / "first.png", np.full((H, W, 3), 7))
    save(root / "PedMasks" / "first_mask.png", np.zeros((H, W)))
    for kind, end in (("PNGImages", ""), ("PedMasks", "_mask")):
        (root / kind / "more").mkdir()
        for i in range(8):
            (root / kind / f"im{i}{end}.png").rename(root / kind / "more" / f"im{i}{end}.png")
    after = PreparedDataset(run(root, tmp_path / "b", method="random"))
    for split in ("train", "val", "test"):
        old, new = (set(data.split(split, ()).hashes()) for data in (before, after))
        assert old and old <= new
    assert sum(after.info.counts.values()) == 25


def test_the_seed_of_the_line_draws_no_splits(tmp_path):
    prepare_plans = []
    for seed, splits in ((0, 0), (1, 0), (0, 1)):
        file = tmp_path / "params.yaml"
        data = f"{{source: {tmp_path}, format: coco, splits: {{seed: {splits}}}}}"
        file.write_text(f"seed: {seed}\ndata: {data}\nmodels: {{unet: {{arch: unet, encoder: resnet18, weights: none}}}}\n")
        download_plan, prepare_plan = data_plans(params.read(file), code())
        download_plan.write(tmp_path / "download.json")
        prepare_plan.write(tmp_path / "prepare.json")
        prepare_plans.append(((tmp_path / "download.json").read_text(), (tmp_path / "prepare.json").read_text()))
    (first, reseeded, redrawn) = prepare_plans
    assert first == reseeded
    assert first[0] == redrawn[0] and first[1] != redrawn[1]


# the manifest -------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda file: file.mkdir(), lambda file: file.symlink_to(file.name), Path.exists], ids=["folder", "loop", "gone"])
def test_what_is_no_file_when_it_is_hashed_gets_a_sentence(tmp_path, make):
    make(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png cannot be read \(.*\); put it right, or remove it"):
        Manifest.of("folder", "masks", tmp_path, [Path("a.png")])


def test_the_manifest_lists_what_is_read(tmp_path):
    root = source(tmp_path / "root", 2)
    (root / "notes.txt").write_text("not read")
    run(root, tmp_path / "out", only="download")
    manifest = Manifest.read(tmp_path / "out" / "raw")
    assert [file.path for file in manifest.files] == ["PNGImages/im0.png", "PNGImages/im1.png", "PedMasks/im0_mask.png", "PedMasks/im1_mask.png"]
    assert str(tmp_path) not in (tmp_path / "out" / "raw" / "manifest.json").read_text()
    assert os.listdir(tmp_path / "out" / "raw") == ["manifest.json"]  # noqa: PTH208
    (root / "notes.txt").write_text("still not read")
    run(root, tmp_path / "again", only="download")
    assert Manifest.read(tmp_path / "again" / "raw") == manifest


def test_a_folder_that_changed_after_download_is_refused(tmp_path):
    root = source(tmp_path / "root")
    run(root, tmp_path / "out", only="download")
    save(root / "PNGImages" / "im3.png", np.zeros((H + 3, W - 3, 3)))
    with pytest.raises(DataError, match=r"PNGImages/im3.png below .* changed since `download`"):
        run(root, tmp_path / "out", only="prepare")
    assert leftovers(tmp_path / "out") == []


@pytest.mark.parametrize("change", ["added", "removed", "same size"])
def test_any_change_after_download_is_noticed(tmp_path, change):
    root = source(tmp_path / "root")
    run(root, tmp_path / "out", only="download")
    image = root / "PNGImages" / "im3.png"
    if change == "added":
        save(root / "PNGImages" / "new.png", np.zeros((H, W, 3)))
        save(root / "PedMasks" / "new_mask.png", np.zeros((H, W)))
    elif change == "removed":
        image.unlink()
    else:
        content = bytearray(image.read_bytes())
        content[-20] ^= 1
        image.write_bytes(content)
    with pytest.raises(DataError, match="changed since `download`"):
        run(root, tmp_path / "out", only="prepare")


def test_the_source_is_hashed_once(tmp_path, monkeypatch):
    root = source(tmp_path / "root")
    run(root, tmp_path / "out", only="download")
    hashed = []
    monkeypatch.setattr("segline.data.manifest.file_digest", lambda file: hashed.append(file) or file_digest(file))
    run(root, tmp_path / "out", only="prepare")
    assert hashed == []
    # A copy has other times: then the content decides, and only of what has another time.
    touched = root / "PNGImages" / "im0.png"
    os.utime(touched, ns=(1, 1))
    run(root, tmp_path / "out", only="prepare")
    assert hashed == [touched]


def test_generated_data_is_the_same_every_time(tmp_path):
    settings = Shapes(train=3, val=2, test=2, size=(64, 64))
    for name in "ab":
        download(settings, root=tmp_path, seed=1, target=tmp_path / name / "raw")
        prepare(settings, raw=tmp_path / name / "raw", root=tmp_path / name / "raw", target=tmp_path / name / "prepared")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    info = PreparedDataset(tmp_path / "a" / "prepared").info
    assert info.name == "shapes" and info.counts == {"train": 3, "val": 2, "test": 2} and info.licence == "CC0"


def test_manifests_of_other_versions(tmp_path):
    root = source(tmp_path / "root", 4)
    run(root, tmp_path / "out", only="download")
    file = tmp_path / "out" / "raw" / "manifest.json"
    now = json.loads(file.read_text())
    assert now["version"] == 2
    first = {"dataset": "folder", "format": "pennfudan", "files": [[path, size, sha] for path, size, _, sha in now["files"]], "fingerprint": now["fingerprint"]}
    file.write_text(json.dumps(first, indent=1))
    run(root, tmp_path / "out", only="prepare")
    file.write_text(json.dumps(now | {"version": 3}))
    with pytest.raises(DataError, match=r"later Segline \(version 3, this one reads up to 2\)"):
        run(root, tmp_path / "out", only="prepare")


def test_prepare_without_or_with_a_broken_manifest(tmp_path):
    root = source(tmp_path / "root")
    with pytest.raises(DataError, match="run `dvc repro download`"):
        run(root, tmp_path / "out", only="prepare")
    (tmp_path / "out" / "raw").mkdir(parents=True)
    (tmp_path / "out" / "raw" / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="write it anew"):
        run(root, tmp_path / "out", only="prepare")


# the disk -----------------------------------------------------------------------------------------------------------------------------------------------

PREPARE = """
import sys
from pathlib import Path
from segline.data.formats.pennfudan import Settings
from segline.data.prepare import prepare
from segline.errors import told_in_sentences
raw, root, target = map(Path, sys.argv[1:])
with told_in_sentences():
    prepare(Settings(source=str(root)), raw=raw, root=root, target=target)
"""


def test_a_write_that_is_cut_off_leaves_nothing(tmp_path):
    """The process may write files of 200 bytes at most; the images are larger."""
    root = source(tmp_path / "root")
    run(root, tmp_path / "out", only="download")
    arguments = [sys.executable, "-c", PREPARE, tmp_path / "out" / "raw", root, tmp_path / "out" / "prepared"]

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))

    done = subprocess.run(arguments, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert done.returncode == 2 and "may not grow any larger" in done.stderr
    assert leftovers(tmp_path / "out") == []


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path):
    """A file system of 40 kB in a mount namespace of its own."""
    root = source(tmp_path / "root", 30)
    run(root, tmp_path / "out", only="download")
    small = tmp_path / "small"
    small.mkdir()
    probe = (
        subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", small], capture_output=True, check=False)
        if Path("/usr/bin/unshare").exists()
        else None
    )
    if probe is None or probe.returncode:
        pytest.skip("this machine lets no test mount a small file system")
    script = 'mount -t tmpfs -o size=40k none "$1" && "$2" -c "$3" "$4" "$5" "$1/prepared"; code=$?; ls -A "$1"; exit $code'
    values = [small, sys.executable, PREPARE, tmp_path / "out" / "raw", root]
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script, "sh", *values], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "error: the disk is full" in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


# scoring a folder ---------------------------------------------------------------------------------------------------------------------------------------

MODEL = (ClassInfo(0, "background", (0, 0, 0), False), ClassInfo(1, "dog", (1, 1, 1), True), ClassInfo(2, "person", (2, 2, 2), True))


def scored(root, target, classes=MODEL, *, image=None, **keys):
    return read_folder(folder(root, **keys), root, target / "prepared", model_classes=classes, image=image)


def test_a_folder_is_read_with_the_classes_of_a_model(tmp_path):
    data = scored(source(tmp_path / "root"), tmp_path)
    assert data.info.classes == MODEL and data.info.counts == {"test": 6} and data.info.scored == "test"
    for sample in data.split("test", BOTH):
        assert set(sample.instances.labels) == {2} and set(np.unique(sample.mask)) == {0, 2}


def test_a_folder_is_read_with_the_kind_of_images_of_a_model(tmp_path):
    root = source(tmp_path / "root", 2)
    kind = ImageKind(channels=1)
    data = scored(root, tmp_path, image=kind)
    assert data.info.image == kind
    for sample in data.split("test", ()):
        assert (sample.image[..., 0] == np.asarray(Image.open(root / "PNGImages" / f"{sample.name}.png").convert("L"))).all()
    assert scored(root, tmp_path, image=kind, images="rgb").info.image == ImageKind()


def test_names_of_a_format_that_the_model_does_not_share_are_taken_from_the_model(tmp_path):
    classes = (MODEL[0], ClassInfo(1, "cell", (1, 1, 1), True))
    data = scored(source(tmp_path / "root"), tmp_path, classes)
    assert data.info.classes == classes and data.info.instance_counts == {"test": 12}


def test_classes_that_a_model_does_not_know(tmp_path):
    root = source(tmp_path / "root", 2)
    with pytest.raises(DataError, match="no name in common"):
        read_folder(folder(root, classes=["ground", "cell"]), root, tmp_path / "prepared", model_classes=MODEL)
    with pytest.raises(DataError, match=r"im0\.png shows the class 'background', which the model does not know"):
        scored(root, tmp_path, (ClassInfo(0, "person", (1, 1, 1), True),))
    with pytest.raises(DataError, match="no format 'vok'; the formats are "):
        read_folder(Folder(source=str(root), format="vok"), root, tmp_path / "prepared", model_classes=MODEL)
    assert not (tmp_path / "prepared").exists()


# real data ----------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data_format", "folder", "counts"),
    [("pennfudan", "PennFudanPed", {"train": 78, "val": 12, "test": 30}), ("coco", "coco_tiny", {"train": 80, "val": 80})],
)
def test_real_data(tmp_path, data_format, folder, counts):
    root = SHARED / folder
    if not root.is_dir():
        pytest.skip(f"the real data {folder} is not beside the checkout")
    data = PreparedDataset(run(root.resolve(), tmp_path, data_format, val=0.15, test=0.25))
    assert data.info.counts == counts
    scored = data.split(data.info.scored, BOTH)
    if data_format == "pennfudan":
        names = sorted(f.stem for f in (root / "PNGImages").iterdir())
        assert [Path(name).stem for name in scored.names()] == names[3::4]
    else:
        original = COCO(root / "annotations" / "instances_val2017.json")
        ids = {category["name"]: category["id"] for category in original.cats.values()}
        for sample in list(scored)[:20]:
            theirs = original.imgToAnns[int(sample.name)]
            kept = [a for a in theirs if original.annToMask(a).any()]
            assert len(sample.instances.labels) == len(kept)
            assert [ids[data.info.classes[label].name] for label in sample.instances.labels] == [a["category_id"] for a in kept]
            for mask, annotation in zip(sample.instances.masks, kept, strict=True):
                assert (mask == original.annToMask(annotation).astype(bool)).all()
