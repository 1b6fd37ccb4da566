"""What to label next: scores, spread, a folder ranked through the command line, and what a hostile folder makes of it."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil

import numpy as np
import onnx
import pytest
from model_parts import checkout, instance_onnx, ramps, semantic_onnx
from onnx import helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner

from segline.cli import next as next_images
from segline.cli.app import app
from segline.data.images import png
from segline.data.leaks.fingerprint import fingerprint
from segline.data.store import content_hash
from segline.drawing.heat import heated
from segline.drawing.paint import faded
from segline.errors import DataError, ParametersError
from segline.labelling import scores
from segline.labelling.source import Labelled, read
from segline.labelling.spread import by_worth, descriptor, spread
from segline.tasks import catalog as tasks
from segline.tasks.hesitation import Hesitation
from segline_runtime.images import RGB
from segline_runtime.predictions import InstancePrediction, MultilabelPrediction, SemanticPrediction
from segline_runtime.specification import ClassInfo

CLASSES = [ClassInfo(i, name, (9 * i, 9, 9), i > 0) for i, name in enumerate(("ground", "cat", "dog"))]
H, W = 20, 30


# scores ---------------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", scores.SCORES)
def test_every_score_is_0_where_the_model_is_sure_and_1_where_it_is_not(word):
    measure = scores.get(word).measure
    sure, even = np.array([1.0, 0, 0]), np.full(3, 1 / 3)
    nearer, farther = np.array([0.5, 0.3, 0.2]), np.array([0.8, 0.1, 0.1])
    found = measure(np.stack([sure, even, nearer, farther], axis=1).astype(np.float32))
    assert found[:2] == pytest.approx([0, 1], abs=1e-5) and 0 < found[3] < found[2] < 1
    assert measure(np.ones((1, 2), np.float32)).tolist() == [0, 0], "of one class nothing is undecided"


def test_scores_by_hand():
    shares = np.array([0.5, 0.25, 0.25])
    assert scores.entropy(shares) == pytest.approx(1.5 * np.log(2) / np.log(3))
    assert scores.margin(shares) == pytest.approx(0.75)
    assert scores.least_confidence(shares) == pytest.approx(0.75)


def test_what_is_found_seldom_counts_more():
    amounts = np.array([[0.9, 0.1], [0.9, 0.1]])
    doubts = np.array([[0.2, 0.0], [0.0, 0.2]])  # the same doubt, about the frequent class and about the other
    assert scores.get("margin")(doubts, amounts).tolist() == [0.2, 0.2]
    assert scores.get("balanced")(doubts, amounts) == pytest.approx([0.2 * np.exp(-0.9), 0.2 * np.exp(-0.1)])
    assert scores.get("balanced")(np.zeros((1, 2)), np.zeros((1, 2))).tolist() == [0]


def test_the_help_names_every_score():
    assert set(re.findall(r"\w+", next_images._SCORE)) >= set(scores.SCORES)
    assert next_images._SCORE.startswith(f"{scores.DEFAULT} (the default)")


def test_an_unknown_score_is_a_sentence():
    with pytest.raises(ParametersError, match=r"There is no score 'entrpy'\. Did you mean entropy\?"):
        scores.get("entrpy")


# hesitation of each task ----------------------------------------------------------------------------------------------------------------------------------


def semantic(undecided):
    """Ground, and one in two between cat and dog in `undecided` rows."""
    probabilities = np.zeros((3, H, W), np.float32)
    probabilities[0] = 1
    probabilities[:, :undecided] = np.array([0, 0.51, 0.49], np.float32)[:, None, None]
    return SemanticPrediction(probabilities.argmax(axis=0).astype(np.uint8), probabilities)


def instance(found):
    """Cats with these scores, each as high as wide."""
    masks = np.zeros((found, H, W), bool)
    for i, mask in enumerate(masks):
        mask[2:8, 6 * i : 6 * i + 5] = True
    scored = np.linspace(0.55, 0.5, found).astype(np.float32)
    return InstancePrediction(scores=scored, labels=np.ones(found, np.int64), boxes=np.zeros((found, 4), np.float32), masks=masks)


def multilabel(undecided):
    """Ground, and perhaps a cat on it in `undecided` rows."""
    probabilities = np.zeros((3, H, W), np.float32)
    probabilities[0] = 1
    probabilities[1, :undecided] = 0.51
    return MultilabelPrediction(probabilities >= 0.5, probabilities)


PREDICTED = {
    "multilabel": (multilabel, "undecided on 25 % of the image, mostly about cat"),
    "semantic": (semantic, "undecided on 25 % of the image, mostly where it says cat"),
    "instance": (instance, "5 of 5 found objects are doubtful, mostly cat"),
}


@pytest.mark.parametrize("task", tasks.TASKS)
def test_the_more_is_undecided_the_more_an_image_is_worth(task):
    predicted, said = PREDICTED[task]
    found: list[Hesitation] = [tasks.hesitate(task)(predicted(number), scores.margin, CLASSES) for number in (0, 2, 5)]
    assert found[0].doubt.sum() == 0 < found[1].doubt.sum() < found[2].doubt.sum()
    for one in found:
        assert one.doubt.shape == one.amount.shape == (3,) and (one.doubt <= one.amount + 1e-9).all()
        assert one.heat.shape == (H, W) and one.heat.dtype == np.float32 and one.heat.max() <= 1
    assert found[2].doubt.argmax() == 1 and found[2].why == said
    assert found[2].heat[3, 3] > 0.8 and found[2].heat[-1, -1] == 0


def test_objects_that_are_sure_and_none_at_all_are_told():
    sure = instance(2)
    sure.scores[:] = 0.99
    assert tasks.hesitate("instance")(sure, scores.entropy, CLASSES).why == "sure of all it finds (2)"
    assert tasks.hesitate("instance")(instance(0), scores.entropy, CLASSES).why == "nothing found"
    assert tasks.hesitate("semantic")(semantic(0), scores.entropy, CLASSES).why == "hardly anywhere undecided"


@pytest.mark.parametrize("task", tasks.TASKS)
def test_what_is_no_number_is_undecided(task):
    prediction = PREDICTED[task][0](2)
    (prediction.scores if task == "instance" else prediction.probabilities)[:] = np.nan
    found = tasks.hesitate(task)(prediction, scores.entropy, CLASSES)
    assert found.heat.max() == 1 and np.isfinite(found.doubt).all() and found.doubt.sum() >= 1 - 1e-6


def test_a_task_may_have_no_hesitation(monkeypatch):
    monkeypatch.setitem(tasks.TASKS, "organ", "segline.metrics")
    with pytest.raises(ParametersError, match=r"The task 'organ' has no module segline\.metrics\.hesitation, so it cannot say what a model is undecided about"):
        tasks.hesitate("organ")


# spread ---------------------------------------------------------------------------------------------------------------------------------------------------


def picture(seed, shift=0):
    """Blotches; with a shift, the next frame of the same film."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 255, (12, 16, 3), np.uint8)).resize((160, 120), Image.Resampling.BICUBIC)
    return np.roll(np.asarray(coarse), shift, axis=1)


def looks(*pictures):
    return np.stack([descriptor(fingerprint(one)) for one in pictures])


def test_neighbours_of_a_film_stand_apart():
    film = [picture(0, shift) for shift in range(4)]
    images = looks(*film, picture(1), picture(2))
    worth = np.array([0.9, 0.89, 0.88, 0.87, 0.5, 0.4])
    assert by_worth(worth).numbers.tolist() == [0, 1, 2, 3, 4, 5]
    order = spread(worth, images, images[:0], first=3)
    assert order.numbers[:3].tolist() == [0, 4, 5] and order.newness[0] == 1 and (order.newness[3:] < 0.3).all()
    assert set(order.like[3:].tolist()) == {0} and sorted(order.numbers.tolist()) == list(range(6))


def test_what_is_like_a_labelled_image_comes_late():
    images = looks(picture(0, 1), picture(1))
    order = spread(np.array([0.9, 0.5]), images, looks(picture(0)), first=2)
    assert order.numbers.tolist() == [1, 0] and order.like[1] == -1 and order.newness[1] < 0.3


def test_the_first_are_the_same_however_many_are_asked_for():
    random = np.random.default_rng(0)
    images, worth = looks(*(picture(seed, shift) for seed in range(5) for shift in range(4))), random.random(20)
    all_of_them = spread(worth, images, images[:0], first=20).numbers.tolist()
    for first in (1, 7):
        assert spread(worth, images, images[:0], first=first).numbers[:first].tolist() == all_of_them[:first]
    assert sorted(spread(worth, images, images[:0], first=99).numbers.tolist()) == list(range(20))


def test_pictures_of_one_colour_are_alike_and_nothing_undecided_is_no_reason_to_fail():
    flat = [np.full((40, 50, 3), level, np.uint8) for level in (0, 128, 255)]
    order = spread(np.zeros(4), looks(*flat, picture(0)), looks(flat[0])[:0], first=4)
    assert order.numbers[:2].tolist() == [0, 3] and (order.newness[2:] == 0).all()
    empty = spread(np.zeros(0), looks(flat[0])[:0], looks(flat[0])[:0], first=4)
    assert not len(empty.numbers)


def test_heat_is_seen_and_what_is_sure_stays_pale():
    photograph = picture(0)
    heat = np.zeros((12, 16), np.float32)
    heat[:, 8:] = 1
    shown = heated(photograph, heat)
    assert shown.shape == photograph.shape and shown.dtype == np.uint8
    assert (shown[:, :60] == faded(photograph)[:, :60]).all() and (np.ptp(shown[:, 100:].mean(axis=(0, 1))) > 100)


# from the command line ------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """A model that is sure everywhere but near the threshold, ramps that are labelled, and a folder with these and new ones."""
    checkout(tmp_path)
    soft_onnx(tmp_path / "model.onnx")
    ramps(tmp_path / "all")
    folder = shutil.move(tmp_path / "all" / "images", tmp_path / "new")
    (folder / "film").mkdir()
    for frame in range(3):
        Image.fromarray(picture(7, frame)).save(folder / "film" / f"{frame}.png")
    grey = np.full((60, 80, 3), 20, np.uint8)
    grey[:, 40:] = 240
    Image.fromarray(grey).save(folder / "sure.bmp")
    other = picture(3)
    other[:] = 60 + other // 2
    Image.fromarray(other).save(folder / "other.png")
    monkeypatch.chdir(tmp_path)
    return folder


def soft_onnx(file):
    """As `semantic_onnx`, and unsure where red is near 128: probabilities are a sigmoid of it."""
    semantic_onnx(file)
    model = onnx.load(file)
    keep = [node for node in model.graph.node if node.output[0] != "p1"]
    soft = [
        helper.make_node("Sub", ["red", "threshold"], ["beyond"]),
        helper.make_node("Div", ["beyond", "softness"], ["steps"]),
        helper.make_node("Sigmoid", ["steps"], ["p1"]),
    ]
    place = next(i for i, node in enumerate(keep) if node.output[0] == "above")
    del model.graph.node[:]
    model.graph.node.extend([*keep[:place], *soft, *keep[place:]])
    model.graph.initializer.append(numpy_helper.from_array(np.float32(20), "softness"))
    onnx.save(model, file)


def call(*arguments):
    return CliRunner().invoke(app, ["next", *arguments], catch_exceptions=False)


def test_a_folder_is_ranked(pool):
    done = call("new", "--model", "model.onnx", "--take", "2", "--pictures", "2", "--copy-to", "batch")
    assert done.exit_code == 0 and "5 images ranked by model.onnx; 3 images in" in done.stdout, done.stdout
    said = json.loads((pool.parent / "next" / "next.json").read_text())
    assert (said["version"], said["score"], said["labelled"], said["unreadable"]) == (1, "entropy", 3, [])
    files = [one["file"] for one in said["images"]]
    assert sorted(files) == ["film/0.png", "film/1.png", "film/2.png", "other.png", "sure.bmp"] and files[-1] != "other.png"
    assert len({file.partition("/")[0] for file in files[:2]}) == 2, "of the film, one frame comes early"
    assert [one["rank"] for one in said["images"]] == [1, 2, 3, 4, 5]
    assert any("it is like film/" in one["why"] for one in said["images"][2:])
    with (pool.parent / "next" / "next.csv").open(newline="") as table:
        assert [row["file"] for row in csv.DictReader(table)] == files
    page = (pool.parent / "next" / "next.html").read_text()
    assert page.count("<img") == 2 and all(one["picture"] in page for one in said["images"][:2])
    with Image.open(pool.parent / "next" / said["images"][0]["picture"]) as shown:
        assert shown.width > 2 * shown.height
    copied = sorted(file.relative_to(pool.parent / "batch").as_posix() for file in (pool.parent / "batch").rglob("*.*"))
    assert copied == sorted(files[:2])
    again = call("new", "--model", "model.onnx", "--take", "2", "--pictures", "0", "--copy-to", "batch")
    assert again.exit_code == 0 and "0 images of these 2 copied" in again.stdout


def test_alike_ranks_by_the_score_alone(pool):
    assert call("new", "--model", "model.onnx", "--alike", "--score", "margin", "--pictures", "0").exit_code == 0
    said = json.loads((pool.parent / "next" / "next.json").read_text())["images"]
    assert [one["score"] for one in said] == sorted((one["score"] for one in said), reverse=True)
    assert said[-1]["file"] == "sure.bmp" and {one["newness"] for one in said} == {1.0}


def test_a_list_names_the_images(pool):
    (pool.parent / "lists").mkdir()
    (pool.parent / "lists" / "mine.txt").write_text("# the first drive\n../new/film/0.png\n\n../new/other.png\n../new/other.png\n")
    done = call("lists/mine.txt", "--model", "model.onnx", "--pictures", "0", "--copy-to", "batch")
    assert done.exit_code == 0 and "2 images ranked" in done.stdout
    assert sorted(file.name for file in (pool.parent / "batch").iterdir()) == ["0.png", "other.png"]
    (pool.parent / "lists" / "mine.txt").write_text("../new/nowhere.png\nnor here.png\n")
    with pytest.raises(DataError, match=r"line 1: there is no file .*nowhere\.png; correct") as error:
        call("lists/mine.txt", "--model", "model.onnx")
    assert len(error.value.problems) == 2


def test_images_that_cannot_be_read_are_told_and_the_rest_is_ranked(pool):
    (pool / "broken.png").write_bytes((pool / "other.png").read_bytes()[:200])
    (pool / "empty.jpg").write_bytes(b"")
    with pytest.raises(DataError) as error:
        call("new", "--model", "model.onnx", "--pictures", "0")
    assert len(error.value.problems) == 3 and "2 images could not be read. The others are in next." in error.value.problems
    assert "broken.png" in error.value.problems[0] and "empty.jpg" in error.value.problems[1]
    said = json.loads((pool.parent / "next" / "next.json").read_text())
    assert len(said["images"]) == 5 and len(said["unreadable"]) == 2


def test_names_of_any_bytes_are_written_as_they_are(pool):
    for odd in (b"n\xe9.png", b'a,b "c"\n<d>.png', "ä".encode() * 100 + b".png"):
        Image.fromarray(picture(11)).save("plain.png")
        shutil.move("plain.png", pool / os.fsdecode(odd))
    assert call("new", "--model", "model.onnx", "--copy-to", "batch").exit_code == 0
    with (pool.parent / "next" / "next.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as table:
        named = {row["file"] for row in csv.DictReader(table)}
    assert {os.fsdecode(b"n\xe9.png"), 'a,b "c"\n<d>.png', "ä" * 100 + ".png"} <= named and all((pool.parent / "batch" / name).is_file() for name in named)
    assert "<d>" not in (pool.parent / "next" / "next.html").read_text(encoding="utf-8", errors="surrogateescape")
    (pool.parent / "bytes.txt").write_bytes(bytes(range(256)) * 3)
    with pytest.raises(DataError, match="there is no file"):
        call("bytes.txt", "--model", "model.onnx")


def test_a_labelled_image_is_known_again_however_it_was_stored(pool):
    """`prepare` stores what is no JPEG or PNG as PNG."""
    pixels = np.asarray(Image.open(pool / "sure.bmp"))
    known = Labelled(frozenset({content_hash(png(pixels))}), looks(picture(0))[:0])
    assert read(pool / "sure.bmp", "sure.bmp", RGB, known) is None
    assert read(pool / "other.png", "other.png", RGB, known) is not None


def test_objects_are_ranked_too(pool):
    instance_onnx(pool.parent / "objects.onnx")
    done = call("new", "--model", "objects.onnx", "--score", "balanced", "--take", "3")
    assert done.exit_code == 0 and "1 of 2 found objects are doubtful" in done.stdout


def test_mistakes_are_sentences(pool):
    (pool.parent / "empty").mkdir()
    for arguments, said in [
        (["nowhere"], "nowhere does not exist"),
        (["empty"], "empty holds no images"),
        (["new", "--score", "entropie"], "There is no score 'entropie'. Did you mean entropy?"),
        (["new", "--data", "elsewhere"], "elsewhere holds no prepared data set"),
        (["new", "--out", "new"], "new holds something else than what to label next"),
        (["new", "--copy-to", "new/batch"], "so the copies would be ranked the next time"),
        (["new", "--copy-to", "model.onnx"], "model.onnx is a file; give --copy-to a folder"),
    ]:
        with pytest.raises((DataError, ParametersError)) as error:
            call(*arguments, "--model", "model.onnx")
        assert said in str(error.value)
    for file in [*pool.glob("*.bmp"), *pool.glob("other*"), *pool.glob("film/*")]:
        file.unlink()
    with pytest.raises(DataError, match="All 3 images are in the prepared data already"):
        call("new", "--model", "model.onnx")


def test_nothing_is_replaced_by_a_copy(pool):
    (pool.parent / "batch").mkdir()
    (pool.parent / "batch" / "other.png").write_text("mine")
    with pytest.raises(DataError, match=r"batch/other.png is there already and is another file"):
        call("new", "--model", "model.onnx", "--pictures", "0", "--copy-to", "batch")
    assert [file.name for file in (pool.parent / "batch").iterdir()] == ["other.png"]
    (pool.parent / "twice").mkdir()
    Image.fromarray(picture(9)).save(pool.parent / "twice" / "other.png")
    (pool.parent / "mine.txt").write_text(f"{pool}/other.png\n{pool.parent}/twice/other.png\n")
    with pytest.raises(DataError, match=r"2 images would be copied to free/other\.png"):
        call("mine.txt", "--model", "model.onnx", "--pictures", "0", "--copy-to", "free")
