"""Labels that a model contradicts: planted errors come first, in a unit, over a split, and through the command line."""

from __future__ import annotations

import json

import factories
import numpy as np
import pytest
from model_parts import checkout, instance_onnx, prepared, semantic_onnx
from PIL import Image
from typer.testing import CliRunner

from segline.cli.app import app
from segline.data.store import IGNORE, Instances, PreparedDataset, Sample
from segline.errors import DataError, ParametersError
from segline.suspects.rank import Suspect, rank, splits_for
from segline.suspects.write import sentence
from segline.tasks import catalog as tasks
from segline.tasks.contradiction import Contradiction, soft_minimum
from segline_runtime.predictions import InstancePrediction, SemanticPrediction
from segline_runtime.predictor import Predictor
from segline_runtime.specification import ClassInfo

H, W = 60, 80
BOXES = {1: (5, 5, 25, 25), 2: (40, 8, 60, 28), 3: (10, 35, 30, 55)}
"""xyxy, by class."""


def drawn(boxes):
    """Class ids `(H, W)` of boxes by class, on ground of class 0."""
    mask = np.zeros((H, W), np.uint8)
    for label, (left, top, right, bottom) in boxes:
        mask[top:bottom, left:right] = label
    return mask


def sure_of(boxes, share=0.9, classes=4):
    """A prediction that gives the right class of each pixel so much."""
    ids = drawn(boxes)
    probabilities = np.full((classes, H, W), (1 - share) / (classes - 1), np.float32)
    np.put_along_axis(probabilities, ids[None].astype(np.int64), share, axis=0)
    return SemanticPrediction(ids, probabilities)


def masked(boxes):
    return Sample(1, "one", np.zeros((H, W, 3), np.uint8), drawn(boxes), None)


def objects(boxes, crowd=(), outlined=True):
    masks = np.zeros((len(boxes), H, W), bool)
    for mask, (_, (left, top, right, bottom)) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    corners = np.array([box for _, box in boxes], np.float32).reshape(-1, 4)
    labels = np.array([label for label, _ in boxes], np.int64)
    return Instances(masks if outlined else None, corners, labels, np.isin(np.arange(len(boxes)), crowd))


def found(boxes, scores=None):
    truth = objects(boxes)
    scores = np.full(len(boxes), 0.9, np.float32) if scores is None else np.array(scores, np.float32)
    return InstancePrediction(scores=scores, labels=truth.labels, boxes=truth.boxes, masks=truth.masks)


def annotated(boxes, **keys):
    return Sample(1, "one", np.zeros((H, W, 3), np.uint8), None, objects(boxes, **keys))


RIGHT = list(BOXES.items())
ERRORS = {
    "class": ([(2, BOXES[1]), *RIGHT[1:]], {"semantic": ("class", 2, 1), "instance": ("class", 2, 1)}),
    "shifted": ([(1, (13, 13, 33, 33)), *RIGHT[1:]], {"semantic": None, "instance": None}),
    "missing": (RIGHT[1:], {"semantic": ("missing", 0, 1), "instance": ("missing", None, 1)}),
    "invented": ([*RIGHT, (1, (60, 40, 78, 58))], {"semantic": ("class", 1, 0), "instance": ("unseen", 1, None)}),
}
TASKS = {"semantic": (sure_of, masked), "instance": (found, annotated)}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("error", ERRORS)
def test_a_planted_error_is_the_first_suspect(task, error):
    predicted, sample = TASKS[task]
    wrong, expected = ERRORS[error]
    judge = tasks.judge(task)
    right, doubted = judge(predicted(RIGHT), sample(RIGHT)), judge(predicted(RIGHT), sample(wrong))
    assert max(one.suspicion for one in right.found) < 0.15 and right.quality > 0.85
    first = max(doubted.found, key=lambda one: one.suspicion)
    assert first.suspicion > 2 * max(one.suspicion for one in right.found) and doubted.quality < right.quality - 0.1
    if expected[task] is not None:
        assert (first.doubt, first.label, first.says) == expected[task]
    left, top, right_edge, bottom = first.box
    place = (60, 40, 78, 58) if error == "invented" else (5, 5, 33, 33)
    assert place[0] <= left < right_edge <= place[2] and place[1] <= top < bottom <= place[3]


@pytest.mark.parametrize("task", TASKS)
def test_every_annotated_object_is_judged_and_nothing_is_invented(task):
    predicted, sample = TASKS[task]
    verdict = tasks.judge(task)(predicted(RIGHT), sample(RIGHT))
    labels = sorted(one.label for one in verdict.found)
    assert labels == ([0, 1, 2, 3] if task == "semantic" else [1, 2, 3]), "the ground is a region as well"
    empty = tasks.judge(task)(predicted([]), sample([]))
    assert empty.quality > 0.85 and all(one.doubt == "outline" for one in empty.found)


def test_ignored_pixels_are_not_judged():
    sample = masked([(2, BOXES[1])])
    sample.mask[:30, :30] = IGNORE
    verdict = tasks.judge("semantic")(sure_of(RIGHT[:1]), sample)
    assert [one.label for one in verdict.found] == [0] and verdict.quality > 0.85
    sample.mask[:] = IGNORE
    assert tasks.judge("semantic")(sure_of(RIGHT), sample).found == ()


def test_borders_a_pixel_off_are_no_missing_objects():
    wider = [(label, (left - 1, top - 1, right + 1, bottom + 1)) for label, (left, top, right, bottom) in RIGHT]
    assert all(one.doubt != "missing" for one in tasks.judge("semantic")(sure_of(RIGHT), masked(wider)).found)


def test_crowds_are_not_judged_and_excuse_what_lies_in_them():
    crowd = annotated([(1, (0, 0, 80, 60))], crowd=[0])
    assert tasks.judge("instance")(found([(1, BOXES[1])]), crowd).found == ()


def test_objects_with_boxes_alone_are_judged_by_boxes():
    wrong = annotated(ERRORS["class"][0], outlined=False)
    first = max(tasks.judge("instance")(found(RIGHT), wrong).found, key=lambda one: one.suspicion)
    assert (first.doubt, first.label, first.says) == ("class", 2, 1)


def test_what_the_model_is_not_sure_of_is_not_missing():
    verdict = tasks.judge("instance")(found(RIGHT, [0.9, 0.9, 0.2]), annotated(RIGHT[:2]))
    assert [one.doubt for one in verdict.found] == ["outline", "outline"]


def test_soft_minimum():
    assert soft_minimum(np.array([])) == 1.0 and soft_minimum(np.array([0.25])) == 0.25
    values = np.array([0.1, 0.9, 0.95])
    assert 0.1 < soft_minimum(values) < 0.11
    assert soft_minimum(np.full(10**5, 0.9)) == pytest.approx(0.9)


def test_an_unknown_task_is_a_sentence():
    with pytest.raises(ParametersError, match=r"There is no task 'semantics'\. Did you mean semantic"):
        tasks.judge("semantics")


def test_sentences_say_what_is_doubted():
    classes = [ClassInfo(0, "ground", (0, 0, 0), False), ClassInfo(1, "cat", (9, 9, 9), True)]

    def told(*what):
        return sentence(Suspect("train", 0, "im0", Contradiction(*what, 0.9, (3, 4, 5, 6), 4)), classes)

    assert told("class", 1, 0) == "train/im0 at x 3, y 4: annotated as cat, and ground for the model"
    assert told("missing", None, 1) == "train/im0 at x 3, y 4: cat may be missing"
    assert told("missing", 0, 1) == "train/im0 at x 3, y 4: cat may be missing (annotated as ground)"
    assert told("unseen", 1, None) == "train/im0 at x 3, y 4: annotated as cat, and the model finds nothing there"
    assert told("outline", 1, 1) == "train/im0 at x 3, y 4: cat may lie otherwise"


# over a split, and from the command line ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def spoilt(tmp_path):
    """Ramps, one of whose masks says `bright` in a corner that is dark."""
    folder = prepared(tmp_path / "data" / "prepared")

    def spoil(name, _image, mask):
        if name == "ramp1":
            mask[5:30, 10:50] = 1

    factories.redrawn(folder, "test", spoil)
    semantic_onnx(tmp_path / "model.onnx")
    return tmp_path


def test_a_split_is_ranked(spoilt):
    dataset, predictor = PreparedDataset(spoilt / "data" / "prepared"), Predictor(spoilt / "model.onnx")
    ranking = rank(predictor, splits_for(predictor, dataset), progress=False)
    assert (ranking.images[0].split, ranking.images[0].image) == ("test", "ramp1") and ranking.images[0].quality < ranking.images[1].quality
    assert (ranking.objects[0].image, ranking.objects[0].found.doubt, ranking.objects[0].found.box) == ("ramp1", "class", (10, 5, 50, 30))
    assert ranking.annotated == 7 and all(one.found.suspicion < 0.1 for one in ranking.objects[2:])


def test_the_model_must_know_the_classes(spoilt):
    semantic_onnx(spoilt / "other.onnx", classes=("dark", "light"))
    predictor = Predictor(spoilt / "other.onnx")
    with pytest.raises(
        DataError, match="knows the classes dark, light, and the data set 'ramps' has dark, bright; choose a model that was trained on this data"
    ):
        splits_for(predictor, PreparedDataset(spoilt / "data" / "prepared"))
    instance_onnx(spoilt / "objects.onnx")
    with pytest.raises(DataError, match="has no object masks"):
        splits_for(Predictor(spoilt / "objects.onnx"), PreparedDataset(spoilt / "data" / "prepared"))


def test_the_command_writes_a_page_and_json(spoilt, monkeypatch):
    monkeypatch.chdir(spoilt)
    call = ["suspects", "model.onnx", "--data", "data/prepared", "--out", "found", "--pictures", "2"]
    done = CliRunner().invoke(app, call, catch_exceptions=False)
    assert done.exit_code == 0 and "test/ramp1 at x 10, y 5: annotated as bright, and dark for the model" in done.stdout
    said = json.loads((spoilt / "found" / "suspects.json").read_text())
    assert said["version"] == 1 and said["splits"] == ["test"] and said["annotated"] == 7
    assert (said["objects"][0]["label"], said["objects"][0]["says"], said["objects"][0]["box"]) == ("bright", "dark", [10, 5, 50, 30])
    assert [one["picture"] is not None for one in said["objects"]][:3] == [True, True, False]
    page = (spoilt / "found" / "suspects.html").read_text()
    for one in said["objects"][:2]:
        assert one["picture"] in page
        with Image.open(spoilt / "found" / one["picture"]) as picture:
            assert picture.width > 3 * picture.height
    assert page.count("<img") == 2 and page.count("<figure") == page.count("</figure>") == 2
    assert CliRunner().invoke(app, call, catch_exceptions=False).exit_code == 0, "it replaces what it wrote itself"


def test_what_cannot_be_judged_or_written_is_a_sentence(spoilt, monkeypatch):
    monkeypatch.chdir(spoilt)
    (spoilt / "mine").mkdir()
    (spoilt / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="mine holds something else than suspects"):
        CliRunner().invoke(app, ["suspects", "model.onnx", "--data", "data/prepared", "--out", "mine"], catch_exceptions=False)
    assert (spoilt / "mine" / "letter.txt").read_text() == "dear"
    with pytest.raises(DataError, match="has no vall split; it has test"):
        CliRunner().invoke(app, ["suspects", "model.onnx", "--data", "data/prepared", "--split", "vall"], catch_exceptions=False)
    checkout(spoilt / "checkout")
    monkeypatch.chdir(spoilt / "checkout")
    done = CliRunner().invoke(app, ["suspects", str(spoilt / "model.onnx"), "--pictures", "0"], catch_exceptions=False)
    assert done.exit_code == 0 and not list((spoilt / "checkout" / "suspects" / "pictures").iterdir())


def test_a_task_may_have_no_doubts(monkeypatch):
    monkeypatch.setitem(tasks.TASKS, "organ", "segline.tasks")
    with pytest.raises(ParametersError, match=r"The task 'organ' has no module segline\.tasks\.suspects"):
        tasks.judge("organ")
