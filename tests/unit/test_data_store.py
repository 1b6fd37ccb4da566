"""The store: what was asked for is read, and nothing else; files of older Seglines are read, those of later ones refused."""

from __future__ import annotations

import builtins
import hashlib
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from segline.data import store
from segline.data.download import download
from segline.data.formats.coco import Settings
from segline.data.prepare import prepare
from segline.data.sources import Shapes
from segline.data.store import DatasetInfo, EncodedMasks, ImageSizes, Instances, PreparedDataset, Split
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


@pytest.fixture
def opened(monkeypatch):
    """Names of the files that are opened from here on."""
    names: list[str] = []

    def spy(original):
        def wrapped(file, *arguments, **keys):
            names.append(Path(file).name if isinstance(file, str | Path) else "")
            return original(file, *arguments, **keys)

        return wrapped

    # pathlib opens by io.open; numpy and Pillow by the built-in one.
    monkeypatch.setattr(io, "open", spy(io.open))
    monkeypatch.setattr(builtins, "open", spy(builtins.open))
    return names


# what is asked for --------------------------------------------------------------------------------------------------------------------------------------


def test_a_split_decodes_the_truth_that_is_asked_for_and_no_other(shapes, opened):
    semantic = list(shapes.split("train", ("index",)))
    assert all(sample.mask is not None and sample.instances is None for sample in semantic)
    assert "split.json" in opened and not {"instances.json", "instances.npy"} & set(opened)
    opened.clear()
    objects = list(shapes.split("train", ("instances",)))
    assert all(sample.mask is None and sample.instances is not None for sample in objects)
    # Images and masks have the same names: each image is opened once, and nothing beside it.
    assert "instances.json" in opened and opened.count("000000.png") == 1
    opened.clear()
    images = list(shapes.split("train", ()))
    assert all(sample.mask is None and sample.instances is None for sample in images)
    assert sorted(set(opened)) == ["000000.png", "000001.png", "000002.png", "000003.png", "split.json"]


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


# annotations by image -----------------------------------------------------------------------------------------------------------------------------------


def test_the_index_gives_each_image_its_annotations(shapes):
    for name in ("train", "val", "test"):
        folder = shapes.folder / name
        coco = COCO(folder / "instances.json")
        split = shapes.split(name, BOTH)
        assert [sample.image_id for sample in split] == list(range(1, len(split) + 1))
        for sample in split:
            theirs = coco.loadAnns(coco.getAnnIds(sample.image_id))
            assert coco.imgs[sample.image_id]["file_name"] == f"{sample.name}.png"
            assert [a["category_id"] for a in theirs] == sample.instances.labels.tolist()
            assert [a["bbox"] for a in theirs] == [[x, y, right - x, bottom - y] for x, y, right, bottom in sample.instances.boxes.tolist()]
            for i, annotation in enumerate(theirs):
                assert (sample.instances.mask(i) == coco.annToMask(annotation)).all()
        assert len(coco.anns) == sum(len(sample.instances) for sample in split)


def test_reading_an_image_reads_its_annotations_alone(shapes):
    split = shapes.split("train", ("instances",))
    read = []
    original = json.loads
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.json, "loads", lambda text: read.append(text) or original(text))
        sample = split[2]
    objects = [original(text) for text in read if b"segmentation" in (text if isinstance(text, bytes) else text.encode())]
    assert len(objects) == 1 and {a["image_id"] for a in objects[0]} == {sample.image_id}


def test_annotations_that_someone_edited_are_refused(tmp_path):
    data = make(tmp_path, Shapes(train=1, val=1, test=1, size=(32, 32)))
    file = data.folder / "train" / "instances.json"
    file.write_text(json.dumps(json.loads(file.read_text())))
    with pytest.raises(DataError, match="changed since `prepare` wrote it"):
        data.split("train", ("instances",))[0]


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


def test_parts_and_copies_of_a_split(shapes):
    split = shapes.split("train", BOTH)
    part = split.part([3, 1]).part([1])
    assert len(part) == 1 and part[0].name == split[1].name == "000001"
    assert part[0].image_id == 2 and part.files == [split.files[1]] and part.hashes() == [split.hashes()[1]]
    copy = pickle.loads(pickle.dumps(part))  # as loader processes get it
    assert (copy[0].image == part[0].image).all() and (copy[0].instances.masks == part[0].instances.masks).all()


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
        assert listed["version"] == 1 and listed["count"] == count == len(listed["images"])
        assert listed["hash"] == data.info.split_hashes.get(name, hashlib.sha256().hexdigest())
        assert listed["images"] == {f.name: hashlib.sha256(f.read_bytes()).hexdigest()[:16] for f in (folder / "images").iterdir()}
        assert len(json.loads((folder / "instances.json").read_text())["annotations"]) == count
    train = data.split("train", ())
    assert train.hashes() == [hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in train.files]
    with pytest.raises(DataError, match="no test split; it has train, val"):
        data.split("test", ())


def test_boxes_without_masks(tmp_path):
    root = annotated(tmp_path / "root", {"train": 3, "val": 2}, boxes_only=True)
    data = make(tmp_path, Settings(source=str(root)), root)
    assert data.info.truths == ("boxes",) and data.info.instance_counts == {"train": 3, "val": 2}
    assert data.info.class_pixels == (0, 0) and not (data.folder / "train" / "masks").exists()
    content = json.loads((data.folder / "train" / "instances.json").read_text())
    assert content["annotations"][0] == {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 20.0, "bbox": [2.0, 3.0, 4.0, 5.0]}
    assert len(COCO(data.folder / "train" / "instances.json").anns) == 3
    sample = data.split("train", ("boxes",))[0]
    assert sample.mask is None and not sample.instances.outlined
    assert sample.instances.boxes.tolist() == [[2, 3, 6, 8]] and sample.instances.labels.tolist() == [1]
    with pytest.raises(DataError, match="has only object boxes"):
        data.require("instances", "m")


# what is no longer whole --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version_1", [False, True])
def test_a_split_that_lacks_an_image_is_not_scored(tmp_path, version_1):
    """Its figure would be of other images than its hash says."""
    data = make(tmp_path, Shapes(train=1, val=1, test=6, size=(32, 32)))
    folder = data.folder / "test"
    if version_1:
        for name in ("split.json", "instances.npy"):
            (folder / name).unlink()
    assert len(data.split("test", ())) == 6
    (folder / "images" / "000003.png").unlink()
    sentence = r"holds 5 images, and dataset\.json says 6" if version_1 else r"images lacks 1 of the 6 files that `prepare` wrote \(000003\.png\)"
    with pytest.raises(DataError, match=sentence):
        PreparedDataset(data.folder).split("test", ())


def test_a_split_that_lacks_a_mask_is_not_scored(tmp_path):
    data = make(tmp_path, Shapes(train=1, val=1, test=6, size=(32, 32)))
    mask = data.folder / "test" / "masks" / "000003.png"
    mask.write_bytes(mask.read_bytes()[:40])
    with pytest.raises(DataError, match=r"000003\.png cannot be decoded"):
        list(data.split("test", ("index",)))
    mask.unlink()
    with pytest.raises(DataError, match=r"masks lacks 1 of the 6 files"):
        data.split("test", ("index",))
    assert len(data.split("test", ("instances",))) == 6


# versions -----------------------------------------------------------------------------------------------------------------------------------------------


def test_dataset_json_of_version_1_is_read():
    values = json.loads((GOLDEN / "dataset.json").read_text())
    assert "version" not in values and "axes" in values
    info = DatasetInfo.from_dict(values)
    assert info.image == ImageKind("HWC", 3, "uint8", 255.0) and info.image_size is None
    assert info.name == "shapes" and info.truths == BOTH and info.counts == {"train": 4, "val": 2, "test": 3}
    assert [c.name for c in info.classes] == ["background", "circle", "square", "triangle", "cross"]
    again = DatasetInfo.from_dict(json.loads(json.dumps(info.to_dict())))
    assert again == info and info.to_dict()["version"] == 2


def test_the_hash_of_a_split_is_that_of_version_1(shapes):
    """Figures of older models carry it: name, image file, size, mask and annotations of each image, in their order."""
    folder = shapes.folder / "test"
    annotations = json.loads((folder / "instances.json").read_text())["annotations"]
    total = hashlib.sha256()
    for sample, file in zip(shapes.split("test", ("index",)), shapes.split("test", ()).files, strict=True):
        own = [a for a in annotations if a["image_id"] == sample.image_id]
        mask = sample.mask
        for part in (file.stem.encode(), file.read_bytes(), repr(mask.shape).encode(), mask.tobytes(), json.dumps(own, sort_keys=True).encode()):
            total.update(hashlib.sha256(part).digest())
    assert shapes.info.split_hashes["test"] == total.hexdigest()
    assert shapes.info.image_size == ImageSizes((48, 64), (48, 64), (48, 64))


def test_a_split_of_version_1_is_read(tmp_path):
    data = make(tmp_path)
    expected = [(s.name, s.image_id, s.mask, s.instances.masks) for s in data.split("test", BOTH)]
    hashes = data.split("test", ()).hashes()
    for name in ("split.json", "instances.npy"):
        (data.folder / "test" / name).unlink()
    split = data.split("test", BOTH)
    for sample, (name, number, mask, masks) in zip(split, expected, strict=True):
        assert (sample.name, sample.image_id) == (name, number)
        assert (sample.mask == mask).all() and (sample.instances.masks == masks).all()
    assert split.hashes() == hashes and len(Split(data.folder / "test", ("index",))) == 3


def test_what_a_later_segline_wrote_is_refused(tmp_path):
    data = make(tmp_path)
    listed = data.folder / "train" / "split.json"
    listed.write_text(json.dumps(json.loads(listed.read_text()) | {"version": 2}))
    with pytest.raises(DataError, match=r"split\.json was written by a later Segline \(version 2, this one reads up to 1\)"):
        data.split("train", ())[0]
    listed.write_text("{}")
    with pytest.raises(DataError, match=r"split\.json cannot be read"):
        len(data.split("train", ()))
    file = data.folder / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 3}))
    with pytest.raises(DataError, match=r"later Segline \(version 3 of dataset\.json, this one reads up to 2\)"):
        PreparedDataset(data.folder)
    file.write_text("[]")
    with pytest.raises(DataError, match=r"dataset\.json cannot be read"):
        PreparedDataset(data.folder)
    with pytest.raises(DataError, match="run `dvc repro prepare`"):
        PreparedDataset(tmp_path / "nowhere")
