"""Pictures: of the right size, with the colours of what is in them, and with the errors where they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from segline.data.store import IGNORE, Instances, Sample
from segline.drawing import paint, sheet
from segline.drawing.comparison import comparison
from segline.drawing.paint import Picture
from segline.tasks.instance import drawing as instance
from segline.tasks.semantic import drawing as semantic
from segline_runtime.predictions import InstancePrediction, SemanticPrediction
from segline_runtime.specification import ClassInfo

CLASSES = [ClassInfo(0, "ground", (40, 90, 200), False), ClassInfo(1, "disc", (230, 60, 40), True), ClassInfo(2, "ring", (60, 200, 60), True)]


def _photograph(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(60, 200, (height, width, 3)).astype(np.uint8)


def _ids(height: int, width: int) -> NDArray[np.uint8]:
    ids = np.zeros((height, width), np.uint8)
    ids[height // 4 : height // 2, width // 4 : width // 2] = 1
    return ids


def _masks(height: int, width: int, count: int) -> NDArray[np.bool_]:
    masks = np.zeros((count, height, width), np.bool_)
    for i in range(count):
        masks[i, height // 4 : height // 2, i * width // 5 : i * width // 5 + width // 6] = True
    return masks


def _truth(height: int, width: int, labels: list[int], crowd: list[bool] | None = None) -> Sample:
    count = len(labels)
    instances = Instances(_masks(height, width, count), np.zeros((count, 4), np.float32), np.array(labels), np.array(crowd or [False] * count, np.bool_))
    return Sample(0, "a rather long name of a photograph that does not fit in the title strip " * 3, _photograph(height, width), None, instances)


def _found(masks: NDArray[np.bool_], labels: list[int], scores: list[float]) -> InstancePrediction:
    return InstancePrediction(np.array(scores, np.float32), np.array(labels, np.int64), np.zeros((len(labels), 4), np.float32), masks)


def _like(picture: NDArray[np.uint8], colour: tuple[int, int, int], tolerance: int) -> int:
    """Pixels close to a colour in every channel."""
    return int((np.abs(picture.astype(int) - colour).max(axis=2) <= tolerance).sum())


@pytest.mark.parametrize(("height", "width", "panel"), [(90, 120, (270, 360)), (480, 360, (480, 360)), (1200, 2400, (280, 560)), (33, 400, (33, 400))])
def test_comparison_has_three_panels_and_their_frame(height: int, width: int, panel: tuple[int, int]) -> None:
    sample = Sample(0, "x", _photograph(height, width), _ids(height, width), None)
    picture = comparison(sample, SemanticPrediction(np.zeros((height, width), np.uint8)), CLASSES, score=0.5, task=semantic)
    assert picture.dtype == np.uint8
    assert picture.shape[1] == 3 * panel[1] + 2 * sheet.MARGIN + 2 * sheet.GAP
    assert panel[0] + 80 < picture.shape[0] < panel[0] + 180
    assert picture.std() > 20


def test_wrong_pixels_are_red_and_ignored_ones_grey() -> None:
    height, width = 360, 480
    truth = _ids(height, width)
    truth[-40:] = IGNORE
    sample = Sample(0, "x", np.zeros((height, width, 3), np.uint8), truth, None)
    right, wrong = (
        comparison(sample, SemanticPrediction(p), CLASSES, score=1, task=semantic)[:, -width - sheet.MARGIN :]
        for p in (np.where(truth == IGNORE, 0, truth).astype(np.uint8), np.zeros_like(truth))
    )
    red = tuple(int(0.75 * c) for c in paint.WRONG)
    grey = tuple(int(0.6 * c) for c in paint.IGNORED)
    assert _like(right, red, 2) == 0
    assert _like(wrong, red, 2) == (truth == 1).sum()
    assert _like(right, grey, 2) == pytest.approx(40 * width, abs=50)


def test_found_missed_and_extra_objects_have_their_colours() -> None:
    height, width = 360, 480
    sample = replace(_truth(height, width, [1, 2, 1], [False, False, True]), image=np.zeros((height, width, 3), np.uint8))
    masks = _masks(height, width, 5)
    picture = comparison(sample, _found(masks[[0, 4, 3]], [1, 1, 2], [0.9, 0.8, 0.1]), CLASSES, score=0.3, task=instance)
    error = picture[:, -width - sheet.MARGIN :]
    for name, colour in {"found": paint.RIGHT, "missed": paint.MISSED, "extra": paint.EXTRA, "crowd": paint.IGNORED}.items():
        fill = tuple(int(0.55 * c) for c in colour)
        assert 0.8 * masks[0].sum() < _like(error, fill, 3) <= masks[0].sum(), name


def test_overlay_has_the_size_of_the_photograph_and_the_colours_of_the_classes() -> None:
    image = _photograph(100, 140)
    painted = semantic.overlay(image, SemanticPrediction(_ids(100, 140)), CLASSES)
    assert painted.shape == image.shape
    assert painted.dtype == np.uint8
    inside = painted[30:45, 40:65].reshape(-1, 3).mean(axis=0)
    outside = painted[60:].reshape(-1, 3).mean(axis=0)
    assert inside.argmax() == 0
    assert outside.argmax() == 2


def test_overlay_draws_confident_objects_only() -> None:
    image = _photograph(200, 300)
    masks = _masks(200, 300, 2)
    nothing = instance.overlay(image, _found(masks[:0], [], []), CLASSES)
    assert nothing.shape == image.shape
    np.testing.assert_array_equal(instance.overlay(image, _found(masks, [1, 2], [0.2, 0.1]), CLASSES), nothing)
    painted = instance.overlay(image, _found(masks, [1, 2], [0.9, 0.1]), CLASSES)
    assert (painted != nothing)[masks[0]].mean() > 0.9
    assert (painted == nothing)[160:].all()


def test_nothing_there_and_nothing_found_is_a_picture_too() -> None:
    picture = comparison(_truth(100, 100, []), _found(np.zeros((0, 100, 100), np.bool_), [], []), CLASSES, score=1, task=instance)
    assert picture.std() > 20


def test_the_photograph_is_left_alone() -> None:
    image = _photograph(50, 60)
    before = image.copy()
    semantic.overlay(image, SemanticPrediction(_ids(50, 60)), CLASSES)
    instance.overlay(image, _found(_masks(50, 60, 2), [1, 2], [0.9, 0.8]), CLASSES)
    np.testing.assert_array_equal(image, before)


def test_eighty_classes_fit_into_the_legend() -> None:
    classes = [ClassInfo(i, f"class number {i}", (i, 255 - i, 90), True) for i in range(80)]
    ids = (np.arange(200 * 300).reshape(200, 300) % 80).astype(np.uint8)
    sample = Sample(0, "x", _photograph(200, 300), ids, None)
    picture = comparison(sample, SemanticPrediction(ids), classes, score=1, task=semantic)
    few = comparison(sample, SemanticPrediction(ids % 2), classes[:80], score=1, task=semantic)
    assert picture.shape[1] == few.shape[1]
    for info in classes:
        assert _like(picture[-300:], info.color, 0) >= 100, info.name


@pytest.mark.parametrize(("shape", "dtype"), [((90, 120, 1), np.uint8), ((90, 120, 3), np.uint16), ((90, 120, 5), np.float32)])
def test_images_of_any_kind_are_drawn(shape: tuple[int, ...], dtype: type) -> None:
    image = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    sample = Sample(0, "x", image, _ids(90, 120), None)
    picture: Picture = comparison(sample, SemanticPrediction(_ids(90, 120)), CLASSES, score=1, task=semantic)
    assert picture.shape[2] == 3 and picture.dtype == np.uint8
    assert semantic.overlay(image, SemanticPrediction(_ids(90, 120)), CLASSES).shape == (90, 120, 3)
    assert instance.overlay(image, _found(_masks(90, 120, 1), [1], [0.9]), CLASSES).shape == (90, 120, 3)
