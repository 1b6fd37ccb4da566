"""The format `masks`: patterns, values of every kind, lists of classes, and the sentence for each mistake; and what `prepare` finds in all truth together."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from layouts import COLOURS, H, W, coloured, palette, save, scenes
from PIL import Image
from pydantic import ValidationError

from segline.data.check import Frame, copies_across
from segline.data.download import download
from segline.data.formats import catalog
from segline.data.occurrence import Occurrence
from segline.data.prepare import prepare, read_folder
from segline.data.reading import class_files
from segline.data.reading.mask_parts import several_of
from segline.data.reading.pairing import Pattern, layout_of, pairs_of
from segline.data.reading.pixel_values import counted, read_values
from segline.data.reading.tree import Tree
from segline.data.store import PreparedDataset
from segline.errors import DataError
from segline_runtime.specification import ClassInfo

SCENES = scenes(6)


def folder(root, mask=lambda scene: scene.truth, suffix=".png"):
    """images/ and masks/."""
    for scene in SCENES:
        save(root / "images" / f"{scene.name}.png", scene.image)
        made = mask(scene)
        if suffix == ".npy":
            (root / "masks").mkdir(exist_ok=True)
            np.save(root / "masks" / f"{scene.name}.npy", made)
        else:
            save(root / "masks" / f"{scene.name}{suffix}", made)
    return root


def settings(root, word="masks", **keys):
    return catalog.get(word).Settings.model_validate({"source": str(root), "format": word, **keys})


def truths(root, **keys):
    """{stem of the image: mask}."""
    source = catalog.get("masks").FORMAT.read(root, settings(root, **keys))
    return {record.image.stem: record.truth(Frame(H, W)) for record in source.records}


def line(root, target, word="masks", **keys):
    """`download` and `prepare`."""
    section = settings(root, word, **keys)
    download(section, root=root, seed=0, target=target / "raw")
    prepare(section, raw=target / "raw", root=root, target=target / "prepared")
    return PreparedDataset(target / "prepared")


# values -------------------------------------------------------------------------------------------------------------------------------------------------

ABC = ["ground", "disc", "square"]
BY_COLOUR = {"#400080": "disc", "#00C000": "square"}


@pytest.mark.parametrize(
    ("mask", "suffix", "keys"),
    [
        (lambda s: s.truth, ".png", {"classes": ABC}),
        (lambda s: s.truth, ".bmp", {"classes": ABC}),
        (lambda s: palette(s.truth), ".png", {"classes": ABC}),
        (lambda s: palette(s.truth), ".png", {"values": {"#0afa0a": "disc", "#0505fa": "square", "#c81e1e": "background"}}),
        (lambda s: coloured(s.truth), ".png", {"values": BY_COLOUR}),
        (lambda s: coloured(s.truth), ".tif", {"values": BY_COLOUR}),
        (lambda s: Image.fromarray(np.dstack([coloured(s.truth), np.full((H, W), 77, np.uint8)])), ".png", {"values": BY_COLOUR}),
        (lambda s: coloured(s.truth), ".npy", {"values": BY_COLOUR}),
        (lambda s: np.dstack([s.truth * np.uint8(100)] * 3), ".png", {"values": {100: "disc", 200: "square"}}),
        (lambda s: s.truth * np.uint8(100), ".png", {"values": {"#646464": "disc", "#c8c8c8": "square"}}),
        (lambda s: s.truth.astype(np.uint16) * 300, ".png", {"values": {300: "disc", 600: "square"}}),
        (lambda s: s.truth.astype(np.uint16) * 300, ".tif", {"values": {300: "disc", 600: "square"}}),
        (lambda s: s.truth.astype(np.int32) * 70000, ".tif", {"values": {70000: "disc", 140000: "square"}}),
        (lambda s: s.truth.astype(np.int64) - 1, ".npy", {"values": {-1: "background", 0: "disc", 1: "square"}}),
        (lambda s: s.truth.astype(np.float32), ".npy", {"classes": ABC}),
        (lambda s: np.asfortranarray(s.truth)[..., None], ".npy", {"classes": ABC}),
        (lambda s: s.truth, ".png", {"values": {2: "square", 1: "disc", 0: "ground"}, "classes": ABC}),
    ],
)
def test_masks_of_every_kind_mean_the_same(mask, suffix, keys, tmp_path):
    found = truths(folder(tmp_path, mask, suffix), **keys)
    for scene in SCENES:
        assert found[scene.name].mask.dtype == np.uint8
        np.testing.assert_array_equal(found[scene.name].mask, scene.truth)


def test_several_values_may_be_one_class_and_some_ignored(tmp_path):
    root = folder(tmp_path, lambda s: s.numbers)
    found = truths(root, values={1: "disc", 2: "disc"}, ignore=[3])
    for scene in SCENES:
        np.testing.assert_array_equal(found[scene.name].mask, np.where(scene.numbers == 3, 255, scene.numbers > 0))


def test_each_number_is_an_object(tmp_path):
    root = folder(tmp_path, lambda s: s.numbers.astype(np.uint16) * 400)
    found = truths(root, instances=True, classes=["background", "cell"], ignore=[1200])
    for scene in SCENES:
        truth = found[scene.name]
        assert [shown.label for shown in truth.objects] == [1, 1]
        assert all((shown.mask == (scene.numbers == i + 1)).all() for i, shown in enumerate(truth.objects))
        np.testing.assert_array_equal(truth.mask, np.where(scene.numbers == 3, 255, scene.numbers > 0))
    coloured_objects = truths(folder(tmp_path / "c", lambda s: coloured(s.truth)), instances=True)
    assert all(len(coloured_objects[scene.name].objects) == len(np.unique(scene.truth)) - 1 for scene in SCENES)


def test_blurred_masks_are_taken_for_the_nearest_value(tmp_path):
    root = folder(tmp_path, lambda s: s.binary * np.uint8(255), ".jpg")
    with pytest.raises(DataError, match=r"holds the unknown values .* of its pixels\).*save masks as PNG without smoothing, or set `nearest: true`"):
        truths(root, values={255: "disc"})
    found = truths(root, values={255: "disc"}, nearest=True)
    assert all(np.mean(found[scene.name].mask != scene.binary) < 0.03 for scene in SCENES)
    soft = folder(tmp_path / "soft", lambda s: np.clip(coloured(s.truth).astype(int) + 9, 0, 255).astype(np.uint8))
    for scene in SCENES:
        np.testing.assert_array_equal(truths(soft, values=BY_COLOUR, nearest=True)[scene.name].mask, scene.truth)


def test_a_model_is_scored_on_masks_that_nobody_named(tmp_path):
    root = folder(tmp_path / "d", lambda s: s.binary * np.uint8(255))
    classes = tuple(ClassInfo(i, name, (0, 0, i), False) for i, name in enumerate(("background", "person")))
    assert read_folder(settings(root), root, tmp_path / "out", model_classes=classes).info.classes == classes
    three = tuple(ClassInfo(i, name, (0, 0, i), False) for i, name in enumerate(ABC))
    other = read_folder(settings(folder(tmp_path / "e")), tmp_path / "e", tmp_path / "more", model_classes=three)
    np.testing.assert_array_equal(next(iter(other.split("test", ("index",)))).mask, SCENES[0].truth)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"classes": ["a", "b"]}, r"masks/\d+.png holds the unknown value 2 \(.* % of its pixels\); known are 0 \(a\), 1 \(b\)\. Correct the mask, or name"),
        ({"values": {"#ff0000": "car"}}, r"unknown value #010101.*known are #000000 \(background\), #ff0000 \(car\)"),
        ({"values": {1: "a", 2: "b"}, "ignore": [2]}, "2 is the class 'b'; a value is either a class or ignored"),
        ({"values": {1: "a", "#ff0000": "b"}}, "mix numbers and colours"),
        ({"values": {"red": "a"}}, "'red' is no value of a mask"),
        ({"values": {}}, "data.values is empty"),
        ({"values": {1: "a", 2: "b"}, "classes": ["background", "a"]}, "data.values names b, which data.classes does not"),
        ({"classes": ["a", "a"]}, "more than once"),
        ({"classes": ABC, "ignore": ["white"]}, "'white' is no value of a mask"),
        ({"classes": "nothing.txt"}, "nothing.txt does not exist"),
        ({"classes": "../x.txt"}, "lies outside the folder"),
        ({"instances": True, "classes": ABC}, "two classes, the background and one kind of object"),
        ({"instances": True, "values": {1: "a"}}, "has no meaning with `instances: true`"),
        ({"instances": True, "ignore": [0]}, "0 is the background of masks with `instances: true`"),
        ({"image_files": "photos"}, "no image is called photos. Correct data.image_files"),
        ({"mask_files": "photos/{name}_m.png"}, "no mask is called photos/{name}_m.png"),
        ({"image_files": "images/{name}", "mask_files": "masks/0{name}"}, r"None of 6 images .* has the name of one of \d masks"),
        ({"image_files": "images", "mask_files": "images"}, "an image and its mask are two files"),
    ],
)
def test_mistakes_get_their_sentences(keys, sentence, tmp_path):
    with pytest.raises(DataError, match=sentence):
        truths(folder(tmp_path), **keys)


def test_a_black_and_white_mask_gets_its_own_hint(tmp_path):
    root = folder(tmp_path, lambda s: s.binary * np.uint8(255))
    with pytest.raises(DataError, match=r"saved as 0/255: say what its white is, as in `values: \{255: person\}`"):
        truths(root, classes=["background", "person"])
    with pytest.raises(DataError, match=r"does not tell objects apart.*set `values: \{255: person\}` in place"):
        truths(root, instances=True, classes=["background", "person"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"no image", "cannot be decoded"),
        (b"\x93NUMPY damaged", "cannot be decoded"),
        (np.zeros((H, W, 2), np.uint8), "which is no mask"),
        (np.full((H, W), 0.5), "no whole ones"),
        (np.full((H, W), np.nan), "no whole ones"),
        (np.zeros((2, 2, 2, 2), np.uint8), "a mask is .height, width."),
        (np.zeros((H, W + 1), np.uint8), "both must have one size"),
    ],
)
def test_files_that_are_no_masks(content, sentence, tmp_path):
    root = folder(tmp_path, suffix=".npy")
    file = root / "masks" / f"{SCENES[0].name}.npy"
    file.write_bytes(content) if isinstance(content, bytes) else np.save(file, content)
    with pytest.raises(DataError, match=sentence) as caught:
        truths(root, classes=ABC)
    assert file.name in str(caught.value)


def test_what_has_no_partner_is_left_out_and_two_of_one_name_are_refused(tmp_path):
    root = folder(tmp_path)
    save(root / "images" / "lonely.png", SCENES[0].image)
    save(root / "masks" / "other.png", SCENES[0].truth)
    source = catalog.get("masks").FORMAT.read(root, settings(root, classes=ABC))
    assert [(item.file, item.reason) for item in source.refused] == [
        ("images/lonely.png", "there is no mask masks/{name} of it"),
        ("masks/other.png", "there is no image for this mask"),
    ]
    assert not {Path("images/lonely.png"), Path("masks/other.png")} & set(source.files)
    save(root / "images" / f"{SCENES[0].name}.jpg", SCENES[0].image)
    with pytest.raises(DataError, match=r"images/003.jpg and images/003.png have one name"):
        truths(root, image_files="images", mask_files="masks", classes=ABC)


def test_transparent_pixels_are_black(tmp_path):
    colours = np.dstack([coloured(SCENES[0].truth), np.where(SCENES[0].truth == 2, 0, 255).astype(np.uint8)])
    save(tmp_path / "m.png", colours)
    values = read_values(tmp_path / "m.png", "m.png", colours=True)
    assert set(np.unique(values)) == {0, 0x400080}
    assert counted(tmp_path / "m.png", "m.png").colour


# patterns -----------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "file", "found"),
    [
        ("images", "images/a.jpg", (None, "a")),
        ("images", "images/deep/a.jpg", (None, "deep/a")),
        ("images/", "other/a.jpg", None),
        ("images/{name}.png", "images/a.jpg", None),
        ("images/{name}.PNG", "images/a.png", (None, "a")),
        ("{split}/images", "valid/images/a.png", ("val", "a")),
        ("{split}/images", "elsewhere/images/a.png", None),
        ("images_{split}/{name}_rgb", "images_Testing/a_rgb.tif", ("test", "a")),
        ("{split}/{split}_images", "train/train_images/a.png", ("train", "a")),
        ("{split}/{split}_images", "train/val_images/a.png", None),
        ("scan*/{name}_[x]", "scan7/a_[x].png", (None, "a")),
        ("scan*/{name}", "scan7/more/a.png", (None, "more/a")),
        ("{name}/{name}_mask", "p1/p1_mask.png", (None, "p1")),
        ("{name}/{name}_mask", "p1/p2_mask.png", None),
        ("images", "images/notes.txt", None),
    ],
)
def test_patterns(pattern, file, found):
    assert Pattern(pattern).match(PurePosixPath(file)) == found


@pytest.mark.parametrize("pattern", ["../images", "/images", "C:/images", "images/x.png", "{nam}/x", "{}/{name}"])
def test_what_is_no_pattern_is_said_when_params_yaml_is_read(pattern):
    with pytest.raises(ValidationError, match=r"leads out of the folder|has no \{name\}|a pattern knows"):
        settings("data", image_files=pattern)


def several(root, *, stem="masks/{name}_{part}", parts=(("disc", 1), ("square", 2)), white=255):
    """images/, and a mask of each class for each image."""
    for scene in SCENES:
        save(root / "images" / f"{scene.name}.png", scene.image)
        for part, value in parts:
            save(root / f"{stem.format(name=scene.name, part=part)}.png", (scene.truth == value).astype(np.uint8) * np.uint8(white))
    return root


BY_CLASS = {"image_files": "images/{name}", "mask_files": "masks/{name}_{class}"}


def test_several_masks_of_an_image_are_its_classes(tmp_path):
    root = several(tmp_path)
    assert all((found.mask == scene.truth).all() for scene, found in zip(SCENES, truths(root, **BY_CLASS).values(), strict=True))
    turned = truths(root, **BY_CLASS, classes=["background", "square", "disc"])
    assert all((found.mask == np.array([0, 2, 1])[scene.truth]).all() for scene, found in zip(SCENES, turned.values(), strict=True))
    left_out = truths(root, **BY_CLASS, classes=["disc"])
    assert all((found.mask == (scene.truth == 1)).all() for scene, found in zip(SCENES, left_out.values(), strict=True))
    seen = truths(root)  # found by looking
    assert all((found.mask == scene.truth).all() and found.objects == () for scene, found in zip(SCENES, seen.values(), strict=True))


def test_several_masks_tell_objects_of_several_classes(tmp_path):
    """`{class}_{object}`, or the numbers of the objects as values of a class's mask. Where objects overlap, the smaller one is seen."""
    scene = SCENES[0]
    save(tmp_path / "images" / "a.png", scene.image)
    large, small = np.zeros((2, H, W), np.uint8)
    large[4:30, 4:30], small[10:14, 10:14] = 1, 1
    for name, mask in (("cat_1", small), ("cat_2", large), ("dog_1", large[::-1])):
        save(tmp_path / "masks" / "a" / f"{name}.png", mask)
    source = catalog.get("masks").FORMAT.read(tmp_path, settings(tmp_path, image_files="images/{name}", mask_files="masks/{name}/{class}_{object}"))
    truth = source.records[0].truth(Frame(H, W))
    assert [one.name for one in source.classes] == ["background", "cat", "dog"] and source.truths == ("index", "instances")
    assert sorted((one.label, int(one.mask.sum())) for one in truth.objects) == [(1, 16), (1, 676), (2, 676)]
    assert (truth.mask[10:14, 10:14] == 1).all()
    numbered = tmp_path / "numbered"
    save(numbered / "images" / "a.png", scene.image)
    save(numbered / "masks" / "a_cat.png", np.where(small, 2, large).astype(np.uint8))
    keys = {**BY_CLASS, "instances": True}
    assert sorted(int(one.mask.sum()) for one in truths(numbered, **keys)["a"].objects) == [16, 660]


def test_a_mask_is_that_of_the_longest_name(tmp_path):
    for name in ("a", "a_1"):
        save(tmp_path / "images" / f"{name}.png", SCENES[0].image)
    save(tmp_path / "masks" / "a_1_blue_car.png", SCENES[0].binary)
    save(tmp_path / "masks" / "a_car.png", SCENES[0].binary)
    save(tmp_path / "masks" / "b_car.png", SCENES[0].binary)
    source = catalog.get("masks").FORMAT.read(tmp_path, settings(tmp_path, **BY_CLASS))
    assert [one.name for one in source.classes] == ["background", "blue_car", "car"]
    assert [(one.file, one.reason) for one in source.refused] == [("masks/b_car.png", "there is no image for this mask")]


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({**BY_CLASS, "classes": ["discs"]}, "no mask is of the class 'discs'; did you mean 'disc'"),
        ({**BY_CLASS, "classes": "names.txt"}, r"data.classes: with \{class\} or \{object\} in data.mask_files the files' names tell the classes"),
        ({**BY_CLASS, "values": {255: "a"}}, "data.values: with"),
        ({**BY_CLASS, "ignore": [0]}, "write numbers other than 0"),
        ({"mask_files": "masks/{name}_{class}"}, "data.image_files is missing; write it, too"),
        ({**BY_CLASS, "mask_files": "gt/{name}_{class}"}, r"no image images/\{name\} has a mask gt/\{name\}_\{class\}. Correct data.image_files"),
        ({"image_files": "images/{name}", "mask_files": "masks/{name}_{object}", "classes": ["a", "b", "c"]}, "one kind of object; list two names"),
    ],
)
def test_mistakes_of_several_masks_get_their_sentences(keys, sentence, tmp_path):
    with pytest.raises(DataError, match=sentence):
        truths(several(tmp_path), **keys)


def test_a_mask_of_a_class_or_an_object_has_one_value(tmp_path):
    root = several(tmp_path)
    save(root / "masks" / f"{SCENES[0].name}_disc.png", SCENES[1].numbers)
    with pytest.raises(DataError, match=r"_disc.png holds the values 0, 1, 2, 3; a mask of a class is 0 and one other value.*set `instances: true`"):
        truths(root, **BY_CLASS)
    save(root / "masks" / f"{SCENES[0].name}_disc.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match="both must have one size"):
        truths(root, **BY_CLASS)


def test_two_pictures_of_one_mask_are_no_classes(tmp_path):
    several(tmp_path, parts=(("mask", 1), ("edges", 2)))
    found = layout_of(Tree(tmp_path))
    assert several_of(Tree(tmp_path)) is None and found is not None and "{class}" not in found.masks


def test_names_that_begin_as_others_do_are_no_several_masks(tmp_path):
    """`scan.png`, `scan_1.png`, …: each image has the mask of its own name."""
    for i, scene in enumerate(SCENES):
        name = f"scan_{i}" if i else "scan"
        save(tmp_path / "images" / f"{name}.jpg", scene.image)
        save(tmp_path / "masks" / f"{name}.png", scene.binary * np.uint8(255))
    assert several_of(Tree(tmp_path)) is None
    assert len(truths(tmp_path)) == len(SCENES)


def test_a_mask_beside_its_image_is_no_image_itself():
    files = [PurePosixPath(name) for name in ("a.png", "a_mask.png", "b.png", "b_mask.png", "c.png")]
    pairs = pairs_of(files, Pattern("{name}"), Pattern("{name}_mask"))
    assert sorted(name for _, name in pairs.images) == ["a", "b", "c"] and len(pairs.common) == 2


def test_others_that_would_do_as_masks_are_told(tmp_path):
    root = folder(tmp_path)
    for scene in SCENES:
        save(root / "labels" / f"{scene.name}.png", scene.truth)
    layout = layout_of(Tree(root))
    assert layout is not None and (layout.images, layout.masks, layout.others) == ("images/{name}", "labels/{name}", ("masks/{name}",))
    seen = catalog.get("masks").FORMAT.recognise(Tree(root))
    assert "masks/{name} would do as well" in seen.reasons["mask_files"]


def test_photographs_beside_photographs_are_no_masks(tmp_path):
    for scene in SCENES:
        save(tmp_path / "left" / f"{scene.name}.png", scene.image)
        save(tmp_path / "right" / f"{scene.name}.png", np.roll(scene.image, 3, axis=1))
    assert catalog.get("masks").FORMAT.recognise(Tree(tmp_path)) is None


def test_links_to_folders_are_followed_once(tmp_path):
    root = folder(tmp_path / "far")
    (tmp_path / "near").mkdir()
    for name in ("images", "masks"):
        (tmp_path / "near" / name).symlink_to(root / name)
    (tmp_path / "near" / "again").symlink_to(tmp_path / "near")
    assert len(Tree(tmp_path / "near").files) == 2 * len(SCENES)


# lists of classes ---------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("road\ntraffic light\nclass 1\n", {0: "road", 1: "traffic light", 2: "class 1"}),
        ("0 road\n7 traffic light\n", {0: "road", 7: "traffic light"}),
        ("road 0\ncar 1\n", {0: "road", 1: "car"}),
        ("0: road\n1: car\n", {0: "road", 1: "car"}),
        ("id,name\n3,road\n4,car\n", {3: "road", 4: "car"}),
        ("Pixel Value, Class\n0, background\n1, tumour\n", {0: "background", 1: "tumour"}),
        ("__ignore__\n_background_\ncat\n", {255: "__ignore__", 0: "_background_", 1: "cat"}),
        ("64 128 64\tAnimal\n192 0 128\t\tArchway\n", {"#408040": "Animal", "#c00080": "Archway"}),
        ("64 128 64 Animal\n192 0 128 Road shoulder\n", {"#408040": "Animal", "#c00080": "Road shoulder"}),
        ("name,r,g,b\nAnimal,64,128,64\nArchway,192,0,128\n", {"#408040": "Animal", "#c00080": "Archway"}),
        ("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:255,0,0::\n", {"#000000": "background", "#ff0000": "car"}),
        ("car #ff0000\nroad #808080\n", {"#ff0000": "car", "#808080": "road"}),
        ("\ufeff1;car\r\n2;road\r\n", {1: "car", 2: "road"}),
        ('"road, wet"\n"car"\n"sky"\n', None),
    ],
)
def test_lists_of_classes(text, named, tmp_path):
    (tmp_path / "labels.txt").write_text(text, encoding="utf-8", newline="")
    if named is None:
        return
    found = class_files.read(tmp_path / "labels.txt", "labels.txt")
    colours = any(isinstance(value, str) for value in named)
    assert found.colours == colours
    assert found.named(colours=colours) == {int(value[1:], 16) if colours else value: name for value, name in named.items()}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "names no class"),
        (b"\xff\xfe\x00", "no text in UTF-8"),
        (b"1,a\n1,b\n", "'b' and 'a' have one value"),
        (b"1,2,3,4,5\n", "is no class"),
        (b"x\n" * 5000, "5000 lines"),
    ],
)
def test_lists_that_are_none(content, sentence, tmp_path):
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        class_files.read(tmp_path / "labels.txt", "labels.txt")


def test_void_of_a_list_is_ignored(tmp_path):
    root = folder(tmp_path, lambda s: coloured(s.truth))
    names = ("Void", "disc", "square")
    (root / "label_colors.txt").write_text("".join(f"{r} {g} {b}\t{name}\n" for (r, g, b), name in zip(COLOURS, names, strict=True)))
    seen = catalog.get("masks").FORMAT.recognise(Tree(root))
    assert seen.keys["classes"] == "label_colors.txt" and seen.keys["ignore"] == ["#000000"]
    source = catalog.get("masks").FORMAT.read(root, settings(root, **seen.keys))
    assert [c.name for c in source.classes] == ["disc", "square"] and Path("label_colors.txt") in source.files
    np.testing.assert_array_equal(source.records[1].truth(Frame(H, W)).mask, np.array([255, 0, 1])[SCENES[1].truth])


# what no single image shows -----------------------------------------------------------------------------------------------------------------------------


def refuses(sentence, root, target, word="masks", **keys):
    with pytest.raises(DataError, match=sentence):
        line(root, target, word, **keys)
    assert not (target / "prepared").exists()


def test_everything_ignored_or_of_one_class_is_a_problem(tmp_path):
    root = folder(tmp_path / "d", lambda s: s.binary * np.uint8(255))
    one_class = r"All 6 masks show nothing but 'background', so there is nothing to learn. \d+ % of the pixels are ignored: is data.ignore meant so\?"
    refuses(one_class, root, tmp_path / "a", classes=["background", "person"], ignore=[255])
    refuses("All pixels of all masks are ignored", root, tmp_path / "b", classes=["a"], values={7: "a"}, ignore=[0, 255])
    empty = folder(tmp_path / "e", lambda s: s.truth * 0)
    refuses("nothing but 'ground'", empty, tmp_path / "c", classes=ABC)
    assert line(root, tmp_path / "f", values={255: "person"}).info.class_pixels[1] > 0


def test_class_names_that_cannot_belong_to_the_values(tmp_path):
    for scene in SCENES:
        for split in ("train", "val"):
            save(tmp_path / "d" / split / f"{scene.name}{split}.png", scene.image)
            save(tmp_path / "d" / f"{split}annot" / f"{scene.name}{split}.png", scene.binary)
    refuses(r"values 0 and 1 alone, which would be 'sky' and 'building' of 11 classes.*Name your own in data.classes", tmp_path / "d", tmp_path / "a", "camvid")
    data = line(tmp_path / "d", tmp_path / "b", "camvid", classes=["background", "disc"])
    assert [c.name for c in data.info.classes] == ["background", "disc"]


def test_training_images_of_one_class_are_a_problem():
    seen = Occurrence(["a", "b"], names_are_the_formats=False)
    seen.add("train", np.zeros((2, 2), np.uint8), ())
    seen.add("test", np.ones((2, 2), np.uint8), ())
    assert re.match("The training images show nothing but a, and others show more", seen.problems()[0])


def test_an_image_in_two_splits_is_told(tmp_path, capfd):
    for i, scene in enumerate(SCENES):
        split = "val" if i > 3 else "train"
        save(tmp_path / "d" / split / "images" / f"{scene.name}.png", SCENES[0].image if i == 5 else scene.image)
        save(tmp_path / "d" / split / "masks" / f"{scene.name}.png", scene.truth)
    data = line(tmp_path / "d", tmp_path / "out", classes=ABC)
    told = f"in two splits: val/images/{SCENES[5].name}.png: in val, is byte for byte train/images/{SCENES[0].name}.png in train"
    assert told in capfd.readouterr().err
    assert f'"file": "val/images/{SCENES[5].name}.png"' in (data.folder / "check.json").read_text()


def test_copies_are_told_of_the_split_that_is_scored():
    images = [Path(name) for name in "abcde"]
    contents = dict(zip("abcde", "11233", strict=True))
    assert copies_across(images, ["train", "train", "val", "val", "val"], contents) == [], "within a split there may be copies"
    found = copies_across(images, ["train", "test", "val", "val", "test"], contents)
    assert [(item.file, item.reason[:40]) for item in found] == [
        ("b", "in test, is byte for byte a in train, so"),
        ("e", "in test, is byte for byte d in val, so w"),
    ]


def test_a_changed_list_of_groups_or_classes_is_seen(tmp_path):
    root = folder(tmp_path / "d")
    (root / "names.txt").write_text("\n".join(ABC))
    (root / "g.csv").write_text("image,group\n" + "".join(f"{scene.name},{i // 2}\n" for i, scene in enumerate(SCENES)))
    keys = {"classes": "names.txt", "splits": {"group": "g.csv", "val": 0.3, "test": 0.3}}
    assert sum(line(root, tmp_path / "out", **keys).info.counts.values()) == len(SCENES)
    (root / "g.csv").write_text("image,group\n" + "".join(f"{scene.name},{i % 2}\n" for i, scene in enumerate(SCENES)))
    section = settings(root, **keys)
    with pytest.raises(DataError, match=r"g.csv below .* changed since `download`"):
        prepare(section, raw=tmp_path / "out" / "raw", root=root, target=tmp_path / "out" / "prepared")
