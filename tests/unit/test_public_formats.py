"""The formats of public data sets that no tool writes, beyond what every format must (see test_data_formats.py)."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image
from public_sources import make_bsds500, make_carvana, make_ctc, make_oxford_pet, make_voc_sbd
from scipy.io import loadmat, savemat
from test_data_formats import read, refuses, truths

from segline.data.formats import catalog
from segline.data.formats.recognition import recognised
from segline.data.reading.matlab import read_mat
from segline.data.reading.tree import Tree
from segline.errors import DataError


@pytest.mark.parametrize(
    ("word", "make"), [("oxford_pet", make_oxford_pet), ("ctc", make_ctc), ("bsds500", make_bsds500), ("carvana", make_carvana), ("voc_sbd", make_voc_sbd)]
)
def test_it_is_recognised(tmp_path, word, make):
    best, _ = recognised(Tree(make(tmp_path)))
    assert best.word == word
    assert catalog.get(word).FORMAT.read(tmp_path, best.settings(tmp_path)).records


# oxford_pet ---------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "names", "values"),
    [
        ({}, ["background", "pet"], {0, 1, 255}),
        ({"rim": "pet"}, ["background", "pet"], {0, 1}),
        ({"rim": "class"}, ["background", "pet", "rim"], {0, 1, 2}),
        ({"labels": "species"}, ["background", "cat", "dog"], {0, 2, 255}),
        ({"labels": "breed", "rim": "class"}, ["background", "Abyssinian", "great pyrenees", "rim"], {0, 2, 3}),
        ({"classes": ["floor", "friend"]}, ["floor", "friend"], {0, 1, 255}),
    ],
)
def test_pets_by_what_is_asked(tmp_path, keys, names, values):
    source = read("oxford_pet", make_oxford_pet(tmp_path), **keys)
    assert [one.name for one in source.classes] == names
    assert {record.image.stem: record.split for record in source.records} == {"Abyssinian_1": "train", "great_pyrenees_7": "train", "Abyssinian_2": "test"}
    assert set(np.unique(truths(tmp_path, "oxford_pet", **keys)["images/great_pyrenees_7.jpg"].mask)) == values


def test_pet_mistakes(tmp_path):
    root = make_oxford_pet(tmp_path)
    refuses("data.classes has 3 names, and the data 2 classes", root, "oxford_pet", classes=["a", "b", "c"])
    Image.fromarray(np.full((6, 8), 4, np.uint8)).save(root / "annotations" / "trimaps" / "Abyssinian_1.png")
    refuses("holds the values 4; a trimap is 1", root, "oxford_pet")
    (root / "annotations" / "test.txt").write_text("Abyssinian_2 1\nAbyssinian_1 1 1 1\n../secret 1 1 1\nx 1 9 1\n")
    error = refuses("annotations/test.txt, line 1: 'Abyssinian_2 1' is not an image, its breed", root, "oxford_pet")
    assert len(error.problems) == 4 and "line 2, names Abyssinian_1, as annotations/trainval.txt, line 2 does" in error.problems[1]
    (root / "annotations" / "test.txt").write_text("Persian_3 1 1 1\n")
    refuses("call the breed 1 both Abyssinian, Persian", root, "oxford_pet", labels="breed")
    assert [one.reason for one in read("oxford_pet", root).refused] == ["there is no images/Persian_3.jpg"]


# ctc ----------------------------------------------------------------------------------------------------------------------------------------------------


def test_films_have_the_frames_with_masks(tmp_path):
    source = read("ctc", make_ctc(tmp_path))
    assert [record.image.as_posix() for record in source.records] == ["01/t000.tif", "01/t002.tif", "02/t000.tif", "02/t002.tif"]
    truth = truths(tmp_path, "ctc")["02/t002.tif"]
    assert [int(one.mask.sum()) for one in truth.objects] == [6, 12] and truth.mask.sum() == 18


def test_a_frame_that_is_no_file_is_none(tmp_path):
    make_ctc(tmp_path)
    (tmp_path / "01" / "t000.tif").unlink()
    (tmp_path / "01" / "t000.tif").mkdir()
    (tmp_path / "02" / "t002.tif").unlink()
    (tmp_path / "02" / "t002.tif").symlink_to("t002.tif")
    assert [record.image.as_posix() for record in read("ctc", tmp_path).records] == ["01/t002.tif", "02/t000.tif"]


def test_films_with_the_silver_truth(tmp_path):
    make_ctc(tmp_path)
    refuses("is not in the ctc layout.*01_ST.*data.truth", tmp_path, "ctc", truth="silver")
    shutil.copytree(tmp_path / "01_GT", tmp_path / "01_ST")
    assert len(read("ctc", tmp_path, truth="silver").records) == 2


# bsds500 ------------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agree", "rows"), [(0.5, [0, 1, 1, 255, 0, 0]), (0.6, [0, 1, 255, 255, 0, 0]), (1.0, [0, 1, 255, 255, 0, 0]), (0.01, [0, 1, 1, 1, 0, 0])]
)
def test_a_boundary_is_where_enough_people_drew_it(tmp_path, agree, rows):
    source = read("bsds500", make_bsds500(tmp_path), agree=agree)
    assert [record.split for record in source.records] == ["train", "val", "test"]
    for truth in truths(tmp_path, "bsds500", agree=agree).values():
        assert truth.mask[:, 0].tolist() == rows


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"no file of MATLAB's", "is no file of MATLAB's of version 5 to 7"),
        ({"other": 1}, "holds no groundTruth"),
        ({"groundTruth": np.array([[1, 2]], object)}, "holds no groundTruth.Boundaries"),
    ],
)
def test_truth_of_matlab_that_is_damaged(tmp_path, content, sentence):
    root = make_bsds500(tmp_path)
    file = next(root.rglob("200.mat"))
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        savemat(file, content)
    refuses(sentence, root, "bsds500")


# MATLAB's files -----------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_matlabs_files_are_read_as_scipy_reads_them(tmp_path, compressed):
    kinds = [np.arange(12).reshape(3, 4).astype(kind) for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "i8", "f4", "f8")]
    cell = np.empty((1, len(kinds)), object)
    cell[0, :] = kinds
    values = {
        "cell": cell,
        "one": {"a": kinds[0], "longer_name": kinds[3]},
        "text": "words",
        "large": np.arange(60_000).reshape(200, 300),
        "none": np.zeros((0, 0)),
    }
    savemat(tmp_path / "x.mat", values, do_compression=compressed)
    ours, theirs = read_mat(tmp_path / "x.mat", "x.mat"), loadmat(tmp_path / "x.mat")
    assert len(ours["cell"]) == len(kinds) and ours["text"] is None
    for mine, their in zip(ours["cell"], theirs["cell"][0], strict=True):
        assert (mine == their).all() and mine.dtype == their.dtype
    assert ours["one"].keys() == {"a", "longer_name"} and (ours["one"]["longer_name"] == theirs["one"]["longer_name"][0, 0]).all()
    assert (ours["large"] == theirs["large"]).all() and ours["none"].shape == (0, 0)


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_files_of_matlab_end_in_sentences(tmp_path, compressed):
    """150 files with damaged places, of which scipy's reader does not survive all."""
    savemat(tmp_path / "x.mat", {"s": {"a": np.eye(5), "b": {"c": np.ones((3, 3), np.uint8)}}}, do_compression=compressed)
    whole = (tmp_path / "x.mat").read_bytes()
    dice = np.random.default_rng(1)
    sentences = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for place in dice.integers(100, len(whole), 3):
            damaged[place] = dice.integers(256)
        (tmp_path / "x.mat").write_bytes(damaged[: dice.integers(1, len(whole))] if dice.random() < 0.3 else damaged)
        try:
            read_mat(tmp_path / "x.mat", "x.mat")
        except DataError:
            sentences += 1
    assert sentences > 40


# carvana ------------------------------------------------------------------------------------------------------------------------------------------------


def test_cars_and_what_lacks_a_mask(tmp_path):
    root = make_carvana(tmp_path)
    truth = truths(root, "carvana")
    assert len(truth) == 4 and all(one.mask.sum() == 6 for one in truth.values())
    (root / "train_masks" / "fff9b3a5373f_02_mask.gif").unlink()
    assert [one.file for one in read("carvana", root).refused] == ["train/fff9b3a5373f_02.jpg"]


# voc_sbd ------------------------------------------------------------------------------------------------------------------------------------------------


def test_vocs_own_images_stay_and_all_others_are_trained_on(tmp_path):
    root = make_voc_sbd(tmp_path)
    own = read("voc", root / "VOCdevkit" / "VOC2012")
    source = read("voc_sbd", root)
    split = {record.image.as_posix(): record.split for record in source.records}
    assert {f"VOCdevkit/VOC2012/{record.image.as_posix()}": record.split for record in own.records}.items() <= split.items()
    added = {image: word for image, word in split.items() if image.startswith("benchmark_RELEASE")}
    assert added == {f"benchmark_RELEASE/dataset/img/2008_{i}.jpg": "train" for i in (1, 2)}
    truth = truths(root, "voc_sbd")["benchmark_RELEASE/dataset/img/2008_1.jpg"]
    assert [(one.label, int(one.mask.sum())) for one in truth.objects] == [(15, 8), (15, 8), (7, 3)]
    assert (truth.mask[:2] == 15).all() and (truth.mask[4, :3] == 7).all()


def test_sbd_objects_without_a_class(tmp_path):
    root = make_voc_sbd(tmp_path)
    numbers = np.full((6, 8), 9, np.uint8)
    savemat(root / "benchmark_RELEASE" / "dataset" / "inst" / "2008_1.mat", {"GTinst": {"Segmentation": numbers, "Categories": np.array([[15]], np.uint8)}})
    refuses("the object 9 has no class among GTinst.Categories", root, "voc_sbd")
