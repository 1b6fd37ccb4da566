"""The store: what was asked for is read, and nothing else; files of older Seglines are read, those of later ones refused."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import pickle
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from segline.data import packs, store
from segline.data.contents import Contents
from segline.data.convert.convert import convert_prepared
from segline.data.download import download
from segline.data.formats.base import SourceObject
from segline.data.formats.coco import Settings
from segline.data.images import png
from segline.data.masks import encode_mask
from segline.data.prepare import prepare
from segline.data.sources import Shapes
from segline.data.store import DatasetInfo, EncodedMasks, ImageSizes, Instances, PreparedDataset, Split, content_hash
from segline.data.writer import SplitWriter, Storing
from segline.errors import DataError
from segline_runtime.specification import ImageKind

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "v1"
BOTH = ("index", "instances")


def make(folder, settings=None, root=None, seed=0):
    """Prepared data below `folder`; of the shapes, where no other source is named."""
    settings = settings or Shapes(train=4, val=2, test=3, size=(48, 64))
    root = root or folder / "raw"
    download(settings, root=root, seed=seed, target=folder / "raw")
    prepare(settings, raw=folder / "raw", root=root, target=folder / "prepared")
    return PreparedDataset(folder / "prepared")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return make(tmp_path_factory.mktemp("shapes"))


# what is asked for --------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mapped(monkeypatch):
    """Names of the files that are mapped from here on."""
    names: list[str] = []
    original = pa.memory_map
    monkeypatch.setattr(packs.pa, "memory_map", lambda file: names.append(Path(file).name) or original(file))
    return names


@pytest.mark.parametrize("truths", [(), ("index",), ("instances",), ("boxes",), BOTH])
def test_a_split_opens_the_truth_that_is_asked_for_and_no_other(shapes, mapped, monkeypatch, truths):
    decoded = []
    original = rle.decode
    monkeypatch.setattr(store.rle, "decode", lambda one: decoded.append(one) or original(one))
    split = shapes.split("train", truths)
    for sample in [*split, *split]:
        assert (sample.mask is not None, sample.instances is not None) == ("index" in truths, len(truths) > 0 and truths != ("index",))
    kinds = ["images", "index"] + ["masks"] * (sample.mask is not None) + ["objects"] * (sample.instances is not None)
    assert sorted(mapped) == [f"{kind}-000.arrow" for kind in kinds], "each once"
    assert decoded == []


def test_what_is_not_there_cannot_be_asked_for(shapes):
    with pytest.raises(DataError, match="has no holdout split; it has train, val, test"):
        shapes.split("holdout", ())
    lacking = PreparedDataset(shapes.folder)
    lacking.info = DatasetInfo.from_dict(json.loads((shapes.folder / "dataset.json").read_text()) | {"truths": ["index"]})
    with pytest.raises(DataError, match=r"has no object masks \(instance truth\); it has class masks"):
        lacking.split("train", ("instances",))
    with pytest.raises(DataError, match=r"The model 'm' learns from object boxes .* has only class masks"):
        lacking.require("boxes", "m")
    shapes.require("boxes", "m")
    assert shapes.info.has("boxes") and len(shapes.split("train", ("boxes",))[0].instances.boxes)


# objects ------------------------------------------------------------------------------------------------------------------------------------------------


def test_each_image_has_its_objects(shapes, tmp_path):
    """As COCO's own reader finds them in what is written for other tools."""
    convert_prepared(shapes.folder, "coco", tmp_path / "coco")
    for name in ("train", "val", "test"):
        coco = COCO(tmp_path / "coco" / "annotations" / f"instances_{name}.json")
        split = shapes.split(name, BOTH)
        assert [sample.image_id for sample in split] == list(range(1, len(split) + 1))
        for sample in split:
            theirs = coco.loadAnns(coco.getAnnIds(sample.image_id))
            assert coco.imgs[sample.image_id]["file_name"] == f"{sample.name}.png"
            assert [a["category_id"] for a in theirs] == sample.instances.labels.tolist()
            assert [a["bbox"] for a in theirs] == [[x, y, right - x, bottom - y] for x, y, right, bottom in sample.instances.boxes.tolist()]
            assert [a["area"] for a in theirs] == sample.instances.areas.tolist()
            for i, annotation in enumerate(theirs):
                assert (sample.instances.mask(i) == coco.annToMask(annotation)).all()
        assert len(coco.anns) == sum(len(sample.instances) for sample in split)


def test_object_masks_are_decoded_one_by_one_and_on_demand(shapes, monkeypatch):
    decoded = []
    original = rle.decode
    monkeypatch.setattr(store.rle, "decode", lambda one: decoded.append(one) or original(one))
    found = next(sample.instances for sample in shapes.split("train", ("instances",)) if len(sample.instances) > 1)
    assert found.outlined and decoded == []
    assert len(found.rles()) == len(found) and decoded == []
    one = found.mask(1)
    assert len(decoded) == 1 and one.dtype == np.bool_ and one.shape == (48, 64)
    assert found.masks.shape == (len(found), 48, 64) and (found.masks[1] == one).all()
    assert len(decoded) == 1 + len(found)
    assert found.masks is found.masks, "decoded once"


def test_instances_of_arrays_have_the_same_face():
    masks = np.zeros((2, 5, 6), dtype=np.bool_)
    masks[0, 1:3, 1:4] = masks[1, 2:] = True
    boxes, labels, crowd = np.zeros((2, 4), np.float32), np.array([1, 2]), np.zeros(2, np.bool_)
    plain = Instances(masks, boxes, labels, crowd)
    encoded = Instances(EncodedMasks(plain.rles(), (5, 6)), boxes, labels, crowd)
    assert len(plain) == 2 and (encoded.mask(0) == masks[0]).all() and (encoded.masks == masks).all()
    assert encoded.rles() != [] and Instances(None, boxes, labels, crowd).outlined is False
    assert EncodedMasks((), (5, 6)).stacked().shape == (0, 5, 6)
    assert len(EncodedMasks(plain.rles(), (5, 6))[1:]) == 1


# parts, copies, processes -------------------------------------------------------------------------------------------------------------------------------


def test_parts_of_a_split(shapes):
    split = shapes.split("train", BOTH)
    part = split.part([3, 1]).part([1])
    assert len(part) == 1 and part[0].name == split[1].name == "000001"
    assert part[0].image_id == 2 and part.names() == [split.names()[1]] == ["000001.png"] and part.hashes() == [split.hashes()[1]]
    assert content_hash(part.content(0)) == part.hashes()[0]


def seen_by(split, wanted, results):
    """In another process: what it sees, whose files it mapped, and its own memory in MB."""
    found = [(sample.name, int(sample.image.sum()), int(sample.mask.sum()), int(sample.instances.masks.sum())) for sample in split]
    results.put(found == wanted)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_read_a_split_that_is_open_already(shapes, method):
    split = shapes.split("train", BOTH)
    wanted = [(sample.name, int(sample.image.sum()), int(sample.mask.sum()), int(sample.instances.masks.sum())) for sample in split]
    context = multiprocessing.get_context(method)
    results = context.Queue()
    processes = [context.Process(target=seen_by, args=(split, wanted, results)) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads that a fork leaves behind
        for process in processes:
            process.start()
    assert [results.get(timeout=60) for _ in processes] == [True, True]
    for process in processes:
        process.join()
    assert len(pickle.dumps(split)) < 1000, "no content travels"


# many files ---------------------------------------------------------------------------------------------------------------------------------------------


def test_large_data_becomes_several_files_of_several_batches(tmp_path, monkeypatch):
    """Each file ends at a size that grows, and an image's objects are never torn apart."""
    monkeypatch.setattr(packs, "_BATCH_BYTES", 300)
    monkeypatch.setattr(packs, "_FILE_BYTES", 3000)
    monkeypatch.setattr(packs, "_DOUBLED_EVERY", 2)
    random = np.random.default_rng(0)
    writer = SplitWriter(tmp_path / "train", BOTH)
    expected = []
    for i in range(60):
        pixels = random.integers(0, 255, (9, 11, 3), dtype=np.uint8)
        objects = [SourceObject(k % 3, random.random((9, 11)) < 0.5, crowd=k == 4) for k in range(int(random.integers(0, 8)))]
        mask = random.integers(0, 3, (9, 11), dtype=np.uint8)
        writer.add(f"{i:03}", ".png", png(pixels), (9, 11), mask, objects)
        expected.append((pixels, mask, objects))
    writer.finish()
    files = {kind: sorted((tmp_path / "train").glob(f"{kind}-*.arrow")) for kind in packs.KINDS}
    assert all(len(found) > 1 for found in files.values()) and len(files["images"]) > 4
    sizes = [file.stat().st_size for file in files["images"]]
    assert max(sizes[:2]) < 3600 < max(sizes[2:4]) < 6600
    split = Split(tmp_path / "train", BOTH)
    assert len(split) == 60 and split.names() == [f"{i:03}.png" for i in range(60)]
    for i in random.permutation(60).tolist():
        pixels, mask, objects = expected[i]
        sample = split[i]
        assert (sample.image == pixels).all() and (sample.mask == mask).all() and content_hash(split.content(i)) == split.hashes()[i]
        found = sample.instances
        assert found.labels.tolist() == [one.label for one in objects] and found.crowd.tolist() == [one.crowd for one in objects]
        assert all((found.mask(k) == one.mask).all() for k, one in enumerate(objects))
        assert found.areas.tolist() == [one.mask.sum() for one in objects]


def test_no_data_set_makes_many_files(tmp_path, monkeypatch):
    """A terabyte of images, scaled down: a gigabyte is a kilobyte here, and a batch a 64th of that."""
    monkeypatch.setattr(packs, "_BATCH_BYTES", 16)
    monkeypatch.setattr(packs, "_FILE_BYTES", 2**10)
    writer = packs.PackWriter(tmp_path, "images")
    for _ in range(2**20 // 2**13):
        writer.add([(bytes(2**13),)])
    assert len(writer.finish()) < 60


# split.json ---------------------------------------------------------------------------------------------------------------------------------------------


def annotated(root, splits, boxes_only=False):
    """A COCO source of 12x16 images, each with one object: {split: number of images}."""
    from PIL import Image

    for split, count in splits.items():
        (root / split).mkdir(parents=True)
        images, annotations = [], []
        for i in range(1, count + 1):
            pixels = np.full((12, 16, 3), 10 * i + len(split), dtype=np.uint8)
            Image.fromarray(pixels).save(root / split / f"{i}.png")
            images.append({"id": i, "file_name": f"{i}.png"})
            annotations.append({"id": i, "image_id": i, "category_id": 5, "bbox": [2, 3, 4, 5]})
            if not boxes_only:
                annotations[-1]["segmentation"] = [[2, 3, 6, 3, 6, 8, 2, 8]]
        content = {"images": images, "annotations": annotations, "categories": [{"id": 5, "name": "cell"}]}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def test_every_split_has_its_list_also_an_empty_one(tmp_path):
    root = annotated(tmp_path / "root", {"train": 3, "val": 2})
    data = make(tmp_path, Settings(source=str(root)), root)
    assert data.info.counts == {"train": 3, "val": 2} and data.info.split_hashes.keys() == {"train", "val"}
    for name, count in (("train", 3), ("val", 2), ("test", 0)):
        folder = data.folder / name
        listed = json.loads((folder / "split.json").read_text())
        assert listed["version"] == 2 and listed["count"] == count == len(Split(folder, BOTH))
        assert listed["hash"] == data.info.split_hashes.get(name, hashlib.sha256().hexdigest())
        rows = {kind: sum(file["rows"] for file in files) for kind, files in listed["files"].items()}
        assert rows == dict.fromkeys(("index", "images", "masks", "objects"), count)
        assert {file.name for file in folder.iterdir()} == {"split.json", *(one["name"] for files in listed["files"].values() for one in files)}
    train = data.split("train", ())
    assert train.hashes() == [hashlib.sha256(train.content(i)).hexdigest()[:16] for i in range(3)]
    with pytest.raises(DataError, match="no test split; it has train, val"):
        data.split("test", ())


def test_boxes_without_masks(tmp_path):
    root = annotated(tmp_path / "root", {"train": 3, "val": 2}, boxes_only=True)
    data = make(tmp_path, Settings(source=str(root)), root)
    assert data.info.truths == ("boxes",) and data.info.instance_counts == {"train": 3, "val": 2}
    assert data.info.class_pixels == (0, 0) and not list((data.folder / "train").glob("masks*"))
    convert_prepared(data.folder, "coco", tmp_path / "coco")
    content = json.loads((tmp_path / "coco" / "annotations" / "instances_train.json").read_text())
    assert content["annotations"][0] == {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 20.0, "bbox": [2.0, 3.0, 4.0, 5.0]}
    assert len(content["annotations"]) == 3
    sample = data.split("train", ("boxes",))[0]
    assert sample.mask is None and not sample.instances.outlined
    assert sample.instances.boxes.tolist() == [[2, 3, 6, 8]] and sample.instances.labels.tolist() == [1]
    with pytest.raises(DataError, match="has only object boxes"):
        data.require("instances", "m")


# what is no longer whole --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "truth"), [("images", ()), ("index", ()), ("masks", ("index",)), ("objects", ("instances",)), ("objects", ("boxes",))])
def test_a_split_that_lacks_a_file_is_not_scored(tmp_path, kind, truth):
    """Its figure would be of other images than its hash says."""
    data = make(tmp_path, Shapes(train=1, val=1, test=6, size=(32, 32)))
    file = data.folder / "test" / f"{kind}-000.arrow"
    content = file.read_bytes()
    file.write_bytes(content[:-8])
    with pytest.raises(DataError, match=rf"{kind}-000\.arrow was changed since `prepare` wrote it; run `dvc repro -f prepare`"):
        PreparedDataset(data.folder).split("test", truth)
    file.unlink()
    with pytest.raises(DataError, match=rf"{kind}-000\.arrow is not there any more.*; run `dvc repro -f prepare`"):
        PreparedDataset(data.folder).split("test", truth)
    if kind in ("masks", "objects"):
        assert len(PreparedDataset(data.folder).split("test", ())) == 6, "who does not ask for it does not need it"
    (data.folder / "test" / "split.json").unlink()
    with pytest.raises(DataError, match=r"test holds no prepared images; run `dvc repro -f prepare`"):
        PreparedDataset(data.folder).split("test", ())


@pytest.mark.parametrize(
    ("kind", "truth", "sentence"), [("images", (), r"000003\.png: The image is"), ("masks", ("index",), r"mask of 000003\.png cannot be decoded")]
)
def test_an_image_that_is_damaged_is_named(tmp_path, kind, truth, sentence):
    data = make(tmp_path, Shapes(train=1, val=1, test=6, size=(32, 32)))
    file = data.folder / "test" / f"{kind}-000.arrow"
    stored = Contents(data.folder / "test").content(kind, 3)
    content = file.read_bytes()
    assert content.count(stored) == 1
    file.write_bytes(content.replace(stored, stored[:40] + bytes(len(stored) - 40)))
    split = PreparedDataset(data.folder).split("test", truth)
    assert split[2].name == "000002"
    with pytest.raises(DataError, match=sentence):
        split[3]


def test_values_that_lie_outside_their_file_are_refused(tmp_path):
    """They would be read from memory that belongs to something else."""
    data = make(tmp_path, Shapes(train=1, val=1, test=6, size=(32, 32)))
    file = data.folder / "test" / "images-000.arrow"
    lengths = np.cumsum([0] + [len(Contents(file.parent).content("images", i)) for i in range(6)]).astype("<i8")
    content = file.read_bytes()
    assert content.count(lengths.tobytes()) == 1
    wrong = lengths.copy()
    wrong[6] += 2**40
    file.write_bytes(content.replace(lengths.tobytes(), wrong.tobytes()))
    with pytest.raises(DataError, match=r"images-000\.arrow cannot be read \(.*\); run `dvc repro -f prepare`"):
        PreparedDataset(data.folder).split("test", ())[0]


@pytest.mark.parametrize("name", ["../../000000.png", "a/b.png", "..", "", "C:\\x.png"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    writer = SplitWriter(tmp_path / "test", ())
    stored = Storing(())("a", ".png", png(np.zeros((8, 8, 3), np.uint8)), (8, 8), None, ())
    writer.enter(replace(stored, file=name))
    writer.finish()
    for read in (Split.names, lambda split: split[0]):
        with pytest.raises(DataError, match="names an image"):
            read(Split(tmp_path / "test", ()))


# versions -----------------------------------------------------------------------------------------------------------------------------------------------


def test_dataset_json_of_version_1_is_read():
    values = json.loads((GOLDEN / "dataset.json").read_text())
    assert "version" not in values and "axes" in values
    info = DatasetInfo.from_dict(values)
    assert info.image == ImageKind("HWC", 3, "uint8", 255.0) and info.image_size is None
    assert info.name == "shapes" and info.truths == BOTH and info.counts == {"train": 4, "val": 2, "test": 3}
    assert [c.name for c in info.classes] == ["background", "circle", "square", "triangle", "cross"]
    again = DatasetInfo.from_dict(json.loads(json.dumps(info.to_dict())))
    assert again == info and info.to_dict()["version"] == 3


def test_the_hash_of_a_split_is_that_of_version_1(shapes):
    """Figures of older models carry it: name, image file, size, mask and annotations of each image, in their order."""
    total, number = hashlib.sha256(), 0
    split = shapes.split("test", BOTH)
    for i, sample in enumerate(split):
        own, mask = [], sample.mask
        for k, label in enumerate(sample.instances.labels.tolist()):
            number += 1
            own.append({"id": number, "image_id": i + 1, "category_id": label, "iscrowd": 0, **encode_mask(sample.instances.mask(k))})
        for part in (sample.name.encode(), split.content(i), repr(mask.shape).encode(), mask.tobytes(), json.dumps(own, sort_keys=True).encode()):
            total.update(hashlib.sha256(part).digest())
    assert shapes.info.split_hashes["test"] == total.hexdigest()
    assert shapes.info.image_size == ImageSizes((48, 64), (48, 64), (48, 64))


GOLDEN_HASH = "b0a356ad9b843695f0fb3b09d985b12def296d79dafac3b8d02fa93ec9c4feb1"


def test_the_hash_of_the_shapes_is_what_it_was_when_each_image_was_a_file(shapes):
    assert shapes.info.split_hashes["test"] == GOLDEN_HASH


def test_the_packed_data_of_version_3_is_read():
    """`golden/v3/prepared` was written when this shape was new."""
    data = PreparedDataset(GOLDEN.parent / "v3" / "prepared")
    assert data.info.counts == {"train": 2, "val": 1, "test": 1} and data.info.truths == BOTH
    train = data.split("train", BOTH)
    assert train.names() == ["000000.png", "000001.png"] and train.hashes() == [content_hash(train.content(i)) for i in range(2)]
    first, second = train
    assert first.image.shape == (32, 40, 3) and first.mask.shape == (32, 40)
    for sample in (first, second):
        assert len(sample.instances) and (sample.instances.masks.any(axis=0) == (sample.mask > 0)).all()


@pytest.mark.parametrize("version", [1, 2])
def test_what_an_earlier_segline_wrote_is_refused(tmp_path, version):
    values = json.loads((GOLDEN / "dataset.json").read_text())
    if version == 2:
        values = DatasetInfo.from_dict(values).to_dict() | {"version": 2}
    (tmp_path / "dataset.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"was prepared by an earlier Segline, whose images lay in files of their own; run `dvc repro`"):
        PreparedDataset(tmp_path)


def test_a_split_of_an_earlier_segline_is_refused(tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"version": 1, "count": 1, "hash": "0", "images": {"a.png": "0" * 16}}))
    with pytest.raises(DataError, match=r"split\.json was written by an earlier Segline; run `dvc repro -f prepare`"):
        len(Split(tmp_path, ()))


def test_what_a_later_segline_wrote_is_refused(tmp_path):
    data = make(tmp_path)
    listed = data.folder / "train" / "split.json"
    listed.write_text(json.dumps(json.loads(listed.read_text()) | {"version": 3}))
    with pytest.raises(DataError, match=r"split\.json was written by a later Segline \(version 3, this one reads up to 2\)"):
        data.split("train", ())[0]
    listed.write_text("{}")
    with pytest.raises(DataError, match=r"split\.json cannot be read"):
        len(data.split("train", ()))
    file = data.folder / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 4}))
    with pytest.raises(DataError, match=r"later Segline \(version 4 of dataset\.json, this one reads up to 3\)"):
        PreparedDataset(data.folder)
    file.write_text("[]")
    with pytest.raises(DataError, match=r"dataset\.json cannot be read"):
        PreparedDataset(data.folder)
    with pytest.raises(DataError, match="run `dvc repro prepare`"):
        PreparedDataset(tmp_path / "nowhere")
