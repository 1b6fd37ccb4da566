"""Each format reads its layout, and each mistake in it gets its sentence.

What is true of every format is one body of tests over `CASES`: a format joins it with a function that makes a tiny source, and a line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import layout_sources
import numpy as np
import public_sources
import pytest
from hostile import campaign_of
from PIL import Image
from pycocotools import mask as rle
from pydantic import ValidationError

from segline.data.check import Frame
from segline.data.formats import catalog
from segline.data.formats.base import SourceObject
from segline.data.masks import decode_mask, encode_mask
from segline.data.reading.painting import paint
from segline.data.sources import Folder
from segline.errors import DataError

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
H, W = 6, 8


def save(file, array):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(file)


def picture(file):
    save(file, np.random.default_rng(len(file.name)).integers(0, 255, (H, W, 3)))


def frame(file):
    with Image.open(file) as image:
        return Frame(image.height, image.width)


def settings(word, root, **keys):
    return catalog.get(word).Settings(source=str(root), **keys)


def read(word, root, **keys):
    return catalog.get(word).FORMAT.read(root, settings(word, root, **keys))


def truths(root, word, **keys):
    """{image: truth} of a whole source, or DataError with the problems of all images."""
    return {r.image.as_posix(): r.truth(frame(root / r.image)) for r in read(word, root, **keys).records}


def refuses(sentence, root, word, **keys):
    with pytest.raises(DataError, match=sentence) as caught:
        truths(root, word, **keys)
    return caught.value


# tiny sources -------------------------------------------------------------------------------------------------------------------------------------------


def make_camvid(root):
    for split, name in (("train", "a"), ("train", "b"), ("val", "c")):
        picture(root / split / f"{name}.jpg")
        mask = np.zeros((H, W))
        mask[0, 0], mask[1] = 11, 8
        save(root / f"{split}annot" / f"{name}.png", mask)
    (root / "train.txt").write_text("train/a.jpg trainannot/a.png\n/SegNet/CamVid/train/b.jpg /SegNet/CamVid/trainannot/b.png\n\n")
    (root / "val.txt").write_text("val/c.jpg valannot/c.png\n")
    return root


def make_pennfudan(root):
    for name in ("x", "y"):
        picture(root / "PNGImages" / f"{name}.png")
        mask = np.zeros((H, W))
        mask[:2, :2], mask[:2, 2:4] = 1, 5
        save(root / "PedMasks" / f"{name}_mask.png", mask)
    return root


def make_masks(root):
    for name in ("x", "y", "z"):
        picture(root / "images" / f"{name}.jpg")
        save(root / "masks" / f"{name}.png", np.where(np.eye(H, W), 255, 0))
    return root


def make_coco(root):
    write(root, "train2017", content([annotation(1, 100, 7, SQUARE), annotation(2, 101, 90, SQUARE)]))
    return root


# every format -------------------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A tiny source of one format, and what is read from it."""

    word: str
    make: Callable[[Path], Path]
    images: int
    truths: tuple[str, ...]


CASES = (
    Case("ade20k", layout_sources.make_ade20k, 3, ("index",)),
    Case("bsds500", public_sources.make_bsds500, 3, ("index",)),
    Case("camvid", make_camvid, 3, ("index",)),
    Case("carvana", public_sources.make_carvana, 4, ("index",)),
    Case("cityscapes", layout_sources.make_cityscapes, 3, ("index", "instances")),
    Case("coco", make_coco, 2, ("index", "instances")),
    Case("ctc", public_sources.make_ctc, 4, ("index", "instances")),
    Case("isbi2012", layout_sources.make_isbi2012, 3, ("index",)),
    Case("kitti", layout_sources.make_kitti, 2, ("index", "instances")),
    Case("mapillary", layout_sources.make_mapillary, 3, ("index", "instances")),
    Case("masks", make_masks, 3, ("index",)),
    Case("oxford_pet", public_sources.make_oxford_pet, 3, ("index",)),
    Case("pennfudan", make_pennfudan, 2, ("index", "instances")),
    Case("voc", layout_sources.make_voc, 3, ("index", "instances")),
    Case("voc_sbd", public_sources.make_voc_sbd, 5, ("index", "instances")),
)
every_format = pytest.mark.parametrize("case", CASES, ids=lambda case: case.word)


def test_every_format_of_the_catalogue_is_tested():
    words = [case.word for case in CASES] + [source.word for source in campaign_of("tool_sources").SOURCES]  # these in test_data_tools.py
    assert sorted(words) == sorted(word for word in catalog.FORMATS if word != catalog.AUTO)


@every_format
def test_a_format_owns_its_settings(case, tmp_path):
    chosen = settings(case.word, tmp_path)
    assert isinstance(chosen, Folder) and chosen.format == case.word
    assert type(chosen).__doc__ != Folder.__doc__
    with pytest.raises(ValidationError):
        settings(case.word, tmp_path, nonsense=1)
    with pytest.raises(ValidationError):
        settings(case.word, tmp_path, format="another")


@every_format
def test_a_format_names_every_file_that_it_reads(case, tmp_path):
    root = case.make(tmp_path)
    (root / "notes.txt").write_text("not read")
    files = catalog.get(case.word).FORMAT.files(root, settings(case.word, root))
    source = read(case.word, root)
    assert tuple(files) == source.files == tuple(sorted(set(files)))
    assert all((root / file).is_file() for file in files) and Path("notes.txt") not in files
    assert {record.image for record in source.records} <= set(files)
    assert len(source.records) == case.images and source.truths == case.truths


@every_format
def test_a_format_gives_truth_of_the_images_size(case, tmp_path):
    root = case.make(tmp_path)
    classes = len(read(case.word, root).classes)
    for truth in truths(root, case.word).values():
        assert truth.mask.shape == (H, W) and truth.mask.dtype == np.uint8
        assert set(np.unique(truth.mask)) <= {*range(classes), 255}
        for shown in truth.objects:
            assert shown.mask.shape == (H, W) and shown.mask.dtype == np.bool_ and shown.mask.any()
            assert 0 <= shown.label < classes
    record = read(case.word, root).records[0]
    if case.word != "coco":  # whose polygons fit any size
        with pytest.raises(DataError, match="both must have one size"):
            record.truth(Frame(H + 1, W))


@every_format
def test_a_folder_in_another_layout_is_refused(case, tmp_path):
    picture(tmp_path / "some" / "picture.png")
    refuses(f"not in the {case.word} layout.*data.source or data.format", tmp_path, case.word)


@every_format
def test_classes_named_wrongly_are_refused(case, tmp_path):
    root = case.make(tmp_path)
    refuses("is empty", root, case.word, classes=[])
    refuses("more than once", root, case.word, classes=["a", "a"])


def test_an_unknown_format_is_told_with_the_nearest():
    with pytest.raises(DataError, match=rf"no format 'pennfudann'; the formats are {', '.join(catalog.FORMATS)}\. Did you mean pennfudan\?"):
        catalog.get("pennfudann")


def test_a_format_from_outside_is_one_file_and_one_line(tmp_path, monkeypatch):
    (tmp_path / "one_picture.py").write_text(
        """
from typing import Literal
import numpy as np
from segline.data.formats.base import Record, SourceClass, SourceData, SourceTruth
from segline.data.sources import Folder

class Settings(Folder):
    'A folder of images that show nothing but one class.'
    format: Literal["one_class"] = "one_class"
    label: str = "all"  # the name of that class

class OneClass:
    def files(self, root, settings):
        return sorted(file.relative_to(root) for file in root.glob("*.png"))

    def read(self, root, settings):
        files = tuple(self.files(root, settings))
        records = tuple(Record(file, None, lambda frame: SourceTruth(np.zeros((frame.height, frame.width), np.uint8))) for file in files)
        return SourceData((SourceClass(settings.label, False),), ("index",), records, "CC0", files)

FORMAT = OneClass()
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(catalog.FORMATS, "one_class", "one_picture")
    picture(tmp_path / "a.png")
    source = read("one_class", tmp_path, label="grass")
    assert source.classes[0].name == "grass" and truths(tmp_path, "one_class")["a.png"].mask.shape == (H, W)


def test_formats_are_imported_when_they_are_asked_for():
    program = "import sys, segline.data.formats.catalog; print([name for name in sys.modules if name.startswith('segline.data.formats.c')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['segline.data.formats.catalog']"


# camvid -------------------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def camvid(tmp_path):
    return make_camvid(tmp_path)


def test_camvid_lists_splits_classes_and_ignored_label(camvid):
    source = read("camvid", camvid)
    assert [(r.image.as_posix(), r.split) for r in source.records] == [("train/a.jpg", "train"), ("train/b.jpg", "train"), ("val/c.jpg", "val")]
    assert source.truths == ("index",)
    assert len(source.classes) == 11 and source.classes[8].name == "car"
    mask = truths(camvid, "camvid")["train/a.jpg"].mask
    assert mask[0, 0] == 255 and (mask[1] == 8).all() and mask[2, 0] == 0
    files = ["train.txt", "val.txt", *(f"{split}/{name}" for split in ("train", "trainannot") for name in "ab"), "val/c", "valannot/c"]
    assert sorted(f.with_suffix("").as_posix() if f.parent != Path() else f.name for f in source.files) == sorted(files)


def test_camvid_without_lists_pairs_by_name_and_leaves_out_what_has_no_mask(camvid):
    (camvid / "train.txt").unlink()
    picture(camvid / "train" / "lonely.jpg")
    source = read("camvid", camvid)
    assert [r.image.as_posix() for r in source.records] == ["train/a.jpg", "train/b.jpg", "val/c.jpg"]
    assert [(r.file, "trainannot/lonely.png" in r.reason) for r in source.refused] == [("train/lonely.jpg", True)]


def test_camvid_layout_with_classes_of_ones_own(camvid):
    names = [f"k{i}" for i in range(9)]
    refuses("unknown label value 11", camvid, "camvid", classes=names)
    assert truths(camvid, "camvid", classes=names, ignore=[11])["val/c.jpg"].mask[0, 0] == 255
    assert truths(camvid, "camvid", ignore=[11, 99])
    refuses("either a class or ignored", camvid, "camvid", classes=names, ignore=[3])


def test_camvid_mistakes(camvid):
    mask = camvid / "trainannot" / "a.png"
    save(mask, np.where(np.eye(H, W), 255, 0))
    refuses("trainannot/a.png holds the unknown label value 255.*saved as 0/255", camvid, "camvid")
    save(mask, np.full((H, W), 77))
    refuses("unknown label value 77.*data.classes", camvid, "camvid")
    save(mask, np.zeros((H, W + 1)))
    refuses("trainannot/a.png is 9x6 pixels, but its image train/a.jpg is 8x6", camvid, "camvid")
    save(mask, np.zeros((H, W, 3)))
    refuses("colour image", camvid, "camvid")
    mask.write_bytes(b"not a png")
    refuses("trainannot/a.png cannot be decoded", camvid, "camvid")
    mask.unlink()
    (camvid / "val" / "c.jpg").unlink()
    error = refuses("train.txt, line 1, names trainannot/a.png, which does not exist", camvid, "camvid")
    assert len(error.problems) == 2 and "val/c.jpg" in error.problems[1]


def test_camvid_list_mistakes(camvid):
    (camvid / "train.txt").write_text("train/a.jpg\ntrain/b.jpg trainannot/b.png extra\n")
    assert len(refuses("line 1, has 1 words", camvid, "camvid").problems) == 2
    (camvid / "train.txt").write_text("train/a.jpg trainannot/a.png\ntrain/a.jpg trainannot/a.png\n")
    refuses("line 2, names the image train/a.jpg a second time", camvid, "camvid")


@pytest.mark.parametrize("word", ["../outside.png", "train/../../outside.png", "..", "/"])
def test_camvid_lists_stay_in_their_folder(tmp_path, word):
    root = make_camvid(tmp_path / "root")
    picture(tmp_path / "outside.png")
    (root / "train.txt").write_text(f"{word} trainannot/a.png\ntrain/b.jpg {word}\n")
    assert len(refuses(f"train.txt, line 1, names {word}, which lies outside the folder", root, "camvid").problems) == 2


@pytest.mark.parametrize("word", ["x" * 5000, "x/" * 3000, "a\0.png", "é" * 200, "."])
def test_camvid_words_that_no_file_can_be_called(camvid, word):
    (camvid / "train.txt").write_text(f"{word} trainannot/a.png\n")
    error = refuses("train.txt, line 1, names .*, which does not exist", camvid, "camvid")
    assert len(str(error)) < 300


def test_camvid_lists_may_begin_with_a_byte_order_mark(camvid):
    (camvid / "train.txt").write_text("train/a.jpg trainannot/a.png\n", encoding="utf-8-sig")
    assert [r.image.as_posix() for r in read("camvid", camvid).records] == ["train/a.jpg", "val/c.jpg"]


def test_camvid_an_image_and_a_link_to_it_are_one_image(camvid):
    (camvid / "val" / "c.jpg").unlink()
    (camvid / "val" / "c.jpg").symlink_to(camvid / "train" / "a.jpg")
    refuses("val.txt, line 1, names the image val/c.jpg a second time", camvid, "camvid")


def test_camvid_palette_masks_give_their_indices(camvid):
    image = Image.fromarray(np.full((H, W), 8, dtype=np.uint8), mode="L").convert("P")
    image.putdata([8] * (H * W))
    image.putpalette([200, 10, 10] * 256)
    image.save(camvid / "trainannot" / "a.png")
    assert (truths(camvid, "camvid")["train/a.jpg"].mask == 8).all()


# pennfudan ----------------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pennfudan(tmp_path):
    return make_pennfudan(tmp_path)


def test_pennfudan_objects_and_mask(pennfudan):
    source = read("pennfudan", pennfudan)
    assert [(c.name, c.thing) for c in source.classes] == [("background", False), ("person", True)]
    assert {r.split for r in source.records} == {None}
    truth = truths(pennfudan, "pennfudan")["PNGImages/x.png"]
    assert [int(o.mask.sum()) for o in truth.objects] == [4, 4] and {o.label for o in truth.objects} == {1}
    assert int((truth.mask == 1).sum()) == 8


def test_pennfudan_ignored_value_and_other_names(pennfudan):
    truth = truths(pennfudan, "pennfudan", classes=["ground", "cell"], ignore=[5])["PNGImages/x.png"]
    assert len(truth.objects) == 1 and int((truth.mask == 255).sum()) == 4
    assert [c.name for c in read("pennfudan", pennfudan, classes=["ground", "cell"]).classes] == ["ground", "cell"]
    refuses("two classes", pennfudan, "pennfudan", classes=["a", "b", "c"])
    refuses("cannot be ignored", pennfudan, "pennfudan", ignore=[0])


def test_pennfudan_mistakes(pennfudan):
    picture(pennfudan / "PNGImages" / "alone.png")
    save(pennfudan / "PedMasks" / "ghost_mask.png", np.zeros((H, W)))
    source = read("pennfudan", pennfudan)
    assert [r.file for r in source.refused] == ["PNGImages/alone.png", "PedMasks/ghost_mask.png"]
    save(pennfudan / "PedMasks" / "x_mask.png", np.where(np.eye(H, W), 255, 0))
    refuses("PedMasks/x_mask.png holds the values 0/255", pennfudan, "pennfudan")
    save(pennfudan / "PedMasks" / "x_mask.png", np.zeros((H + 1, W)))
    refuses("PedMasks/x_mask.png is 8x7 pixels", pennfudan, "pennfudan")


def test_names_that_are_not_utf8(pennfudan):
    for name in ("x", "y"):
        (pennfudan / "PNGImages" / f"{name}.png").rename(pennfudan / "PNGImages" / f"{name}\udcff\udce9.png")
    error = refuses(r"PNGImages/x\\udcff\\udce9.png: this name is not UTF-8; rename the file", pennfudan, "pennfudan")
    assert len(error.problems) == 2


# coco ---------------------------------------------------------------------------------------------------------------------------------------------------

SQUARE = [[1, 1, 4, 1, 4, 4, 1, 4]]


def annotation(number, image, category, segmentation, crowd=0):
    return {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": crowd, "area": 1, "bbox": [0, 0, 1, 1]}


def content(annotations, names=("a.jpg", "b.jpg"), categories=((7, "cat"), (90, "dog"))):
    return {
        "images": [{"id": 100 + i, "file_name": name, "height": H, "width": W} for i, name in enumerate(names)],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in categories],
    }


def write(root, split, value, folder=None, names=("a.jpg", "b.jpg")):
    (root / "annotations").mkdir(exist_ok=True, parents=True)
    (root / "annotations" / f"instances_{split}.json").write_text(value if isinstance(value, str) else json.dumps(value))
    for name in names:
        picture(root / (folder or split) / name)


def test_coco_sparse_categories_polygons_and_rle(tmp_path):
    mask = np.zeros((H, W), dtype=bool)
    mask[2:5, 3:7] = True
    mask[3, 4] = False  # a hole stays a hole
    runs = [(value, len(list(run))) for value, run in groupby(mask.T.ravel())]  # columns first, beginning with background
    uncompressed = {"size": [H, W], "counts": [length for _, length in runs]}
    assert not runs[0][0]
    parts = [annotation(1, 100, 7, SQUARE), annotation(2, 100, 90, encode_mask(mask)["segmentation"]), annotation(3, 101, 90, uncompressed, crowd=1)]
    write(tmp_path, "train2017", content(parts))
    source = read("coco", tmp_path)
    assert [(c.name, c.thing) for c in source.classes] == [("background", False), ("cat", True), ("dog", True)]
    assert source.truths == ("index", "instances")
    assert {r.split for r in source.records} == {"train"}
    found = truths(tmp_path, "coco")
    cat, dog = found["train2017/a.jpg"].objects
    assert (cat.label, dog.label) == (1, 2)
    assert (dog.mask == mask).all()
    assert (cat.mask == rle.decode(rle.frPyObjects(SQUARE, H, W))[..., 0].astype(bool)).all()
    (crowd,) = found["train2017/b.jpg"].objects
    assert crowd.crowd and (crowd.mask == mask).all()
    assert ((found["train2017/b.jpg"].mask == 255) == mask).all()


def test_coco_paints_crowds_first_then_larger_objects():
    large, small, group = (np.zeros((H, W), dtype=bool) for _ in range(3))
    large[:5, :5] = small[1:3, 1:3] = group[:, 2:] = True
    mask = paint([SourceObject(2, small), SourceObject(1, large), SourceObject(1, group, crowd=True)], (H, W))
    assert mask[1, 1] == 2 and mask[0, 0] == 1 and mask[0, 3] == 1 and mask[5, 7] == 255 and mask[5, 0] == 0


def test_compressed_rle_is_read_as_pycocotools_writes_it():
    rng = np.random.default_rng(0)
    for density in (0, 0.01, 0.5, 0.99, 1):
        mask = rng.random((37, 91)) < density
        assert (decode_mask(encode_mask(mask)["segmentation"], (37, 91)) == mask).all()


@pytest.mark.parametrize("folder", ["train2017", "train", "images/train2017", "images/train", "images", "."])
def test_coco_finds_the_image_folder(tmp_path, folder):
    write(tmp_path, "train2017", content([]), folder=folder)
    assert [r.image for r in read("coco", tmp_path).records] == [Path(folder) / "a.jpg", Path(folder) / "b.jpg"]
    assert Path(folder) / "b.jpg" in read("coco", tmp_path).files


def test_coco_categories_are_the_union_of_the_splits_by_name(tmp_path):
    write(tmp_path, "train", content([annotation(1, 100, 7, SQUARE)]))
    write(tmp_path, "val", content([annotation(1, 100, 7, SQUARE)], categories=((7, "owl"), (8, "cat"))))
    assert [c.name for c in read("coco", tmp_path).classes] == ["background", "cat", "owl", "dog"]
    found = truths(tmp_path, "coco")
    assert found["train/a.jpg"].objects[0].label == 1 and found["val/a.jpg"].objects[0].label == 2


def test_coco_one_file_without_a_split_name(tmp_path):
    write(tmp_path, "default", content([]), folder="images")
    assert {r.split for r in read("coco", tmp_path).records} == {None}


def test_coco_classes_select_categories(tmp_path):
    write(tmp_path, "train", content([annotation(1, 100, 7, SQUARE), annotation(2, 100, 90, SQUARE)]))
    source = read("coco", tmp_path, classes=["dog"])
    assert [c.name for c in source.classes] == ["background", "dog"] and source.left_out == {"cat": 1}
    assert [o.label for o in truths(tmp_path, "coco", classes=["dog"])["train/a.jpg"].objects] == [1]
    refuses("no category 'dogg'; did you mean 'dog'", tmp_path, "coco", classes=["dogg"])
    with pytest.raises(ValidationError):  # crowds are ignored by themselves
        settings("coco", tmp_path, ignore=[255])


def test_coco_objects_of_no_pixels_are_left_out_and_listed(tmp_path):
    nothing = [[[1, 1, 1, 1, 1, 1]], [[2, 2, 3, 3]], [], {"size": [H, W], "counts": [H * W]}]
    write(tmp_path, "train", content([annotation(i, 100, 7, s) for i, s in enumerate(nothing)]))
    truth = truths(tmp_path, "coco")["train/a.jpg"]
    assert truth.objects == () and [r.reason.split(" of ")[0] for r in truth.refused] == [f"annotation {i}" for i in range(4)]


def boxed(number, image, box, **keys):
    return {"id": number, "image_id": image, "category_id": 7, "bbox": box, **keys}


@pytest.mark.parametrize("segmentation", [{}, {"segmentation": []}, {"segmentation": None}])
def test_coco_boxes_without_any_mask(tmp_path, segmentation):
    boxes = ([1, 1, 2, 3], [-2, 4, 5, 10], [20, 20, 4, 4])
    write(tmp_path, "train", content([boxed(i, 100, box, iscrowd=int(i == 1), **segmentation) for i, box in enumerate(boxes)]))
    assert read("coco", tmp_path).truths == ("boxes",)
    truth = truths(tmp_path, "coco")["train/a.jpg"]
    assert truth.mask is None and [o.mask for o in truth.objects] == [None, None]
    assert [o.box for o in truth.objects] == [(1, 1, 2, 3), (0, 4, 3, 2)]  # cut off at the image's borders
    assert [o.crowd for o in truth.objects] == [False, True]
    assert [r.reason for r in truth.refused] == ["annotation 2 of annotations/instances_train.json covers no pixel"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c["annotations"].append(annotation(9, 555, 7, SQUARE)), "annotation 9 belongs to the image 555"),
        (lambda c: c["annotations"].append(annotation(9, 100, 8, SQUARE)), "annotation 9 is of the category 8"),
        (lambda c: c["annotations"].extend([annotation(8, 100, 7, SQUARE), annotation(9, 100, 7, None)]), "9 of train/a.jpg: it has no `segmentation`"),
        (lambda c: c["annotations"].extend([boxed(8, 100, [1, 1, 2, 2]), boxed(9, 100, [1, 1, 2])]), "9 of train/a.jpg: .*its `bbox` is not"),
        (lambda c: c["annotations"].append(boxed(9, 100, None)), "9 of train/a.jpg: it has no `segmentation`"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, [[1, 2, 3, 4, 5, 6, 7]])), "not lists of x, y pairs"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, [[1, 2, 3, 4, 5, "six"]])), "not lists of x, y pairs"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, {"size": [H, W + 1], "counts": [H * (W + 1)]})), "RLE mask is of size"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, {"size": [H, W], "counts": [3, 4]})), "do not add up"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, {"size": [H, W], "counts": "zzzzPPPP"})), "do not (add up|belong)"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, {"size": [H, W], "counts": "\x01"})), "do not belong there"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, {"size": None, "counts": [H * W]})), "RLE mask is of size None"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, {"size": [H, W], "counts": "a" * 300_000})), "do not belong there"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, {"size": [H, W], "counts": [10**400]})), "do not add up"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, [[1, 2, 3, 4, 5, 10**400]])), "not lists of x, y pairs"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, [[0, 0, 0, 9, 8, 9] * 400_000])), r"outline .* pixels long"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, SQUARE) | {"bbox": [0, 0, 10**400, 1]}), "`bbox` is not"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, SQUARE) | {"bbox": "1 1 3 3"}), "`bbox` is not"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, SQUARE) | {"area": "9"}), "`area` is no number of pixels"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, SQUARE) | {"area": -1}), "`area` is no number of pixels"),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, SQUARE, crowd="0")), 'annotation 9 has the `iscrowd` "0"; it must be the number 0 or 1'),
        (lambda c: c["annotations"].append(annotation(9, 100, 7, SQUARE, crowd=2)), "`iscrowd` 2; it must be"),
        (lambda c: c["annotations"].append(annotation("x" * 9999, 555, 7, SQUARE)), "annotation x{99}… belongs to the image 555"),
        (lambda c: c["annotations"].append({"id": 9}), "lacks category_id or image_id"),
        (lambda c: c["annotations"].append(annotation(9, [1], 7, SQUARE)), "neither a number nor a text"),
        (lambda c: c["images"][0].update(height=H + 1), "train/a.jpg in annotations/instances_train.json is 8x7 pixels"),
        (lambda c: c["images"][0].update(height=float("nan")), "the height of the image 'a.jpg' is 'nan'"),
        (lambda c: c["images"][0].update(height="6"), "the height of the image 'a.jpg' is '6'; it must be a number of pixels"),
        (lambda c: c["images"][0].update(width=[8]), r"the width of the image 'a.jpg' is '\[8\]'"),
        (lambda c: c["images"][0].update(width=10**400), "the width of the image 'a.jpg' is '10{98}…'"),
        (lambda c: c["images"].append({"id": 3, "file_name": "x" * 300}), "'x{99}…', which is in none of"),
        (lambda c: c["images"].append({"id": 3, "file_name": "a\0.jpg"}), r"'a\\x00.jpg', which is in none of"),
        (lambda c: c["images"].append({"id": 3, "file_name": "a\udcff.jpg"}), r"'a\\udcff.jpg', which is in none of"),
        (lambda c: c["images"].append({"id": 3, "file_name": "gone.jpg"}), "'gone.jpg', which is in none of"),
        (lambda c: c["images"].append({"id": 3, "file_name": "../outside.jpg"}), "'../outside.jpg', which is in none of"),
        (lambda c: c["images"].append({"id": 3, "file_name": "../a.jpg"}), "train/a.jpg, as an earlier entry does"),
        (lambda c: c["images"].append({"id": 3, "file_name": "a.jpg"}), "train/a.jpg, as an earlier entry does"),
        (lambda c: c["images"].append({"id": 100, "file_name": "b.jpg"}), r"image ids are not unique \(100\)"),
        (lambda c: c["images"].clear(), "lists no images"),
        (lambda c: c["categories"].append({"id": 7, "name": "cow"}), "category 7 'cow' is there twice"),
        (lambda c: c["categories"].append({"id": 8, "name": "cat"}), "category 8 'cat' is there twice"),
        (lambda c: c["categories"].append({"id": 8, "name": " "}), "category 8 is called ' '; a name has 1 to 200 characters"),
        (lambda c: c["categories"].append({"id": 8, "name": "y" * 201}), "category 8 is called 'y{99}…'"),
        (lambda c: c["categories"].append({"id": 8, "name": "a\nb"}), r"category 8 is called 'a\\nb'; .* can be printed"),
        (lambda c: c["categories"].clear(), "list no categories"),
        (lambda c: c["categories"].extend({"id": 1000 + i, "name": f"n{i}"} for i in range(300)), "302 categories; at most 254"),
        (lambda c: c.pop("categories"), "no list 'categories'"),
    ],
)
def test_coco_mistakes(tmp_path, change, sentence):
    value = content([])
    change(value)
    write(tmp_path, "train", value)
    refuses(sentence, tmp_path, "coco")


def test_coco_objects_are_not_lost_by_the_way_a_crowd_is_written(tmp_path):
    parts = [annotation(i, 100, 7, SQUARE, crowd=crowd) for i, crowd in enumerate((0, 1, False, True, 0.0, None), start=1)]
    parts.append({key: value for key, value in annotation(7, 100, 7, SQUARE).items() if key != "iscrowd"})
    write(tmp_path, "train", content(parts))
    assert [o.crowd for o in truths(tmp_path, "coco")["train/a.jpg"].objects] == [False, True, False, True, False, False, False]


def test_coco_objects_that_are_background(tmp_path):
    value = content([annotation(1, 100, 3, SQUARE), annotation(2, 100, 7, SQUARE)], categories=((3, "background"), (7, "cat")))
    write(tmp_path, "train", value)
    refuses("1 annotations are of the category 'background', which is what no object covers; rename the category", tmp_path, "coco")
    for classes in (["cat"], ["background", "cat"]):
        source = read("coco", tmp_path, classes=classes)
        assert source.left_out == {"background": 1}
        assert [o.label for o in truths(tmp_path, "coco", classes=classes)["train/a.jpg"].objects] == [1]
    value["annotations"].pop(0)
    write(tmp_path, "train", value)
    assert [c.name for c in read("coco", tmp_path).classes] == ["background", "cat"]


def test_coco_an_image_and_a_link_to_it_are_one_image(tmp_path):
    write(tmp_path, "train", content([]))
    (tmp_path / "train" / "b.jpg").unlink()
    (tmp_path / "train" / "b.jpg").symlink_to("a.jpg")
    refuses(r"names the image train/b.jpg, as an earlier entry does \(train/a.jpg, the same file\); an image belongs to one split, once", tmp_path, "coco")


def test_coco_names_that_are_not_utf8(tmp_path):
    write(tmp_path, "train", content([]))
    file = tmp_path / "annotations" / "instances_train.json"
    file.rename(file.with_name("instances_train\udcff.json"))
    refuses(r"name of instances_train\\udcff.json is not UTF-8", tmp_path, "coco")


# polygons -----------------------------------------------------------------------------------------------------------------------------------------------


def drawn(polygon, size):
    return decode_mask([np.asarray(polygon, dtype=float).ravel().tolist()], size)


def covered(polygon, size):
    """Pixels whose centre lies in a polygon, by the number of its edges to the right of them."""
    y, x = (grid + 0.5 for grid in np.mgrid[: size[0], : size[1]].astype(np.longdouble))
    inside = np.zeros(size, dtype=bool)
    points = np.asarray(polygon, dtype=np.longdouble)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


def test_polygons_at_their_image_are_drawn_as_pycocotools_draws_them():
    random = np.random.default_rng(0)
    for _ in range(200):
        height, width = (int(side) for side in random.integers(5, 60, 2))
        polygon = random.uniform((-width, -height), (2 * width, 2 * height), (int(random.integers(3, 9)), 2))
        expected = rle.decode(rle.frPyObjects([polygon.ravel().tolist()], height, width))[..., 0].astype(bool)
        assert (drawn(polygon, (height, width)) == expected).all()


@pytest.mark.parametrize("far", [1e3, 1e7, 1e9, 1e12])
def test_polygons_that_reach_far_are_cut_off_and_not_bent(far):
    """Edges keep their slope; only pixels that an edge crosses may differ."""
    random, size = np.random.default_rng(1), (40, 60)
    seen = 0
    for _ in range(60):
        polygon = random.normal(0, far, (int(random.integers(3, 7)), 2))
        middle = random.uniform((0, 0), size[::-1])
        polygon[1] = 2 * middle - polygon[0]  # so that an edge goes through the image
        expected, found = covered(polygon, size), drawn(polygon, size)
        edge = np.zeros(size, dtype=bool)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                edge |= covered(polygon + np.array([dx, dy]), size) != expected
        assert (found == expected)[~edge].all()
        seen += bool(expected.any() and not expected.all())
    assert seen > 5, "some polygons must end within the image"


def test_a_polygon_far_beyond_its_corners_is_not_clamped_into_them():
    """A thin diagonal strip from far left to far right: clamped to the image, its corners would make another slope."""
    strip = [[-1e7, -1e7 - 3], [1e7, 1e7 - 3], [1e7, 1e7 + 3], [-1e7, -1e7 + 3]]
    y, x = np.mgrid[:30, :30]
    assert (drawn(strip, (30, 30)) == (abs(x - y) <= 3))[abs(abs(x - y) - 3) > 1].all()
    assert not drawn(np.array([[0, 0], [9, 0], [9, 9]]) + np.array([4.4e5, 5.2e6]), (30, 30)).any(), "metres of a map are not pixels"
    assert drawn([[-1e308, -1e308], [1e308, -1e308], [1e308, 1e308], [-1e308, 1e308]], (30, 30)).all()


def test_many_polygons_are_united():
    random = np.random.default_rng(0)
    polygons = [(random.uniform(0, 60, 2) + random.uniform(0, 3, (3, 2))).ravel().tolist() for _ in range(200)]
    expected = rle.decode(rle.merge(rle.frPyObjects(polygons, 60, 60))).astype(bool)
    assert (decode_mask(polygons, (60, 60)) == expected).all()


def test_coco_file_mistakes(tmp_path):
    write(tmp_path, "train", "{")
    refuses("instances_train.json is not valid JSON", tmp_path, "coco")
    write(tmp_path, "train", "[]")
    refuses("holds no COCO annotations", tmp_path, "coco")
    write(tmp_path, "train", content([]))
    write(tmp_path, "train2017", content([]))
    refuses("both annotations of train", tmp_path, "coco")
    (tmp_path / "annotations" / "instances_train2017.json").rename(tmp_path / "annotations" / "instances_rest.json")
    refuses("instances_rest.json says no split", tmp_path, "coco")


@pytest.mark.parametrize(
    ("file", "image", "split"),
    [
        ("annotations.json", "images/{}", None),
        ("result.json", "{}", None),
        ("export/my data.json", "export/pictures/{}", None),
        ("labels/pets_train.json", "somewhere/else/{}", "train"),
        ("train/_annotations.coco.json", "train/{}", "train"),
        ("valid/_annotations.coco.json", "valid/{}", None),  # val alone is no split
        ("annotations/instances_val2017.json", "val2017/{}", None),
        ("annotations/instances_default.json", "images/default/{}", None),
    ],
)
def test_coco_one_file_of_any_name_in_any_place(tmp_path, file, image, split):
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / image.format(name))
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(json.dumps(content([annotation(1, 100, 7, SQUARE)])))
    (tmp_path / "other.json").write_text("{}") if "/" in file else None
    source = read("coco", tmp_path)
    assert [(record.image.as_posix(), record.split) for record in source.records] == [(image.format(name), split) for name in ("a.jpg", "b.jpg")]
    assert Path(file) in source.files and len(truths(tmp_path, "coco")[image.format("a.jpg")].objects) == 1


def test_coco_several_files_without_a_split_are_read_together(tmp_path):
    for name in ("cats", "dogs"):
        picture(tmp_path / "images" / f"{name}.jpg")
        (tmp_path / f"{name}.json").write_text(json.dumps(content([annotation(1, 100, 7, SQUARE)], names=(f"{name}.jpg",))))
    source = read("coco", tmp_path)
    assert [(record.image.name, record.split) for record in source.records] == [("cats.jpg", None), ("dogs.jpg", None)]


def test_coco_images_that_may_be_several(tmp_path):
    for folder in ("one", "two"):
        picture(tmp_path / folder / "a.jpg")
    picture(tmp_path / "one" / "b.jpg")
    (tmp_path / "some.json").write_text(json.dumps(content([])))
    refuses("some.json names the image 'a.jpg', which may be any of one/a.jpg, two/a.jpg; write its path", tmp_path, "coco")


def test_coco_stuff(tmp_path):
    write(tmp_path, "train2017", content([annotation(1, 100, 7, SQUARE)]))
    lawn = content([annotation(1, 100, 120, [[0, 0, 8, 0, 8, 3, 0, 3]]), annotation(2, 100, 130, SQUARE)], categories=((120, "lawn"), (130, "path")))
    (tmp_path / "annotations" / "stuff_train2017.json").write_text(json.dumps(lawn))
    (tmp_path / "annotations" / "captions_train2017.json").write_text(json.dumps({"images": [], "annotations": []}))
    assert [one.name for one in read("coco", tmp_path).classes] == ["background", "cat", "dog"]
    source = read("coco", tmp_path, annotations="stuff")
    assert source.truths == ("index",) and [(one.name, one.thing) for one in source.classes] == [("lawn", False), ("path", False)]
    found = truths(tmp_path, "coco", annotations="stuff")
    expected = np.full((H, W), 255, np.uint8)
    expected[:3], expected[1:4, 1:4] = 0, 1
    np.testing.assert_array_equal(found["train2017/a.jpg"].mask, expected)
    assert not found["train2017/a.jpg"].objects and (found["train2017/b.jpg"].mask == 255).all()
    (tmp_path / "annotations" / "instances_train2017.json").unlink()
    assert read("coco", tmp_path).truths == ("index",)
    refuses("no annotations/panoptic_<split>.json", tmp_path, "coco", annotations="panoptic")


def test_coco_an_image_in_two_splits_is_a_mistake(tmp_path):
    write(tmp_path, "train", content([]), folder="images")
    write(tmp_path, "val", content([]), folder="images")
    refuses("instances_val.json names the image images/a.jpg, as annotations/instances_train.json does", tmp_path, "coco")


# real data ----------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data_format", "folder", "splits", "classes"),
    [
        ("camvid", "camvid", {"train": 367, "val": 101}, 11),
        ("pennfudan", "PennFudanPed", {None: 120}, 2),
        ("coco", "coco_tiny", {"train": 80, "val": 80}, 81),
    ],
)
def test_real_data(data_format, folder, splits, classes):
    root = SHARED / folder
    if not root.is_dir():
        pytest.skip(f"the real data {folder} is not beside the checkout")
    source = read(data_format, root)
    found = [r.split for r in source.records]
    assert {split: found.count(split) for split in set(found)} == splits
    assert len(source.classes) == classes
    record = source.records[0]
    shown = frame(root / record.image)
    assert record.truth(shown).mask.shape == (shown.height, shown.width)
