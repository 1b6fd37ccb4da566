"""The formats of annotation tools: what each says of one scene becomes its known pixels, and what is wrong in it a sentence."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hostile import campaign_of
from PIL import Image, ImageDraw

from segline.data.check import Frame
from segline.data.formats import catalog
from segline.data.masks import Box, Ellipse, Outline
from segline.data.reading.tree import Tree
from segline.data.tool_shapes import FilledEllipse, TouchedCircle
from segline.errors import DataError

tools = campaign_of("tool_sources")
H, W, CAT, DOG = tools.H, tools.W, tools.CAT, tools.DOG
FORMATS = {source.word: source for source in tools.SOURCES}
every_tool = pytest.mark.parametrize("source", tools.SOURCES, ids=lambda source: source.word)


def read(word, root, **keys):
    return catalog.get(word).FORMAT.read(root, catalog.get(word).Settings(source=str(root), **keys))


def truths(word, root, **keys):
    """{stem of the image: truth}, or DataError with the problems of all images."""
    found = {}
    for record in read(word, root, **keys).records:
        with Image.open(root / record.image) as image:
            found[record.image.stem] = record.truth(Frame(image.height, image.width))
    return found


def refuses(sentence, word, root, **keys):
    with pytest.raises(DataError, match=sentence) as caught:
        truths(word, root, **keys)
    for problem in caught.value.problems:
        assert len(problem) < 600 and problem.rstrip().endswith((".", "?"))
    return caught.value


def named(source, truth):
    return Counter((source.classes[one.label].name, one.mask.tobytes()) for one in truth.objects)


def painted(names, objects):
    """A mask of classes on which objects were laid one above the other."""
    mask = np.zeros((H, W), np.uint8)
    for name, one in objects:
        mask[one] = names.index(name)
    return mask


def edit(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


# every tool ---------------------------------------------------------------------------------------------------------------------------------------------


@every_tool
def test_the_scene_is_read_to_the_pixel(source, tmp_path):
    root = source.make(tmp_path)
    found, by_name = read(source.word, root), truths(source.word, root)
    names = [one.name for one in found.classes]
    assert names[0] == "background" and not found.classes[0].thing
    assert found.truths == source.truths
    if "instances" in source.truths:
        assert named(found, by_name["a"]) == Counter((name, mask.tobytes()) for name, mask in source.objects)
        [only] = by_name["b"].objects
        assert (only.mask == tools.rect(*CAT)).all()
    # What is drawn later lies above; each later one of the scene is the smaller one, too.
    np.testing.assert_array_equal(by_name["a"].mask, painted(names, source.objects))
    np.testing.assert_array_equal(by_name["b"].mask, painted(names, source.objects[:1]))


@every_tool
def test_folders_and_files_tell_the_splits(source, tmp_path):
    root = source.make(tmp_path)
    assert {record.image.stem: record.split for record in read(source.word, root).records} == {"a": "train", "b": "val"}


@every_tool
def test_what_no_tool_wrote_is_not_read(source, tmp_path):
    """Each file that is read is listed, and no other."""
    root = source.make(tmp_path)
    (root / "notes.md").write_text("not read")
    tools.picture(root / "elsewhere" / "unused.png")
    files = catalog.get(source.word).FORMAT.files(root, catalog.get(source.word).Settings(source=str(root)))
    assert files == sorted(set(files)) and tuple(files) == read(source.word, root).files
    there = {file.relative_to(root) for file in root.rglob("*") if file.is_file()}
    assert set(files) == there - {Path("notes.md"), Path("elsewhere/unused.png")}


@every_tool
def test_a_folder_is_recognised_by_its_own_format_alone(source, tmp_path):
    tree = Tree(source.make(tmp_path))
    sure = {}
    for word in catalog.FORMATS:
        recognise = getattr(catalog.get(word).FORMAT, "recognise", None)
        if recognise is not None and (sighting := recognise(tree)) is not None:
            sure[word] = sighting.sure
    assert max(sure, key=sure.__getitem__) == source.word and sure.pop(source.word) >= 0.8
    assert all(value < 0.8 for value in sure.values())


@every_tool
def test_nothing_is_recognised_in_other_folders(source, tmp_path):
    tools.picture(tmp_path / "images" / "a.png")
    (tmp_path / "notes.json").write_text('{"a": [1]}')
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "some.xml").write_text("<a/>")
    (tmp_path / "a.yaml").write_text("b: 1")
    (tmp_path / "read.txt").write_text("hello")
    assert catalog.get(source.word).FORMAT.recognise(Tree(tmp_path)) is None


@every_tool
def test_classes_are_chosen_and_ordered(source, tmp_path):
    root = source.make(tmp_path)
    cat, dog = source.objects[0][0], source.objects[1][0]
    assert [one.name for one in read(source.word, root, classes=[dog, cat]).classes] == ["background", dog, cat]
    chosen = read(source.word, root, classes=[dog])
    mask = truths(source.word, root, classes=[dog])["a"].mask
    assert [one.name for one in chosen.classes] == ["background", dog]
    np.testing.assert_array_equal(mask, np.logical_or.reduce([one for name, one in source.objects if name == dog]))
    if "instances" in source.truths:
        assert chosen.left_out[cat] == 1 + sum(name == cat for name, _ in source.objects)
    refuses(f"nothing is called '{dog}s'; did you mean '{dog}'", source.word, root, classes=[f"{dog}s"])


@every_tool
def test_an_image_that_is_gone_is_told(source, tmp_path):
    root = source.make(tmp_path)
    [image] = (file for file in root.rglob("b.*") if file.suffix in (".png", ".jpg") and file.parent.name != "labels")
    image.unlink()
    if source.word == "roboflow":  # whose masks name no image
        assert [record.image.stem for record in read("roboflow", root).records] == ["a"]
    else:
        refuses(r"b\.(png|jpg)|val is 'images/val', and there is no such folder", source.word, root)


@every_tool
def test_truth_of_another_size_is_refused(source, tmp_path):
    root = source.make(tmp_path)
    record = read(source.word, root).records[0]
    if source.word in ("via", "yolo", "deepfashion2"):  # whose files do not say the image's size
        with pytest.raises(DataError, match=r"set data\.orientation"):
            record.truth(Frame(H, W, open=True))
    else:
        with pytest.raises(DataError, match="both must have one size"):
            record.truth(Frame(H + 1, W))


@every_tool
@pytest.mark.parametrize("damage", ["empty", "cut", "null", "list", "binary", "deep"])
def test_damaged_files_end_in_sentences(source, tmp_path, damage):
    root = source.make(tmp_path)
    for file in sorted(root.rglob("*")):
        if file.suffix in (".json", ".ndjson", ".xml", ".txt", ".yaml", ".csv"):
            content = file.read_bytes()
            file.write_bytes(
                {
                    "empty": b"",
                    "cut": content[: len(content) // 2],
                    "null": b"null",
                    "list": b"[" + content + b"]",
                    "binary": bytes(range(256)) * 4,
                    "deep": content[:-1] + b"[" * 5000,
                }[damage]
            )
    refuses(".", source.word, root)


# shapes -------------------------------------------------------------------------------------------------------------------------------------------------


def test_shapes_cover_the_pixels_whose_centre_they_hold():
    y, x = np.mgrid[:40, :50] + 0.5
    random = np.random.default_rng(0)
    for _ in range(50):
        cx, cy, rx, ry, turn = random.uniform((-5, -5, 0.2, 0.2, -400), (55, 45, 30, 30, 400))
        c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        inside = (((x - cx) * c + (y - cy) * s) / rx) ** 2 + (((y - cy) * c - (x - cx) * s) / ry) ** 2 <= 1
        np.testing.assert_array_equal(Ellipse(cx, cy, rx, ry, turn).draw((40, 50)), inside)
    assert not Ellipse(5, 5, 0, 3).draw((9, 9)).any() and not Ellipse(1e300, -1e300, 1e300, 1).draw((9, 9)).any()
    assert Ellipse(4, 4, 1e300, 1e300).draw((9, 9)).all()
    np.testing.assert_array_equal(Box(3, 4, 10, 6).draw((40, 50)), (x > 3) & (x < 13) & (y > 4) & (y < 10))
    np.testing.assert_array_equal(Box(0.25, 0.5, 0.5, 0.25, relative=True).draw((40, 48)), Box(12, 20, 24, 10).draw((40, 48)))
    turned = Box(10, 10, 20, 10).turned(90).draw((40, 50))
    np.testing.assert_array_equal(turned, Box(15, 5, 10, 20).draw((40, 50)))
    leaning = Box(10, 10, 24, 8).turned(30).points  # clockwise: its right end sinks
    assert leaning[1][1] > leaning[0][1]


def test_our_rule_and_pillows_differ_by_pixels_of_the_outline_alone():
    """labelme's own exports are drawn by Pillow, which counts each pixel that an outline touches."""
    random = np.random.default_rng(1)
    for _ in range(100):
        middle, radius = random.uniform((20, 20), (60, 50)), random.uniform(6, 25)
        turns = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(5, 12))))
        points = middle + radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        ours = Outline(points).draw((70, 80))
        image, line = Image.new("1", (80, 70)), Image.new("1", (80, 70))
        ImageDraw.Draw(image).polygon([tuple(point) for point in points], fill=1, outline=1)
        ImageDraw.Draw(line).line([tuple(point) for point in (*points, points[0])], fill=1, width=3)
        assert not ((ours != np.asarray(image)) & ~np.asarray(line)).any()


def test_holes_are_cut_out_of_an_outline():
    square = np.array(tools.corners((2, 2, 20, 20)))
    hole = np.array(tools.corners((5, 5, 9, 9)))
    expected = tools.rect(2, 2, 20, 20) & ~tools.rect(5, 5, 9, 9)
    np.testing.assert_array_equal(Outline(square, (hole,)).draw((H, W)), expected)


# labelme ------------------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def labelme(tmp_path):
    return tools.labelme(tmp_path)


def shapes_of(*shapes):
    return lambda content: content.update(shapes=[{"label": "cat", **shape} for shape in shapes])


def test_labelme_circles_and_lines(labelme):
    circle = {"points": [[10, 10], [14, 13]], "shape_type": "circle"}
    edit(labelme / "train" / "a.json", shapes_of(circle, {"points": [[1, 1], [5, 5]], "shape_type": "line"}, {"points": [[1, 1]], "shape_type": "point"}))
    np.testing.assert_array_equal(truths("labelme", labelme)["a"].objects[0].mask, TouchedCircle(10, 10, 14, 13).draw((H, W)))
    assert read("labelme", labelme).left_out == {"line (drawn, but no area)": 1, "point (drawn, but no area)": 1}


def test_labelme_what_is_drawn_later_lies_above(labelme):
    small = {"label": "dog", "points": tools.rim((4, 4, 8, 8)), "shape_type": "polygon"}
    edit(labelme / "train" / "a.json", shapes_of(small, {"points": tools.rim(CAT)}))
    truth = truths("labelme", labelme)["a"]
    assert not (truth.mask == 2).any() and sorted(int(one.mask.sum()) for one in truth.objects) == [16, 100]


def test_labelme_fills_as_labelme_does_unless_it_is_asked_not_to(labelme):
    """Its own exports draw polygons, circles and rectangles by Pillow."""
    polygon, circle, corners = [[2.4, 3.1], [20.6, 5.2], [13.3, 18.9]], [[10.2, 10.7], [14, 13]], [[3.7, 4.2], [12.1, 9.9]]
    shapes = [{"points": polygon}, {"points": circle, "shape_type": "circle"}, {"points": corners, "shape_type": "rectangle"}]
    edit(labelme / "train" / "a.json", shapes_of(*shapes))
    found = [one.mask for one in truths("labelme", labelme)["a"].objects]
    radius = math.hypot(3.8, 2.3)
    for mask, (draw, where) in zip(
        found,
        [
            ("polygon", [tuple(point) for point in polygon]),
            ("ellipse", [10.2 - radius, 10.7 - radius, 10.2 + radius, 10.7 + radius]),
            ("rectangle", [tuple(point) for point in corners]),
        ],
        strict=True,
    ):
        image = Image.new("L", (W, H))
        getattr(ImageDraw.Draw(image), draw)(where, outline=1, fill=1)
        np.testing.assert_array_equal(mask, np.asarray(image) == 1)
    assert all(mask.sum() > one.mask.sum() for mask, one in zip(found, truths("labelme", labelme, fill="centre")["a"].objects, strict=True))
    edit(labelme / "train" / "a.json", shapes_of({"points": [[0, 0], [1e9, 1e300]], "shape_type": "circle"}, {"points": [[-1e300, 0], [1e300, 0], [5, 1e300]]}))
    refuses("its circle has a radius of 1e.300 pixels", "labelme", labelme)
    assert len(truths("labelme", labelme, fill="centre")["a"].objects) == 2


def test_what_lies_above_of_groups(labelme, tmp_path):
    """labelme draws part by part; CVAT the whole group where its uppermost part lies."""
    group = [{"points": tools.rim(box), "group_id": 4} for box in tools.PARTS]
    below = {"label": "dog", "points": tools.rim((22, 2, 30, 22))}
    edit(labelme / "train" / "a.json", shapes_of(*group, below))
    assert (truths("labelme", labelme)["a"].mask[tools.PARTED] == 2).all()
    edit(labelme / "train" / "a.json", shapes_of(group[0], below, group[1]))
    mask = truths("labelme", labelme)["a"].mask
    assert (mask[tools.rect(*tools.PARTS[0])] == 2).all() and (mask[tools.rect(*tools.PARTS[1])] == 1).all()
    root = tools.cvat(tmp_path / "cvat")
    replaced(root, "<points .*?</points>", '<box label="cat" xtl="22" ytl="2" xbr="30" ybr="22" z_order="0"/>')
    assert (truths("cvat", root)["a"].mask[tools.PARTED] == 1).all()


def test_labelme_background_and_ignored(labelme):
    hidden = {"label": "__ignore__", "points": tools.rim((2, 3, 4, 5))}
    edit(labelme / "train" / "a.json", shapes_of({"points": tools.rim(CAT)}, {"label": "_background_", "points": tools.rim((6, 6, 8, 8))}, hidden))
    truth = truths("labelme", labelme)["a"]
    expected = tools.rect(*CAT).astype(np.uint8)
    expected[6:8, 6:8], expected[3:5, 2:4] = 0, 255
    np.testing.assert_array_equal(truth.mask, expected)
    assert len(truth.objects) == 1 and [one.name for one in read("labelme", labelme).classes] == ["background", "cat"]


@pytest.mark.parametrize("path", ["../pictures/a.png", "C:\\Users\\me\\pictures\\a.png", "/home/me/a.png", "a.png"])
def test_labelme_images_in_other_folders(labelme, path):
    (labelme / "pictures").mkdir()
    (labelme / "train" / "a.png").rename(labelme / "pictures" / "a.png")
    edit(labelme / "train" / "a.json", lambda content: content.update(imagePath=path))
    assert read("labelme", labelme).records[0].image == Path("pictures/a.png")


def test_labelme_boxes_alone_are_boxes(labelme):
    for name in ("train/a", "val/b"):
        edit(labelme / f"{name}.json", shapes_of({"points": [[12, 10], [-3, 4]], "shape_type": "rectangle"}))
    found = truths("labelme", labelme)["a"]
    assert read("labelme", labelme).truths == ("boxes",) and found.mask is None
    assert found.objects[0].box == (0, 4, 12, 6)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            shapes_of({"points": [[1, 1], [2, 2]]}),
            r"train/a.json, shape 1 \('cat'\): a polygon has at least 3 points, and this one 2; draw it again or remove it",
        ),
        (shapes_of({"points": [[1, 1]], "shape_type": "circle"}), "a circle has 2 points, and this one 1"),
        (shapes_of({"points": [[1, 1], [2, 2]], "shape_type": "mask"}), "a mask has its image in `mask`"),
        (shapes_of({"points": [[1, 1], [9, 9]], "shape_type": "mask", "mask": "bm8gcG5n"}), "its bitmap is no PNG image in base64"),
        (shapes_of({"points": [[1, 1], [9, 9]], "shape_type": "cube"}), "its shape_type is 'cube'; known are polygon"),
        (shapes_of({"points": [[1, "1"], [2, 2], [3, 3]]}), r"train/a.json: shapes\[0\].points\[0\]\[1\] must be a valid number; correct it"),
        (shapes_of({"points": [[1, math.nan], [2, 2], [3, 3]]}), "must be a finite number"),
        (shapes_of({"label": " ", "points": tools.rim(CAT)}), "train/a.json: a class is called ' '"),
        (lambda content: content.pop("imagePath"), "imagePath is missing"),
        (lambda content: content.update(imagePath="nowhere.png", imageData="abc"), "nowhere.png', which is nowhere in the folder.*labelme_export_json"),
        (lambda content: content.update(imageHeight=0), "imageHeight must be greater than or equal to 1"),
        (lambda content: content.update(imageHeight=H + 1), "What train/a.json describes is 32x25 pixels, but its image train/a.png is 32x24"),
        (lambda content: content.update(imagePath="../val/b.png"), "val/b.json describes the image val/b.png, as train/a.json does"),
    ],
)
def test_labelme_mistakes(labelme, change, sentence):
    edit(labelme / "train" / "a.json", change)
    refuses(sentence, "labelme", labelme)


def test_all_mistakes_are_told_at_once(labelme):
    edit(labelme / "train" / "a.json", shapes_of({"points": [[1, 1]]}, {"points": []}))
    edit(labelme / "val" / "b.json", lambda content: content.pop("imagePath"))
    assert len(refuses(".", "labelme", labelme).problems) == 3


def test_objects_of_no_pixels_are_left_out_and_listed(labelme):
    edit(labelme / "train" / "a.json", shapes_of({"points": tools.rim((100, 100, 110, 110))}, {"points": tools.rim(CAT)}))
    truth = truths("labelme", labelme)["a"]
    assert len(truth.objects) == 1 and truth.refused[0].reason == "shape 1 of train/a.json covers no pixel"


# VIA ----------------------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def via(tmp_path):
    return tools.via(tmp_path)


def regions_of(*regions):
    return lambda content: content["_via_img_metadata"]["a.png123"].update(regions=list(regions))


def region(shape, **attributes):
    return {"shape_attributes": shape, "region_attributes": attributes or {"kind": "cat"}}


def test_via_circles_ellipses_and_closed_lines(via):
    closed = {"name": "polyline", "all_points_x": [2, 12, 12, 2, 2], "all_points_y": [3, 3, 13, 13, 3]}
    shapes = [
        {"name": "circle", "cx": 9, "cy": 8, "r": 4.5},
        {"name": "ellipse", "cx": 15, "cy": 12, "rx": 9, "ry": 4, "theta": 0.5},
        closed,
        {"name": "point", "cx": 1, "cy": 1},
    ]
    edit(via / "train" / "project.json", regions_of(*map(region, shapes)))
    found = [one.mask for one in truths("via", via)["a"].objects]
    expected = [Ellipse(9, 8, 4.5, 4.5).draw((H, W)), Ellipse(15, 12, 9, 4, math.degrees(0.5)).draw((H, W)), tools.rect(*CAT)]
    assert all((one == other).all() for one, other in zip(found, expected, strict=True))
    assert read("via", via).left_out == {"point (drawn, but no area)": 1}


def test_via_attributes(via):
    square = {"name": "rect", "x": 2, "y": 3, "width": 10, "height": 10}
    edit(via / "train" / "project.json", regions_of(region(square, kind="cat", colour="red")))
    refuses("the attributes colour, kind|kind, colour.*set data.attribute", "via", via)
    assert [one.name for one in read("via", via, attribute="kind").classes] == ["background", "cat"]
    refuses("no region has the attribute 'kinds'; did you mean 'kind'", "via", via, attribute="kinds")
    edit(via / "train" / "project.json", regions_of(region(square, Class="cat", colour="red")))
    refuses("its attribute 'Class' is missing", "via", via)  # in val
    edit(via / "train" / "project.json", regions_of({"shape_attributes": square, "region_attributes": {}}))
    edit(via / "val" / "via_region_data.json", lambda content: content["b.png9"]["regions"]["0"].update(region_attributes={}))
    assert [one.name for one in read("via", via).classes] == ["background", "object"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (regions_of(region({"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 2]})), "region 1 of train/a.png: a polygon has at least 3"),
        (regions_of(region({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]})), "it has 3 x and 2 y"),
        (regions_of(region({"name": "circle", "cx": 1, "cy": 1})), "its circle lacks r"),
        (regions_of(region({"name": "star"})), "its shape is called 'star'"),
        (regions_of(region({"name": "rect", "x": "1", "y": 1, "width": 3, "height": 3})), "x must be a valid number"),
        (regions_of(region({"name": "circle", "cx": 9, "cy": 9, "r": 3}, kind={"cat": True, "dog": True})), "its attribute 'kind' names 2 classes; mark one"),
        (lambda content: content["_via_img_metadata"]["a.png123"].update(filename="gone.png"), "names the image 'gone.png', which is nowhere"),
        (lambda content: content["_via_img_metadata"].update(more={"filename": "a.png", "regions": []}), "describes the image train/a.png"),
    ],
)  # fmt: skip
def test_via_mistakes(via, change, sentence):
    edit(via / "train" / "project.json", change)
    refuses(sentence, "via", via)


# Labelbox -----------------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def labelbox(tmp_path):
    return tools.labelbox(tmp_path)


def line_of(root, number, change):
    file = root / "export.ndjson"
    lines = file.read_text().splitlines()
    row = json.loads(lines[number])
    change(row)
    file.write_text("\n".join([*lines[:number], json.dumps(row), *lines[number + 1 :]]))


def labels(row):
    return row["projects"]["cl1"]["labels"]


def objects(row):
    return labels(row)[0]["annotations"]["objects"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda row: objects(row)[2].update(feature_id="f9", mask={"url": "https://x/9"}),
            r"line 1, object 3 \('cat'\): its mask is at an address .*save it in the folder as f9.png",
        ),
        (lambda row: objects(row)[0].update(polygon=[{"x": 1, "y": 1}]), "a polygon has at least 3 points"),
        (lambda row: objects(row)[0].pop("polygon"), "it has neither polygon nor bounding_box nor mask"),
        (lambda row: objects(row)[1]["bounding_box"].pop("top"), r"line 1: projects.cl1.labels\[0\].annotations.objects\[1\].bounding_box.top is missing"),
        (lambda row: labels(row).append(labels(row)[0]), "train/a.png was labelled 2 times; export one label"),
        (lambda row: row["data_row"].update(external_id=None, global_key=None, row_data=None), "neither external_id nor global_key nor row_data"),
        (lambda row: row["data_row"].update(external_id="x.png", global_key=None, row_data=None), "there is no image 'x.png' in the folder"),
        (lambda row: row["media_attributes"].update(height=7), "is 32x7 pixels, but its image train/a.png is 32x24"),
    ],
)
def test_labelbox_mistakes(labelbox, change, sentence):
    line_of(labelbox, 0, change)
    refuses(sentence, "labelbox", labelbox)


def test_labelbox_rows_that_nobody_labelled_are_listed(labelbox):
    line_of(labelbox, 1, lambda row: row["projects"]["cl1"].update(labels=[]))
    source = read("labelbox", labelbox)
    assert [one.reason for one in source.refused] == ["export.ndjson, line 2: nobody labelled it"] and len(source.records) == 1


def test_labelbox_colours_of_a_composite_mask(labelbox):
    pixels = np.zeros((H, W, 3), np.uint8)
    pixels[tools.RINGED], pixels[tools.rect(*DOG)] = (255, 0, 9), (0, 9, 9)
    tools.save(labelbox / "masks" / "all.png", pixels)
    composite = {"name": "cat", "composite_mask": {"url": "https://x/y/all.png?a=1", "color_rgba": [255, 0, 9, 255]}}
    line_of(labelbox, 0, lambda row: objects(row).__setitem__(slice(None), [composite]))
    assert (truths("labelbox", labelbox)["a"].objects[0].mask == (pixels == (255, 0, 9)).all(axis=2)).all()


# CVAT ---------------------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cvat(tmp_path):
    return tools.cvat(tmp_path)


def replaced(root, old, new):
    file = root / "annotations.xml"
    text = re.sub(old, new, file.read_text(), count=1)
    assert text != file.read_text()
    file.write_text(text)


def test_cvat_ellipses_and_turned_boxes(cvat):
    replaced(cvat, "<box .*?</box>", '<ellipse label="dog" cx="15.5" cy="11" rx="9.25" ry="4" rotation="30" z_order="1"/>')
    replaced(cvat, "<polygon .*?</polygon>", '<box label="cat" xtl="4" ytl="4" xbr="14" ybr="8" rotation="90.0" z_order="0"/>')
    found = {int(one.label): one.mask for one in truths("cvat", cvat)["a"].objects[:2]}
    np.testing.assert_array_equal(found[2], FilledEllipse(15.5, 11, 9.25, 4, 30).draw((H, W)))
    np.testing.assert_array_equal(found[1], tools.rect(7, 1, 11, 11))


def test_cvat_labels_of_what_has_no_area_and_objects_without_a_label(cvat):
    replaced(cvat, "<labels>", "<labels><label><name>nose</name><type>points</type></label><label><name>cow</name><type>any</type></label>")
    replaced(cvat, '<box label="dog"', '<box label=""')
    source = read("cvat", cvat)
    assert [one.name for one in source.classes] == ["background", "cow", "cat", "dog"]
    assert source.left_out == {"points (drawn, but no area)": 1, "(without a label)": 1}


def test_cvat_images_of_one_name_in_two_subsets(cvat):
    replaced(cvat, 'name="b.png"', 'name="a.png"')
    (cvat / "images" / "val" / "b.png").rename(cvat / "images" / "val" / "a.png")
    records = read("cvat", cvat).records
    assert {record.image.as_posix(): record.split for record in records} == {"images/train/a.png": "train", "images/val/a.png": "val"}


def test_cvat_order(cvat):
    replaced(cvat, 'z_order="1"', 'z_order="-1"')
    assert (truths("cvat", cvat)["a"].mask[3:13, 2:12] == 1).all()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('rle="', 'rle="1, ', "its run lengths do not add up to the 8x8 pixels of its box"),
        ('rle="', 'rle="x, ', "its mask holds 'x' in place of a whole number"),
        ('width="8"', 'width="99999999999"', "do not add up"),
        ('xtl="8.00"', 'xtl="left"', r"image 'a.png', box \(shape 1\): its xtl is 'left', and must be a number"),
        ('xtl="8.00"', "", "its xtl is missing"),
        ('points="2.00,3.00;', 'points="2.00;', "its points are not x,y;x,y"),
        ('points="2.00,3.00;', 'points="nan,3.00;', "its points are not all numbers"),
        ('name="a.png"', 'name="c.png"', "names the image 'c.png', which is nowhere"),
        ('width="32"', 'width="3.5"', "its width is 3.5; it must be a number of pixels"),
        ("<image ", '<track id="0"></track><image ', r"holds tracks \(CVAT for video\); export the task as"),
        ("<annotations>", "<!DOCTYPE a []><annotations>", "declares a document type"),
        ("</annotations>", "", "is not valid XML"),
        ("(?s)<annotations>.*</annotations>", "<x><annotations/></x>", "its first element is not <annotations>"),
    ],
)
def test_cvat_mistakes(cvat, old, new, sentence):
    replaced(cvat, old, new)
    refuses(sentence, "cvat", cvat)


# Supervisely --------------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def supervisely(tmp_path):
    return tools.supervisely(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c["objects"][0].update(classTitle="cow"), "object 1: its class 'cow' is not in meta.json"),
        (lambda c: c["objects"][0]["points"].update(exterior=[[1, 1]]), "a polygon and each of its holes has at least 3 points"),
        (lambda c: c["objects"][1]["points"].update(exterior=[[1, 1]]), "a rectangle has 2 points, and this one 1"),
        (lambda c: c["objects"][2]["bitmap"].update(data="AAAA"), "train/ann/a.png.json, object 3 of train/img/a.png: its bitmap is no PNG image"),
        (lambda c: c["objects"][2]["bitmap"].update(origin=[1.5, 2]), r"objects\[2\].bitmap.origin\[0\] must be a valid integer"),
        (lambda c: c["objects"][0].update(geometryType="mesh"), "its shape is 'mesh'; known are polygon"),
        (lambda c: c.pop("size"), "size is missing"),
        (lambda c: c["size"].update(height=5), "is 32x5 pixels, but its image"),
    ],
)
def test_supervisely_mistakes(supervisely, change, sentence):
    edit(supervisely / "train" / "ann" / "a.png.json", change)
    refuses(sentence, "supervisely", supervisely)


def test_supervisely_bitmaps_of_every_kind(supervisely):
    """1 bit, grey, palette, and colour with transparency; at the border they are cut off."""
    part = np.asarray(tools.RINGED[15:23, 2:10])
    grey = Image.fromarray(part.astype(np.uint8) * 255)
    alpha = Image.new("RGBA", grey.size, (255, 255, 255, 0))
    alpha.putalpha(grey)
    palette = Image.fromarray(1 - part.astype(np.uint8))
    palette.putpalette([255, 255, 255, 0, 0, 0])
    for image, keys in ((Image.fromarray(part), {}), (grey, {}), (alpha, {}), (palette, {"transparency": 1})):
        stream = io.BytesIO()
        image.save(stream, "PNG", **keys)
        for content in (zlib.compress(stream.getvalue()), stream.getvalue()):  # some tools leave out what they need not pack
            bitmap = {"data": base64.b64encode(content).decode(), "origin": [-2, 20]}
            one = {"classTitle": "dog", "geometryType": "bitmap", "bitmap": bitmap}
            edit(supervisely / "train" / "ann" / "a.png.json", lambda content, one=one: content.update(objects=[one]))
            expected = np.zeros((H, W), bool)
            expected[20:24, :6] = part[:4, 2:]
            np.testing.assert_array_equal(truths("supervisely", supervisely)["a"].objects[0].mask, expected)


# YOLO ---------------------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def yolo(tmp_path):
    return tools.yolo(tmp_path)


def test_yolo_boxes(yolo):
    for split, name in (("train", "a"), ("val", "b")):
        (yolo / "labels" / split / f"{name}.txt").write_text("1 0.25 0.5 0.25 0.5\n")
    assert read("yolo", yolo).truths == ("boxes",)
    assert truths("yolo", yolo)["a"].objects[0].box == (4.0, 6.0, 8.0, 12.0)


@pytest.mark.parametrize(
    "text",
    [
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['cat', 'dog']\n",  # Roboflow
        "train: /data/me/root/train/images\nval: [valid/images]\nnames: [cat, dog]\n",
        "path: /content/root\ntrain: train.txt\nval: valid/images/\nnames: {0: cat, 1: dog}\n",
        "path: .\ntrain: ./train.txt\nvalid: valid/images\nnames:\n- cat\n- dog\n",
    ],
)
def test_yolo_paths_of_every_kind(yolo, text):
    for old, new in (("train", "train"), ("val", "valid")):
        for kind in ("images", "labels"):
            (yolo / new).mkdir(exist_ok=True)
            (yolo / kind / old).rename(yolo / new / kind)
    (yolo / "train.txt").write_text("./train/images/a.png\n\n")
    (yolo / "data.yaml").write_text(text)
    source = read("yolo", yolo)
    assert {record.image.as_posix(): record.split for record in source.records} == {"train/images/a.png": "train", "valid/images/b.png": "val"}
    assert [one.name for one in source.classes] == ["background", "cat", "dog"] and len(truths("yolo", yolo)["a"].objects) == 2


def test_yolo_a_split_that_is_another_is_none(yolo):
    """COCO128 is its own validation."""
    (yolo / "data.yaml").write_text("train: images\nval: images\nnames: [cat, dog]\n")
    assert [record.split for record in read("yolo", yolo).records] == ["train", "train"]


def test_yolo_images_without_text_and_without_data_yaml(yolo):
    tools.picture(yolo / "images" / "train" / "c.png")
    truth = truths("yolo", yolo)["c"]
    assert truth.objects == () and not truth.mask.any()
    (yolo / "data.yaml").unlink()
    assert [one.name for one in read("yolo", yolo).classes] == ["background", "class0", "class1"]
    (yolo / "classes.txt").write_text("cat\ndog\n")
    source = read("yolo", yolo)
    assert [one.name for one in source.classes] == ["background", "cat", "dog"] and len(source.records) == 2
    assert Path("classes.txt") in source.files


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("7 0.1 0.1 0.2 0.2", "labels/train/a.txt, line 1: there is no class 7; the names go from 0 to 1"),
        ("cat 0.1 0.1 0.2 0.2", "its class is 'cat', and must be the number of a class"),
        ("0 0.1 0.1 0.2", "it has 3 numbers behind the class; a box has 4, and a polygon 2 for each"),
        ("0 0.1 0.1 0.2 0.2 0.9", "it has 5 numbers"),
        ("0 10 10 200 200", "its numbers are no shares of the image's sides"),
        ("0 0.1 nan 0.2 0.2", "no number"),
        ("0 0.1 0,5 0.2 0.2", "what is no number"),
        ("0 0.5 0.5 -0.1 0.2", "negative side"),
    ],
)
def test_yolo_line_mistakes(yolo, line, sentence):
    (yolo / "labels" / "train" / "a.txt").write_text(line + "\n")
    refuses(sentence, "yolo", yolo)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("train: pictures\nval: images/val\nnames: [cat, dog]\n", "data.yaml: train is 'pictures', and there is no such folder or list"),
        ("train: images/train\nval: images\nnames: [cat, dog]\n", "the image images/train/a.png is in train and in val"),
        ("train: images/train\nnames: 5\n", "names is 5; it must be a list of class names"),
        ("train: images/train\nnames: [cat, [dog]]\n", "names has the entry 1"),
        ("train: images/train\nnames: [cat, cat]\n", "The class name 'cat' is there twice"),
        ("train: 5\nnames: [cat]\n", "train holds 5, which is no path"),
        ("train: images/train\nnames: [cat\n", "is not valid YAML"),
    ],
)
def test_yolo_yaml_mistakes(yolo, text, sentence):
    (yolo / "data.yaml").write_text(text)
    refuses(sentence, "yolo", yolo)


# Roboflow, DeepFashion2 ---------------------------------------------------------------------------------------------------------------------------------


def test_roboflow_reads_its_other_exports(tmp_path):
    root = tools.yolo(tmp_path / "yolo")
    assert read("roboflow", root, classes=["dog"]).left_out == {"cat": 2}
    coco = tmp_path / "coco"
    for split, name in (("train", "a"), ("valid", "b")):
        tools.picture(coco / split / f"{name}_jpg.rf.1.jpg")
        categories = [{"id": 0, "name": "pets", "supercategory": "none"}, {"id": 1, "name": "cat", "supercategory": "pets"}]
        images = [{"id": 0, "file_name": f"{name}_jpg.rf.1.jpg", "height": H, "width": W}]
        one = {"id": 0, "image_id": 0, "category_id": 1, "bbox": [2, 3, 10, 10], "area": 100, "segmentation": [tools.flat(CAT)], "iscrowd": 0}
        tools.write(coco / split / "_annotations.coco.json", {"images": images, "annotations": [one], "categories": categories})
    for word in ("roboflow", "coco"):
        source = read(word, coco)
        assert [one.name for one in source.classes] == ["background", "cat"]  # `pets` only holds the others
        assert sorted(record.split for record in source.records) == ["train", "val"]
    other = tmp_path / "other"
    tools.picture(other / "train" / "a.jpg")
    refuses("not in the roboflow layout.*Export semantic masks, COCO or YOLO", "roboflow", other)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Pixel Value, Class\n0, background\n1, cat\n", "train/a_mask.png holds the values 2, which _classes.csv does not name"),
        ("Pixel Value, Class\n0, background\n1, cat\n1, dog\n", "train/_classes.csv, line 4: the value 1 or the class 'dog' is there twice"),
        ("Pixel Value, Class\n0, background\none, cat\n", "line 3: 'one, cat' is not a pixel value"),
        ("Pixel Value, Class\n", "names no class"),
        ("Pixel Value, Class\n0, background\n1, cat\n2, cow\n", "valid/_classes.csv names other classes than train/_classes.csv"),
    ],
)
def test_roboflow_mistakes(tmp_path, text, sentence):
    root = tools.roboflow(tmp_path)
    (root / "train" / "_classes.csv").write_text(text)
    if "other classes" not in sentence:
        (root / "valid" / "_classes.csv").write_text(text)
    refuses(sentence, "roboflow", root)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c["item1"].update(category_id=14), "train/annos/a.json, item1: category_id must be less than or equal to 13"),
        (lambda c: c["item1"].update(segmentation=[[1, 2, 3]]), "its polygons are not lists of at least three x, y pairs"),
        (lambda c: c["item1"].pop("bounding_box"), "bounding_box is missing"),
    ],
)
def test_deepfashion2_mistakes(tmp_path, change, sentence):
    root = tools.deepfashion2(tmp_path)
    edit(root / "train" / "annos" / "a.json", change)
    refuses(sentence, "deepfashion2", root)


# COCO's panoptic annotations ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def panoptic(tmp_path):
    return tools.panoptic(tmp_path)


def test_panoptic_things_and_stuff(panoptic):
    source, truth = read("coco", panoptic), truths("coco", panoptic)["a"]
    assert [(one.name, one.thing) for one in source.classes] == [("lawn", False), ("cat", True), ("dog", True)] and source.truths == ("index", "instances")
    expected = np.full((H, W), 255, np.uint8)
    expected[:2] = 0
    cat = tools.rect(*CAT) & ~tools.rect(*DOG)
    for label, mask in ((1, cat), (2, tools.rect(*DOG)), (2, tools.PARTED), (1, tools.RINGED)):
        expected[mask] = label
    np.testing.assert_array_equal(truth.mask, expected)
    assert named(source, truth) == Counter(
        (name, mask.tobytes()) for name, mask in (("cat", cat), ("dog", tools.rect(*DOG)), ("dog", tools.PARTED), ("cat", tools.RINGED))
    )
    assert {record.split for record in source.records} == {"train", "val"}
    assert Path("annotations/panoptic_train2017/a.png") in source.files
    chosen = truths("coco", panoptic, classes=["dog"])["a"]
    assert len(chosen.objects) == 2 and set(np.unique(chosen.mask)) == {1, 255}
    assert read("coco", panoptic, classes=["dog"]).left_out == {"cat": 3, "lawn": 1}


def test_panoptic_crowds_boxes_and_areas(panoptic):
    file = panoptic / "annotations" / "panoptic_train2017.json"

    def change(content):
        _, cat, dog, parted, ring = content["annotations"][0]["segments_info"]
        cat.update(bbox=[2, 3, 10, 10], area=77)
        dog.update(iscrowd=1)
        ring.update(bbox=[0, 0, 1, 1])
        parted.update(id=99)

    edit(file, change)
    refuses("panoptic_train2017/a.png holds the segments 8, which annotations/panoptic_train2017.json does not list", "coco", panoptic)
    edit(file, lambda content: content["annotations"][0]["segments_info"].append({"id": 8, "category_id": 9}))
    truth = truths("coco", panoptic)["a"]
    found = {int(one.mask.sum()): one for one in truth.objects}
    assert (found[80].box, found[80].area) == ((2, 3, 10, 10), 77) and found[56].crowd
    assert (truth.mask[tools.rect(*DOG)] == 255).all() and truth.redrawn == {"annotations/panoptic_train2017.json": 1}
    assert [one.reason for one in truth.refused] == ["segment 99 of annotations/panoptic_train2017.json covers no pixel"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c["annotations"][0].update(segments_info=[5]), "its segments_info is no list of segments"),
        (lambda c: c["annotations"][0]["segments_info"][0].update(category_id=4), "segment 70000 is of the category 4, which the file does not list"),
        (lambda c: c["annotations"][0].update(file_name="gone.png"), "names the image 'gone.png', which is nowhere"),
        (lambda c: c["annotations"].clear(), "has 0 annotations of the image train2017/a.jpg"),
        (lambda c: c["annotations"][0].pop("segments_info"), "lacks file_name or image_id or segments_info"),
    ],
)
def test_panoptic_mistakes(panoptic, change, sentence):
    edit(panoptic / "annotations" / "panoptic_train2017.json", change)
    refuses(sentence, "coco", panoptic)
