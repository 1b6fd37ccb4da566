"""The layouts of public data sets: each is read to its known pixels, recognised, and each mistake in it gets its sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import layout_sources as made
import numpy as np
import pytest
from hostile import campaign_of
from layout_sources import OBJECT, OTHER, H, W, save, save_palette, write
from PIL import Image

from segline.data.check import Frame
from segline.data.download import download
from segline.data.formats import catalog
from segline.data.formats.cityscapes_labels import CLASSES
from segline.data.formats.recognition import recognised
from segline.data.prepare import prepare
from segline.data.reading.tree import Tree
from segline.data.sources import Splits
from segline.data.store import IGNORE, PreparedDataset
from segline.errors import DataError

MUTATIONS = 20
"""Of each layout."""

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


@dataclass(frozen=True)
class Layout:
    """A tiny source: the class names of its known pixels (of the object, of row 5, of the rest), and what is said of its objects."""

    word: str
    make: Callable[[Path], Path]
    names: tuple[str, str, str]
    splits: dict[str | None, int]
    objects: tuple[tuple[str, int, bool], ...] = ()  # class, pixels, crowd; in any order
    row_0: str | None = None  # its class, where it is not ignored
    keys: dict[str, Any] = field(default_factory=dict)
    extra: tuple[tuple[int, int, str], ...] = ()  # further known pixels: row, column, class
    sure: float = 0.9  # at least so sure is the format that the folder is its own
    label: str = ""

    def __str__(self) -> str:
        return self.label or self.word


GROUP = (4, 7, "car")
STREET = (("car", 6, False), ("car", 1, True))
LAYOUTS = (
    Layout("cityscapes", made.make_cityscapes, ("car", "sky", "road"), {"train": 2, "val": 1}, STREET, extra=(GROUP,)),
    Layout(
        "cityscapes", lambda root: made.make_cityscapes(root, masks=False), ("car", "sky", "road"), {"train": 2, "val": 1}, STREET, extra=(GROUP,),
        label="cityscapes polygons",
    ),
    Layout("kitti", made.make_kitti, ("car", "sky", "road"), {None: 2}, STREET, extra=(GROUP,)),
    Layout("ade20k", made.make_ade20k, ("flag", "sky", "wall"), {"train": 2, "val": 1}),
    Layout(
        "ade20k", made.make_ade20k_full, ("door", "sky", "wall"), {"train": 1, "val": 1}, (("wall", 26, False), ("door", 6, False), ("sky", 8, False)),
        label="ade20k full 2021",
    ),
    Layout(
        "ade20k", lambda root: made.make_ade20k_full(root, release=2016), ("door", "sky", "wall"), {"train": 1, "val": 1},
        (("wall", 26, False), ("door", 6, False), ("sky", 8, False)), label="ade20k full 2016",
    ),
    Layout("mapillary", made.make_mapillary, ("Bird", "Sky", "Road"), {"train": 2, "val": 1}, (("Bird", 5, False), ("Bird", 1, False))),
    Layout(
        "mapillary", lambda root: made.make_mapillary(root, version="v1.2"), ("Bird", "Sky", "Road"), {"train": 2, "val": 1},
        (("Bird", 5, False), ("Bird", 1, False)), label="mapillary v1.2",
    ),
    Layout("voc", made.make_voc, ("cat", "person", "background"), {"train": 2, "val": 1}, (("cat", 5, False), ("cat", 1, False), ("person", 8, False))),
    Layout(
        "voc", lambda root: made.make_voc(root, colours=True), ("cat", "person", "background"), {"train": 2, "val": 1},
        (("cat", 5, False), ("cat", 1, False), ("person", 8, False)), label="voc colours",
    ),
    Layout("camvid", made.make_camvid_colours, ("car", "sky", "road"), {None: 3}, label="camvid colours"),
    Layout("camvid", made.make_camvid_colours, ("Truck_Bus", "Sky", "Road"), {None: 3}, keys={"labels": "all"}, sure=0, label="camvid 32 colours"),
    Layout("isbi2012", made.make_isbi2012, ("cell", "membrane", "membrane"), {None: 3}, row_0="membrane", sure=0),
    Layout("isbi2012", made.make_isbi2012_stacks, ("cell", "membrane", "membrane"), {None: 12}, row_0="membrane", label="isbi2012 stacks"),
)  # fmt: skip
every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=str)


def settings(word, root, **keys):
    return catalog.get(word).Settings(source=str(root), **keys)


def read(word, root, **keys):
    return catalog.get(word).FORMAT.read(root, settings(word, root, **keys))


def truths(word, root, **keys):
    return [record.truth(Frame(H, W)) for record in read(word, root, **keys).records]


def refuses(sentence, word, root, **keys):
    with pytest.raises(DataError, match=sentence) as caught:
        truths(word, root, **keys)
    return caught.value


# every layout -------------------------------------------------------------------------------------------------------------------------------------------


@every_layout
def test_known_pixels(layout, tmp_path):
    root = layout.make(tmp_path)
    source = read(layout.word, root, **layout.keys)
    names = [c.name for c in source.classes]
    expected = np.full((H, W), names.index(layout.names[2]))
    expected[OTHER], expected[OBJECT] = names.index(layout.names[1]), names.index(layout.names[0])
    expected[0] = IGNORE if layout.row_0 is None else names.index(layout.row_0)
    for row, column, name in layout.extra:
        expected[row, column] = names.index(name)
    for truth in truths(layout.word, root, **layout.keys):
        assert truth.mask.dtype == np.uint8 and (truth.mask == expected).all()
        found = sorted((names[o.label], int(o.mask.sum()), o.crowd) for o in truth.objects)
        assert found == sorted(layout.objects)
    assert source.truths == (("index", "instances") if layout.objects else ("index",))
    splits = [record.split for record in source.records]
    assert {split: splits.count(split) for split in set(splits)} == layout.splits


@every_layout
def test_all_files_are_named(layout, tmp_path):
    root = layout.make(tmp_path)
    (root / "notes.md").write_text("not read")
    files = catalog.get(layout.word).FORMAT.files(root, settings(layout.word, root, **layout.keys))
    source = read(layout.word, root, **layout.keys)
    assert tuple(files) == source.files == tuple(sorted(set(files)))
    assert all((root / file).is_file() for file in files) and Path("notes.md") not in files
    assert all(record.image in source.files or record.content for record in source.records)


@every_layout
def test_recognised_by_its_own_format_alone(layout, tmp_path):
    if not layout.sure:
        pytest.skip("its sightings have tests of their own")
    tree = Tree(layout.make(tmp_path))
    sighting = catalog.get(layout.word).FORMAT.recognise(tree)
    assert sighting is not None and sighting.sure >= layout.sure and sighting.seen
    assert truths(layout.word, tmp_path, **sighting.keys)
    for other in {one.word for one in LAYOUTS} - {layout.word, "camvid"}:
        assert catalog.get(other).FORMAT.recognise(tree) is None, other


@every_layout
def test_prepared_and_read_back(layout, tmp_path):
    """The split of the data set where it has one; what is stored is what was read."""
    root = layout.make(tmp_path / "root")
    chosen = settings(layout.word, root, name="tiny", splits=Splits(val=0.3, test=0.3), **layout.keys)
    download(chosen, root=root, seed=0, target=tmp_path / "raw")
    prepare(chosen, raw=tmp_path / "raw", root=root, target=tmp_path / "prepared")
    data = PreparedDataset(tmp_path / "prepared")
    assert sum(data.info.counts.values()) == sum(layout.splits.values())
    expected = truths(layout.word, root, **layout.keys)[0]
    for split in data.info.counts:
        for sample in data.split(split, data.info.truths):
            assert (sample.mask == expected.mask).all()
            assert len(layout.objects) == (0 if sample.instances is None else len(sample.instances))


@every_layout
def test_a_mask_of_another_size_is_refused(layout, tmp_path):
    record = read(layout.word, layout.make(tmp_path), **layout.keys).records[0]
    with pytest.raises(DataError, match="both must have one size"):
        record.truth(Frame(H + 1, W))


@pytest.mark.parametrize("word", sorted({layout.word for layout in LAYOUTS}))
def test_a_folder_in_another_layout_is_refused(word, tmp_path):
    made.picture(tmp_path / "some" / "picture.png")
    refuses(f"not in the {word} layout.*data.source or data.format", word, tmp_path)
    if word != "camvid":
        assert catalog.get(word).FORMAT.recognise(Tree(tmp_path)) is None


def masks_of(root):
    return [f for f in sorted(root.rglob("*.png")) if "image" not in f.parent.name.lower() and "leftImg8bit" not in f.parts and "Stills" not in f.parent.name]


@every_layout
def test_a_damaged_mask_is_a_sentence(layout, tmp_path):
    root = layout.make(tmp_path)
    if layout.label in ("isbi2012 stacks", "cityscapes polygons"):
        pytest.skip("it has no mask files")
    for mask in masks_of(root):
        mask.write_bytes(mask.read_bytes()[:40])
    refuses("cannot be decoded", layout.word, root, **layout.keys)


@pytest.mark.parametrize("word", ["cityscapes", "kitti", "ade20k", "mapillary"])
def test_classes_are_picked_by_name(word, tmp_path):
    layout = next(one for one in LAYOUTS if one.word == word)
    root = layout.make(tmp_path)
    first, second = layout.names[1], layout.names[0]
    truth = truths(word, root, classes=[first, second])[0]
    assert [c.name for c in read(word, root, classes=[first, second]).classes] == [first, second]
    assert (truth.mask[OTHER] == 0).all() and (truth.mask[OBJECT] == 1).all() and (truth.mask[3] == IGNORE).all()
    refuses(f"no label '{first}x'; did you mean '{first}'", word, root, classes=[f"{first}x"])


# what is each layout's own ------------------------------------------------------------------------------------------------------------------------------


def test_cityscapes_has_the_19_official_classes_in_the_order_of_their_train_ids():
    assert len(CLASSES) == 19 and CLASSES[:3] == ("road", "sidewalk", "building") and CLASSES[11:] == (
        "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    )  # fmt: skip


def test_cityscapes_polygons_say_what_the_masks_say(tmp_path):
    made.make_cityscapes(tmp_path, polygons=True)
    both = truths("cityscapes", tmp_path)
    for file in [*tmp_path.rglob("*_labelIds.png"), *tmp_path.rglob("*_instanceIds.png")]:
        file.unlink()
    drawn = truths("cityscapes", tmp_path)
    for one, other in zip(both, drawn, strict=True):
        assert (one.mask == other.mask).all()
        assert {(o.label, o.crowd, o.mask.tobytes()) for o in one.objects} == {(o.label, o.crowd, o.mask.tobytes()) for o in other.objects}


def test_cityscapes_with_label_ids_alone_has_no_objects(tmp_path):
    made.make_cityscapes(tmp_path)
    for file in tmp_path.rglob("*_instanceIds.png"):
        file.unlink()
    assert read("cityscapes", tmp_path).truths == ("index",)
    (tmp_path / "gtFine" / "train" / "aachen" / "aachen_000000_000019_gtFine_instanceIds.png").write_bytes(b"")
    source = read("cityscapes", tmp_path)
    assert len(source.records) == 1 and len(source.refused) == 2


def test_cityscapes_leaves_the_test_split_out(tmp_path):
    made.make_cityscapes(tmp_path)
    for part in ("leftImg8bit", "gtFine"):
        (tmp_path / part / "val").rename(tmp_path / part / "test")
    source = read("cityscapes", tmp_path)
    assert {r.split for r in source.records} == {"train"} and "not public" in source.refused[0].reason
    assert {r.split for r in read("cityscapes", tmp_path, test=True).records} == {"train", "test"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c["objects"].append({"label": "cat", "polygon": made.square(0, 0, 2, 2)}), "object 10: there is no label 'cat'"),
        (lambda c: c["objects"].append({"label": "car", "polygon": [[0, 0], [1, 1]]}), r"object 10 \(car\): its polygon is no list of at least 3 points"),
        (lambda c: c["objects"].append({"label": "car", "polygon": [[0, 0], [1, 1], [1, 1e300]]}), "no list of at least 3 points"),
        (lambda c: c["objects"].append({"label": "car", "polygon": [[0, 0], [1, 1], [1, float("nan")]]}), "no list of at least 3 points"),
        (lambda c: c["objects"].append({"label": "car"}), "holds no polygons of Cityscapes"),
        (lambda c: c.update(imgHeight="6"), "must be numbers of pixels"),
        (lambda c: c.update(imgHeight=7), "both must have one size"),
        (lambda c: c.pop("objects"), "holds no polygons of Cityscapes"),
    ],
)
def test_cityscapes_polygon_mistakes(tmp_path, change, sentence):
    made.make_cityscapes(tmp_path, masks=False)
    file = sorted(tmp_path.rglob("*_polygons.json"))[0]
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    refuses(sentence, "cityscapes", tmp_path)


def test_unknown_labels_are_told_with_their_share(tmp_path):
    made.make_kitti(tmp_path)
    save(tmp_path / "training" / "semantic" / "000000_10.png", made.known(99, 7, 26, 23))
    refuses(r"semantic/000000_10.png holds the unknown label value 99 in 16.7 % of its pixels", "kitti", tmp_path)


def test_ade20k_names(tmp_path):
    made.make_ade20k(tmp_path)
    base = tmp_path / "ADEChallengeData2016"
    rows = [f"{i}\t0.1\t1\t1\t0\tname {i}, other {i}" for i in range(1, 151)]
    rows[2] = "3\t0.1\t1\t1\t0\tname 1, sky"
    rows[0] = "1\t0.1\t1\t1\t0\tname 1, wall"
    write(base / "objectInfo150.txt", "\n".join(["Idx\tRatio\tTrain\tVal\tStuff\tName", *rows]))
    names = [c.name for c in read("ade20k", tmp_path).classes]
    assert names[:4] == ["name 1, wall", "name 2", "name 1, sky", "name 4"] and len(names) == 150
    write(base / "objectInfo150.txt", "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1\t1\t1\t0\twall\n7\t0.1\t1\t1\t0\tbuilding\nodd line")
    refuses("line 4: it must begin with the label's number", "ade20k", tmp_path)
    write(base / "objectInfo150.txt", "Idx\tName\n1\twall\n²\tbuilding\n" + "9" * 5000 + "\tsky")
    refuses("line 3: it must begin with the label's number.*\n.*line 4: it must begin", "ade20k", tmp_path)


def test_ade20k_full_set_mistakes(tmp_path):
    made.make_ade20k_full(tmp_path)
    file = next(tmp_path.rglob("*.json"))
    file.write_text("{}")
    refuses("holds no annotation of ADE20K", "ade20k", tmp_path)
    file.write_text('{"annotation": {"object": [{"name": "wall", "name_ndx": 1e400}]}}')
    refuses("holds no annotation of ADE20K", "ade20k", tmp_path)
    file.write_text(json.dumps({"annotation": {"object": [{"name": "wall", "name_ndx": 2978}]}}))
    refuses("holds the class 775, which .* does not name", "ade20k", tmp_path)
    file.unlink()
    assert "to say what its numbers mean" in read("ade20k", tmp_path).refused[0].reason


def test_mapillary_mistakes(tmp_path):
    made.make_mapillary(tmp_path)
    refuses("needs config_v1.2.json or config.json", "mapillary", tmp_path, annotations="v1.2")
    write(tmp_path / "config_v2.0.json", "[]")
    refuses("holds no list `labels`", "mapillary", tmp_path)
    write(tmp_path / "config_v2.0.json", {"labels": [{"name": "a"}, {"name": "a"}]})
    refuses("two labels are called 'a'", "mapillary", tmp_path)
    for nothing in ({}, [], [{"name": "a", "evaluate": False}]):
        write(tmp_path / "config_v2.0.json", {"labels": nothing})
        refuses("none is a class", "mapillary", tmp_path)


def test_voc_colours_are_the_official_ones():
    assert made.palette(256)[:4] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
    assert made.palette(256)[15] == (192, 128, 128) and made.palette(256)[255] == (224, 224, 192)


def test_voc_boxes_where_there_is_no_mask(tmp_path):
    made.make_voc_boxes(tmp_path)
    source = read("voc", tmp_path)
    assert source.truths == ("boxes",) and [c.name for c in source.classes][:2] == ["background", "aeroplane"]
    cat, person = truths("voc", tmp_path)[0].objects
    assert cat.box == (2, 1, 3, 2) and person.box == (0, 5, 8, 1)  # corners count from 1 and belong to the box
    assert (cat.crowd, person.crowd) == (False, True) and cat.mask is None
    assert read("voc", tmp_path, classes=["cat"]).left_out == {"person": 3}
    sighting = catalog.get("voc").FORMAT.recognise(Tree(tmp_path))
    assert sighting is not None and sighting.sure >= 0.9


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<annotation><object><name>cat</name></object></annotation>", "object 1: it needs a name, and a bndbox"),
        ("<annotation", "is no XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "declares entities"),
        ("<annotation><size><width>9</width><height>6</height></size></annotation>", "both must have one size"),
    ],
)
def test_voc_box_mistakes(tmp_path, text, sentence):
    made.make_voc_boxes(tmp_path)
    write(tmp_path / "Annotations" / "a.xml", text)
    refuses(sentence, "voc", tmp_path)


def test_voc_lists_and_masks_that_disagree(tmp_path):
    base = made.make_voc(tmp_path) / "VOCdevkit" / "VOC2012"
    lists = base / "ImageSets" / "Segmentation"
    write(lists / "val.txt", "2007_000042\n2007_000099\n2007_000032\nnowhere\n")
    error = refuses(r"val.txt, line 3, names 2007_000032, as .*train.txt, line 1 does", "voc", tmp_path)
    assert len(error.problems) == 2 and "line 4, names nowhere" in error.problems[1]
    write(lists / "val.txt", "2007_000042\n2007_000099\n")
    assert [r.file for r in read("voc", tmp_path).refused] == ["VOCdevkit/VOC2012/JPEGImages/2007_000099.jpg"]
    save_palette(base / "SegmentationObject" / "2007_000042.png", made.known(255, 7, 1, 3), made.palette(256))
    refuses("the object 7 lies where .*SegmentationClass/2007_000042.png shows no class", "voc", tmp_path)
    save(base / "SegmentationClass" / "2007_000042.png", np.full((H, W, 3), 77))
    refuses(r"holds the colour #4d4d4d \(x 0, y 0\), which no class has", "voc", tmp_path)


def test_voc_labelmap_of_an_annotation_tool(tmp_path):
    base = made.make_voc(tmp_path, colours=True) / "VOCdevkit" / "VOC2012"
    for name in ("2007_000032", "2007_000033", "2007_000042"):
        save(base / "SegmentationClass" / f"{name}.png", np.array([(0, 0, 0), (250, 50, 83), (1, 2, 3)])[made.known(0, 0, 1, 2)])
    write(base / "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\nkitten:250,50,83::\npuppy:1,2,3::\n")
    source = read("voc", tmp_path)
    assert [c.name for c in source.classes] == ["background", "kitten", "puppy"]
    assert set(np.unique(truths("voc", tmp_path)[0].mask)) == {0, 1, 2}
    write(base / "labelmap.txt", "kitten=1,2,3\nbackground:0,0,300::\n")
    assert len(refuses("is not name:red,green,blue", "voc", tmp_path).problems) == 2


def test_camvid_colour_mistakes(tmp_path):
    made.make_camvid_colours(tmp_path)
    mask = tmp_path / "LabeledApproved_full" / "0001TP_006690_L.png"
    pixels = np.array(Image.open(mask))
    pixels[0, 0] = 9
    save(mask, pixels)
    refuses(r"holds colours that no label has \(#090909\), in 2.1 % of its pixels", "camvid", tmp_path)
    write(tmp_path / "label_colors.txt", "1 2 3\tRoad\n4 5\tSky\n")
    refuses("line 2: '4 5.*' is not red, green, blue and a name", "camvid", tmp_path)
    write(tmp_path / "label_colors.txt", "1 2 3\tDragon\n")
    refuses("labels that are not CamVid's", "camvid", tmp_path)


def test_camvid_colours_by_csv_and_in_folders_of_splits(tmp_path):
    made.make_camvid_colours(tmp_path)
    (tmp_path / "label_colors.txt").unlink()
    write(tmp_path / "class_dict.csv", "name,r,g,b\nVoid,0,0,0\nRoad,128,64,128\nTruck_Bus,192,128,192\nSky,128,128,128\n")
    for number, file in enumerate(sorted((tmp_path / "701_StillsRaw_full").iterdir())):
        split = "val" if number == 2 else "train"
        for kind, moved in (("", file), ("_labels", tmp_path / "LabeledApproved_full" / f"{file.stem}_L.png")):
            (tmp_path / f"{split}{kind}").mkdir(exist_ok=True)
            moved.rename(tmp_path / f"{split}{kind}" / moved.name)
    source = read("camvid", tmp_path, labels="all")
    assert [r.split for r in source.records] == ["train", "train", "val"]
    assert [c.name for c in source.classes] == ["Road", "Truck_Bus", "Sky"]


def test_isbi2012_stacks_of_unlike_length(tmp_path):
    made.make_isbi2012_stacks(tmp_path)
    Image.fromarray(np.zeros((H, W), np.uint8)).save(tmp_path / "train-labels.tif")
    refuses("train-volume.tif has 12 pages and train-labels.tif 1", "isbi2012", tmp_path)


def test_isbi2012_masks_are_black_and_white(tmp_path):
    made.make_isbi2012(tmp_path)
    save(tmp_path / "masks" / "01.png", made.known(0, 0, 1, 0))
    refuses("masks/01.png holds the label values 0, 1; a mask of the isbi2012 layout is 0 and 255 alone", "isbi2012", tmp_path)


def test_isbi2012_real_data():
    root = SHARED / "isbi2012"
    if not root.is_dir():
        pytest.skip("the real data isbi2012 is not beside the checkout")
    source = read("isbi2012", root)
    assert len(source.records) == 24 and source.records[0].truth(Frame(512, 512)).mask.mean() > 0.5
    found, others = recognised(Tree(root.resolve()))
    assert (found.word, found.sighting.keys, others) == ("isbi2012", {}, ())


def net_of_cells(number):
    """A mask as the challenge's: straight membranes 6 pixels wide around cells."""
    mask = np.full((512, 512), 255, np.uint8)
    for start in range(number % 20, 512, 24):
        mask[start : start + 3], mask[:, start : start + 3] = 0, 0
    return mask


def block(_):
    """A mask with as much black in one place."""
    return np.pad(np.zeros((200, 200), np.uint8), 156, constant_values=255)


@pytest.mark.parametrize(
    ("folders", "mask_of", "word", "classes"),
    [
        (("images", "masks"), net_of_cells, "isbi2012", ["membrane", "cell"]),
        (("photos", "labels"), net_of_cells, "masks", ["background", "foreground"]),  # the format's own folders are called otherwise
        (("images", "masks"), lambda number: 255 - net_of_cells(number), "masks", ["background", "foreground"]),
        (("images", "masks"), block, "masks", ["background", "foreground"]),
    ],
)
def test_isbi2012_is_told_from_other_black_and_white_masks(tmp_path, folders, mask_of, word, classes):
    """By what the masks show: the names are shuffled, and say nothing."""
    for place, number in enumerate(np.random.default_rng(2).permutation(5).tolist()):
        noise = np.random.default_rng(number).integers(0, 255, (512, 512)).astype(np.uint8)
        for folder, pixels in zip(folders, (noise, mask_of(number)), strict=True):
            save(tmp_path / folder / f"K{place}-{number}.png", pixels)
    found, others = recognised(Tree(tmp_path))
    assert (found.word, others) == (word, ())
    reader = catalog.get(found.word).FORMAT
    source = reader.read(tmp_path, found.settings(tmp_path))
    assert [one.name for one in source.classes] == classes and len(source.records) == 5
    truth = source.records[0].truth(Frame(512, 512))
    with Image.open(tmp_path / folders[1] / source.records[0].image.name) as mask:
        np.testing.assert_array_equal(truth.mask, np.asarray(mask) == 255)


# damage -------------------------------------------------------------------------------------------------------------------------------------------------

mutations = campaign_of("mutations")
DAMAGED = {
    "cityscapes": ("cityscapes", lambda root: made.make_cityscapes(root, polygons=True), {}),
    "cityscapes polygons": ("cityscapes", lambda root: made.make_cityscapes(root, masks=False), {}),
    "kitti": ("kitti", made.make_kitti, {}),
    "ade20k": ("ade20k", made.make_ade20k, {}),
    "ade20k full 2021": ("ade20k", made.make_ade20k_full, {}),
    "ade20k full 2016": ("ade20k", lambda root: made.make_ade20k_full(root, release=2016), {}),
    "mapillary": ("mapillary", made.make_mapillary, {}),
    "voc": ("voc", made.make_voc, {}),
    "voc boxes": ("voc", made.make_voc_boxes, {}),
    "camvid colours": ("camvid", made.make_camvid_colours, {"labels": "all"}),
    "isbi2012 stacks": ("isbi2012", made.make_isbi2012_stacks, {}),
}


def damage(root, random):
    """One file of the truth, a place of its JSON or some of its bytes; or a file is gone, empty or a folder."""
    files = [file for file in sorted(root.rglob("*.*")) if file.is_file() and file.suffix != ".jpg"]
    file = files[int(random.integers(0, len(files)))]
    kind = random.random()
    if kind < 0.1:
        file.unlink()
        if kind < 0.03:
            file.mkdir()
    elif file.suffix == ".json" and kind < 0.8:
        file.write_text(json.dumps(mutations.damaged_tree(json.loads(file.read_text()), random)[0]))
    else:
        file.write_bytes(mutations.damaged_bytes(file.read_bytes(), random))


def damaged_truth(word, root, keys):
    """All truth of a source that can be read, its classes, and the sentences for the rest."""
    told, found = [], []
    try:
        source = read(word, root, **keys)
    except DataError as error:
        return [], 0, list(error.problems)
    assert all((root / file).resolve().is_relative_to(root.resolve()) for file in source.files)
    for record in source.records:
        try:
            found.append(record.truth(Frame(H, W)))
        except DataError as error:
            told += error.problems
    return found, len(source.classes), told


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_end_in_truth_or_in_sentences(name, tmp_path):
    word, make, keys = DAMAGED[name]
    for number in range(MUTATIONS):
        root = make(tmp_path / str(number))
        damage(root, np.random.default_rng([7, number]))
        found, classes, told = damaged_truth(word, root, keys)
        assert all(0 < len(sentence) < 1500 for sentence in told)
        for truth in found:
            assert truth.mask is None or (truth.mask.shape == (H, W) and set(np.unique(truth.mask)) <= {*range(classes), IGNORE})
            assert all(0 <= one.label < classes and (one.mask is None or one.mask.any()) for one in truth.objects)
        catalog.get(word).FORMAT.recognise(Tree(root))
