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
from PIL import Image
from pycocotools.coco import COCO

from segline.data.check import Refused
from segline.data.download import Manifest, download, locate
from segline.data.formats.base import Record, SourceClass, SourceData
from segline.data.prepare import _class_infos, _names, prepare, read_folder
from segline.data.store import PreparedDataset
from segline.errors import DataError
from segline_runtime.specification import ClassInfo

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


def run(root, target, data_format="pennfudan", *, only=None, **keys):
    if only != "prepare":
        download(dataset="folder", root=root, data_format=data_format, counts={}, size=(32, 32), seed=0, target=target / "raw")
    if only != "download":
        values = {"name": "tiny", "classes": None, "ignore": None, "method": "every", "val": 0.3, "test": 0.3, "seed": 0} | keys
        prepare(raw=target / "raw", root=root, target=target / "prepared", **values)
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
    assert (info.axes, info.channels, info.dtype, info.scored) == ("HWC", 3, "uint8", "test")
    train = data.split("train")
    pixels = np.concatenate([s.image.reshape(-1, 3) for s in train]) / 255
    assert np.allclose(info.mean, pixels.mean(axis=0), atol=1e-5) and np.allclose(info.std, pixels.std(axis=0), atol=1e-5)
    masks = [s.mask for s in train]
    assert info.class_pixels == tuple(sum(int((m == c).sum()) for m in masks) for c in (0, 1))
    assert info.class_image_pixels == (sum(m.size for m in masks),) * 2
    for split in ("train", "val", "test"):
        for sample in data.split(split):
            assert sample.image.shape[:2] == sample.mask.shape
            assert (sample.instances.masks.any(axis=0) == (sample.mask == 1)).all()
            original = root / "PNGImages" / f"{sample.name}.png"
            assert (data.folder / split / "images" / f"{sample.name}.png").read_bytes() == original.read_bytes()


def test_pycocotools_reads_the_instances(tmp_path):
    prepared = run(source(tmp_path / "root"), tmp_path / "out")
    coco = COCO(prepared / "train" / "instances.json")
    assert sorted(i["file_name"] for i in coco.imgs.values()) == sorted(f.name for f in (prepared / "train" / "images").iterdir())
    assert coco.loadCats(coco.getCatIds()) == [{"id": 1, "name": "person"}]
    assert len(coco.anns) == 6
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation).astype(bool)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert annotation["bbox"] == [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        assert annotation["area"] == mask.sum()
        assert isinstance(annotation["segmentation"]["counts"], str)
        image = coco.imgs[annotation["image_id"]]
        truth = np.asarray(Image.open(prepared / "train" / "masks" / image["file_name"]))
        assert (truth[mask] == annotation["category_id"]).all() and mask.shape == (image["height"], image["width"])


def test_the_same_source_gives_the_same_bytes_wherever_it_lies(tmp_path):
    first = files(run(source(tmp_path / "here"), tmp_path / "a").parent)
    assert first == files(run(source(tmp_path / "elsewhere" / "deeper"), tmp_path / "b").parent)


def test_changed_truth_changes_the_hash_of_its_split_alone(tmp_path):
    root = source(tmp_path / "root")
    before = PreparedDataset(run(root, tmp_path / "a")).info
    mask = np.array(Image.open(root / "PedMasks" / "im2_mask.png"))  # the third name: test
    mask[0, 0] = 1
    save(root / "PedMasks" / "im2_mask.png", mask)
    after = PreparedDataset(run(root, tmp_path / "b")).info
    assert [split for split in before.split_hashes if before.split_hashes[split] != after.split_hashes[split]] == ["test"]
    assert before.fingerprint != after.fingerprint


def test_other_file_types_become_png(tmp_path):
    root = source(tmp_path / "root", 4)
    rng = np.random.default_rng(1)
    grey, colour = rng.integers(0, 255, (H, W)), rng.integers(0, 255, (H + 1, W - 1, 3))
    (root / "PNGImages" / "im0.png").unlink()
    save(root / "PNGImages" / "im0.tif", grey)
    (root / "PNGImages" / "im1.png").unlink()
    save(root / "PNGImages" / "im1.BMP", colour)
    prepared = run(root, tmp_path / "out")
    images = {f.name: f for f in prepared.rglob("images/*")}
    assert set(images) == {f"im{i}.png" for i in range(4)}
    assert (np.asarray(Image.open(images["im0.png"])) == grey[..., None]).all()
    assert (np.asarray(Image.open(images["im1.png"])) == colour).all()


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
    colours = [c.color for c in _class_infos(SourceData(classes, ("index",), (), ""))]
    assert len(set(colours)) == 255 and (0, 0, 0) not in colours
    assert _class_infos(SourceData((SourceClass("background", False), *classes[:3]), ("index",), (), ""))[0].color == (0, 0, 0)


def test_harmless_things_are_listed_and_told(tmp_path, capsys):
    root = source(tmp_path / "root")
    save(root / "PNGImages" / "alone.png", np.zeros((H, W, 3)))
    prepared = run(root, tmp_path / "out")
    check = json.loads((prepared / "check.json").read_text())
    assert check["refused"] == [{"file": "PNGImages/alone.png", "reason": "there is no mask PedMasks/alone_mask.png"}]
    assert check["accepted"]["images"] == {"train": 3, "val": 1, "test": 2}
    assert "alone.png: there is no mask" in capsys.readouterr().err
    assert Refused(**check["refused"][0]).file == "PNGImages/alone.png"


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


def test_a_turned_photograph_is_recognised(tmp_path):
    root = source(tmp_path / "root", 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    (root / "PNGImages" / "im0.png").unlink()
    save(root / "PNGImages" / "im0.jpg", np.zeros((W, H, 3)), exif=exif)
    with pytest.raises(DataError, match="EXIF orientation"):
        run(root, tmp_path / "out")


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
    (tmp_path / "main" / "mine").mkdir(parents=True)
    (tmp_path / "copy").mkdir()
    assert locate("mine", tmp_path / "main", tmp_path / "copy") == tmp_path / "main" / "mine"
    assert locate("mine", tmp_path / "copy", tmp_path / "main") == tmp_path / "main" / "mine"
    assert locate(str(tmp_path / "copy"), tmp_path / "main") == tmp_path / "copy"
    monkeypatch.setenv("HOME", str(tmp_path / "main"))
    assert locate("~/mine", tmp_path / "copy") == tmp_path / "main" / "mine"
    with pytest.raises(DataError, match="'nowhere' does not exist"):
        locate("nowhere", tmp_path)


# the manifest -------------------------------------------------------------------------------------------------------------------------------------------


def test_the_manifest_lists_what_is_read(tmp_path):
    root = source(tmp_path / "root", 2)
    (root / "notes.txt").write_text("not read")
    run(root, tmp_path / "out", only="download")
    manifest = Manifest.read(tmp_path / "out" / "raw")
    assert [path for path, _, _ in manifest.files] == ["PNGImages/im0.png", "PNGImages/im1.png", "PedMasks/im0_mask.png", "PedMasks/im1_mask.png"]
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
from segline.data.prepare import prepare
from segline.errors import told_in_sentences
raw, root, target = map(Path, sys.argv[1:])
with told_in_sentences():
    prepare(raw=raw, root=root, name="tiny", classes=None, ignore=None, method="every", val=0.3, test=0.3, seed=0, target=target)
"""


def test_a_write_that_is_cut_off_leaves_nothing(tmp_path):
    """The process may write files of 200 bytes at most; the images are larger."""
    root = source(tmp_path / "root")
    run(root, tmp_path / "out", only="download")
    arguments = [sys.executable, "-c", PREPARE, tmp_path / "out" / "raw", root, tmp_path / "out" / "prepared"]

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))

    done = subprocess.run(arguments, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert done.returncode != 0 and "File too large" in done.stderr
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


def test_a_folder_is_read_with_the_classes_of_a_model(tmp_path):
    data = read_folder(source(tmp_path / "root"), "pennfudan", tmp_path / "prepared", model_classes=MODEL)
    assert data.info.classes == MODEL and data.info.counts == {"test": 6} and data.info.scored == "test"
    for sample in data.split("test"):
        assert set(sample.instances.labels) == {2} and set(np.unique(sample.mask)) == {0, 2}


def test_names_of_a_format_that_the_model_does_not_share_are_taken_from_the_model(tmp_path):
    classes = (MODEL[0], ClassInfo(1, "cell", (1, 1, 1), True))
    data = read_folder(source(tmp_path / "root"), "pennfudan", tmp_path / "prepared", model_classes=classes)
    assert data.info.classes == classes and data.info.instance_counts == {"test": 12}


def test_classes_that_a_model_does_not_know(tmp_path):
    root = source(tmp_path / "root", 2)
    with pytest.raises(DataError, match="no name in common"):
        read_folder(root, "pennfudan", tmp_path / "prepared", model_classes=MODEL, classes=["ground", "cell"])
    with pytest.raises(DataError, match=r"im0\.png shows the class 'background', which the model does not know"):
        read_folder(root, "pennfudan", tmp_path / "prepared", model_classes=(ClassInfo(0, "person", (1, 1, 1), True),))
    with pytest.raises(DataError, match="no format 'voc'; the formats are camvid"):
        read_folder(root, "voc", tmp_path / "prepared", model_classes=MODEL)
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
    scored = data.split(data.info.scored)
    if data_format == "pennfudan":
        names = sorted(f.stem for f in (root / "PNGImages").iterdir())
        assert sorted(f.stem for f in scored.files) == names[3::4]
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
