"""Data that is written in an open layout and read again is the same, to the pixel; other libraries read it as well."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from factories import shapes_dataset
from hostile import campaign_of
from PIL import Image
from pycocotools.coco import COCO
from torchvision import datasets
from typer.testing import CliRunner

from segline.cli.app import app
from segline.data.check import Frame
from segline.data.convert import catalog as layouts
from segline.data.convert.convert import convert_prepared, convert_source
from segline.data.convert.outline import loops, outline
from segline.data.formats import catalog
from segline.data.masks import Outline
from segline.data.store import PreparedDataset
from segline.errors import DataError

tools = campaign_of("tool_sources")
H, W = tools.H, tools.W


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return shapes_dataset(tmp_path_factory.mktemp("shapes"), train=3, val=2, test=2)


def source(word, make, tmp_path, to, **keys):
    """A tiny source, converted."""
    root, out = make(tmp_path / "root"), tmp_path / "out"
    settings = catalog.get(word).Settings(source=str(root), format=word, **keys)
    return out, convert_source(settings, root, to, out)


def read(word, root, **keys):
    """{name of the image: (split, truth)} and the class names."""
    found = catalog.get(word).FORMAT.read(root, catalog.get(word).Settings(source=str(root), **keys))
    records = {}
    for record in found.records:
        with Image.open(root / record.image) as image:
            records[record.image.stem] = record.split, record.truth(Frame(image.height, image.width))
    return records, [one.name for one in found.classes]


def named(names, objects):
    return Counter((names[one.label], one.mask.tobytes()) for one in objects)


def by_split(word, root):
    """{(split, name of the image): truth} and the class names."""
    found = catalog.get(word).FORMAT.read(root, catalog.get(word).Settings(source=str(root)))
    truths = {}
    for record in found.records:
        with Image.open(root / record.image) as image:
            truths[record.split, record.image.stem.removeprefix(f"{record.split}_")] = record.truth(Frame(image.height, image.width))
    return truths, [one.name for one in found.classes]


def objects_of(sample):
    return Counter((int(label), np.asarray(mask).tobytes()) for label, mask in zip(sample.instances.labels, sample.instances.masks, strict=True))


@pytest.mark.parametrize("to", ["coco", "yolo"])
def test_objects_come_back_to_the_pixel(prepared, tmp_path, to):
    images, lost = convert_prepared(prepared.folder, to, tmp_path / "out")
    assert images == 7 and not any(lost.values())
    records, names = by_split(to, tmp_path / "out")
    assert names == [one.name for one in prepared.info.classes]
    for split in ("train", "val", "test"):
        for sample in prepared.split(split, ("index", "instances")):
            truth = records.pop((split, sample.name))
            assert Counter((one.label, one.mask.tobytes()) for one in truth.objects) == objects_of(sample)
            np.testing.assert_array_equal(truth.mask, sample.mask)
    assert not records


@pytest.mark.parametrize("to", ["coco", "yolo"])
def test_holes_parts_and_overlaps_come_back(tmp_path, to):
    out, _ = source("labelme", tools.labelme, tmp_path, to)
    records, names = read(to, out)
    expected = Counter((name, mask.tobytes()) for name, mask in {one.word: one for one in tools.SOURCES}["labelme"].objects)
    assert named(names, records["a"][1].objects) == expected and records["b"][0] == "val"


def test_boxes_and_areas_stay_as_the_source_has_them(tmp_path):
    root = tmp_path / "root"
    tools.picture(root / "train" / "a.jpg")
    one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2.25, 3.5, 9.5, 9.25], "area": 93.5, "segmentation": [tools.flat(tools.CAT)], "iscrowd": 0}
    crowd = {**one, "id": 2, "iscrowd": 1, "segmentation": [tools.flat(tools.DOG)]}
    content = {"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 1, "name": "cat"}], "annotations": [one, crowd]}
    (root / "train" / "b.jpg").write_bytes(tools.picture(root / "b.jpg").read_bytes())
    content["images"].append({"id": 2, "file_name": "b.jpg"})
    tools.write(root / "annotations" / "pets.json", content)
    convert_source(catalog.get("coco").Settings(source=str(root), format="coco"), root, "coco", tmp_path / "out")
    records, _ = read("coco", tmp_path / "out")
    found = records["a"][1].objects
    assert (found[0].box, found[0].area, found[0].crowd) == ((2.25, 3.5, 9.5, 9.25), 93.5, False) and found[1].crowd
    assert {split for split, _ in records.values()} == {"train"}  # nobody divided them


def test_boxes_alone(tmp_path):
    def boxes(root):
        tools.yolo(root)
        for split, name in (("train", "a"), ("val", "b")):
            (root / "labels" / split / f"{name}.txt").write_text("1 0.25 0.5 0.25 0.5\n")
        return root

    for to in ("coco", "yolo"):
        out, _ = source("yolo", boxes, tmp_path / to, to)
        records, names = read(to, out)
        assert [(names[one.label], one.mask, one.box) for one in records["a"][1].objects] == [("dog", None, (4.0, 6.0, 8.0, 12.0))]
    with pytest.raises(DataError, match=r"The layout masks holds class masks .* has neither"):
        source("yolo", boxes, tmp_path / "masks", "masks")


@pytest.mark.parametrize("to", ["coco", "masks", "voc"])
def test_masks_of_classes_come_back_with_what_is_ignored(tmp_path, to):
    out, _ = source("coco", tools.panoptic, tmp_path, to)
    expected = read("coco", tmp_path / "root")[0]
    for split, name in (("train", "a"), ("val", "b")):
        mask = expected[name][1].mask
        if to == "coco":
            found = read("coco", out, annotations="stuff")[0][name][1].mask
        else:
            file = out / ("SegmentationClass" if to == "voc" else f"masks/{split}") / f"{name}.png"
            found = np.asarray(Image.open(file))
        np.testing.assert_array_equal(found, mask)
    if to == "masks":
        assert (out / "classes.txt").read_text() == "lawn\ncat\ndog\n"


@pytest.mark.parametrize("to", ["masks", "voc"])
def test_masks_are_read_again_by_the_format_of_their_layout(prepared, tmp_path, to):
    if to not in catalog.FORMATS:
        pytest.skip(f"there is no format {to} to read it with")
    convert_prepared(prepared.folder, to, tmp_path / "out")
    records, names = by_split(to, tmp_path / "out")
    assert names == [one.name for one in prepared.info.classes]
    for split in ("train", "val", "test"):
        for sample in prepared.split(split, ("index",)):
            np.testing.assert_array_equal(records[split, sample.name].mask, sample.mask)


def test_pycocotools_reads_coco(prepared, tmp_path):
    convert_prepared(prepared.folder, "coco", tmp_path / "out")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(tmp_path / "out" / "annotations" / "instances_test.json")
    for number, sample in enumerate(prepared.split("test", ("instances",)), start=1):
        [entry] = coco.loadImgs(number)
        assert Path(entry["file_name"]).stem == sample.name and (tmp_path / "out" / "test" / entry["file_name"]).is_file()
        found = Counter((one["category_id"], coco.annToMask(one).astype(bool).tobytes()) for one in coco.imgToAnns[number])
        assert found == objects_of(sample)


def test_torchvision_reads_voc_and_coco(tmp_path):
    """VOC where torchvision looks for it; its images end in .jpg."""
    root = tools.roboflow(tmp_path / "root")
    settings = catalog.get("roboflow").Settings(source=str(root), format="roboflow")
    convert_source(settings, root, "voc", tmp_path / "VOCdevkit" / "VOC2012")
    voc = datasets.VOCSegmentation(tmp_path, year="2012", image_set="train", download=False)
    image, mask = voc[0]
    assert len(voc) == 1 and image.size == mask.size == (W, H) and mask.mode == "P"
    np.testing.assert_array_equal(np.asarray(mask), np.asarray(Image.open(root / "train" / "a_mask.png")))
    assert mask.getpalette()[3:9] == [128, 0, 0, 0, 128, 0]  # VOC's first colours
    assert (tmp_path / "VOCdevkit" / "VOC2012" / "labelmap.txt").read_text().splitlines()[1:] == ["background:0,0,0::", "cat:128,0,0::", "dog:0,128,0::"]

    labelme = tools.labelme(tmp_path / "labelme")
    for to in ("voc", "coco"):
        convert_source(catalog.get("labelme").Settings(source=str(labelme), format="labelme"), labelme, to, tmp_path / to)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = datasets.CocoDetection(str(tmp_path / "coco" / "train"), str(tmp_path / "coco" / "annotations" / "instances_train.json"))
    picture, annotations = coco[0]
    assert picture.size == (W, H) and len(annotations) == 4
    numbers = np.asarray(Image.open(tmp_path / "voc" / "SegmentationObject" / "a.png"))
    sizes = sorted(int((numbers == number).sum()) for number in range(1, 5))
    assert sizes == sorted([100 - 20, 56, 40, 48]) and numbers.max() == 4  # of overlapping ones the smaller has the pixel


def test_an_outline_covers_its_mask_and_no_other_pixel():
    random = np.random.default_rng(0)
    for share in (0.02, 0.3, 0.5, 0.7, 0.98):
        for _ in range(12):
            height, width = (int(side) for side in random.integers(1, 24, 2))
            mask = random.random((height, width)) < share
            drawn = Outline(outline(mask).astype(float)).draw((height, width))
            np.testing.assert_array_equal(drawn, mask)
    ring = tools.RINGED
    assert sorted(len(loop) for loop in loops(ring)) == [4, 4] and len(loops(tools.PARTED)) == 2
    corner = np.eye(2, dtype=bool)
    assert [len(loop) for loop in loops(corner)] == [4, 4]  # pixels that touch at a corner alone are two parts


def test_what_yolo_cannot_say_is_counted(tmp_path):
    _, (_, lost) = source("coco", tools.panoptic, tmp_path, "yolo")
    assert not lost["crowds"] and lost["classes that are no things"] == 1  # the lawn
    root = tmp_path / "root"
    for file in (root / "annotations").glob("*.json"):
        content = json.loads(file.read_text())
        content["annotations"][0]["segments_info"][-1]["iscrowd"] = 1
        file.write_text(json.dumps(content))
    _, lost = convert_source(catalog.get("coco").Settings(source=str(root), format="coco"), root, "yolo", tmp_path / "again")
    assert lost["crowds"] == 2


def test_the_command(prepared, tmp_path):
    run = CliRunner()
    out = tmp_path / "out"
    done = run.invoke(app, ["convert", str(prepared.folder), "--to", "voc", "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0 and "7 images written to" in done.output and (out / "ImageSets" / "Segmentation" / "test.txt").is_file()
    root = tools.supervisely(tmp_path / "root")
    done = run.invoke(app, ["convert", str(root), "--format", "supervisely", "--to", "yolo"], catch_exceptions=False)
    assert done.exit_code == 0 and (tmp_path / "root-yolo" / "data.yaml").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "root", "root-yolo"]  # nothing is left over


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{prepared}", "--to", "yoloo", "--out", "{new}"], "Nothing converts to 'yoloo'; there are coco, masks, voc, yolo. Did you mean yolo"),
        (["{prepared}", "--to", "coco", "--out", "{prepared}"], "is there already; give --out a folder that is not there yet"),
        (["{new}", "--to", "coco"], "does not exist"),
        (["{tmp}", "--to", "coco"], "is no prepared data set; say by --format"),
        (["{tmp}", "--to", "coco", "--format", "labelmee", "--out", "{new}"], "no format 'labelmee'"),
        (["{tmp}", "--to", "coco", "--format", "labelme", "--out", "{new}"], "holds no images"),
    ],
)
def test_mistakes_of_the_command(prepared, tmp_path, arguments, sentence):
    given = [word.format(prepared=prepared.folder, tmp=tmp_path, new=tmp_path / "new") for word in arguments]
    with pytest.raises(DataError, match=sentence):
        CliRunner().invoke(app, ["convert", *given], catch_exceptions=False)


def test_every_layout_writes_whole_or_not_at_all(prepared, tmp_path, monkeypatch):
    assert isinstance(PreparedDataset(prepared.folder), PreparedDataset)
    for to in layouts.LAYOUTS:
        writer = layouts.get(to)
        monkeypatch.setattr(type(writer), "write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            convert_prepared(prepared.folder, to, tmp_path / "out")
        assert list(tmp_path.iterdir()) == []
