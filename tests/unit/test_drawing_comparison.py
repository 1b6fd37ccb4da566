"""Pictures: of the right size, with the colours of what is in them, and with the errors where they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from segline.data.store import IGNORE, Instances, Sample
from segline.drawing import fonts, paint, sheet, tags
from segline.drawing.comparison import comparison
from segline.drawing.paint import Picture
from segline.tasks.instance import drawing as instance
from segline.tasks.multilabel import drawing as multilabel
from segline.tasks.semantic import drawing as semantic
from segline_runtime.predictions import InstancePrediction, MultilabelPrediction, SemanticPrediction
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


def _over_black(colour: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    """A colour in the error panel of a black photograph."""
    picture = paint.faded(np.zeros((1, 1, 3), np.uint8))
    paint.blend(picture, np.ones((1, 1), np.bool_), colour, share)
    red, green, blue = picture[0, 0].tolist()
    return red, green, blue


def _different(picture: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((picture[: other.shape[0]] != other).any(axis=2))


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
    red, grey = _over_black(paint.WRONG, 0.75), _over_black(paint.IGNORED, 0.6)
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
        fill = _over_black(colour, 0.5)
        assert 0.8 * masks[0].sum() < _like(error, fill, 3) <= masks[0].sum(), name


def test_classes_that_overlap_mix_and_each_kind_of_error_has_its_colour() -> None:
    height, width = 360, 480
    classes = [ClassInfo(0, "background", (0, 0, 0), False), *CLASSES[1:]]
    masks = np.zeros((4, height, width), np.bool_)
    masks[0, 40:160, 40:240] = masks[1, 100:220, 140:340] = masks[2, 300:340, 40:100] = masks[3, 300:340, 300:400] = True
    objects = Instances(masks, np.zeros((4, 4), np.float32), np.array([1, 2, 1, 2]), np.array([False, False, False, True]))
    sample = Sample(0, "x", np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8), objects)
    found = np.zeros((3, height, width), np.bool_)
    found[1] = masks[0]
    found[2] = masks[1] & ~masks[0] | masks[2]
    picture = comparison(sample, MultilabelPrediction(found), classes, score=1, task=multilabel)
    left = sheet.MARGIN + sheet.GAP + width
    top = sheet.MARGIN + 56
    both = picture[top + 130, sheet.MARGIN + 190]
    assert both[0] > 40 and both[1] > 90, "red and green in one pixel"
    error = picture[:, left + width + sheet.GAP :]
    for colour, where in {
        paint.RIGHT: (masks[0] ^ masks[1]) & ~masks[2],
        paint.MISSED: masks[0] & masks[1],
        paint.WRONG: masks[2],
        paint.IGNORED: masks[3],
    }.items():
        assert _like(error, _over_black(colour, 0.6), 2) == where.sum()
    painted = multilabel.overlay(
        _photograph(500, 700), MultilabelPrediction(np.stack([_ids(500, 700) == 0, _ids(500, 700) == 1, _ids(500, 700) == 1])), classes
    )
    assert not _different(painted, _photograph(500, 700))[260:].any(), "a background is left as it is"


@pytest.mark.parametrize(("size", "shown"), [((96, 128), (384, 512)), ((360, 480), (360, 480)), ((700, 500), (700, 500)), ((1, 5), (96, 480))])
def test_overlays_stand_over_their_legend_and_small_ones_are_enlarged(size: tuple[int, int], shown: tuple[int, int]) -> None:
    image = _photograph(*size)
    for painted in (
        semantic.overlay(image, SemanticPrediction(_ids(*size)), CLASSES),
        instance.overlay(image, _found(_masks(*size, 2), [1, 2], [0.9, 0.8]), CLASSES),
        instance.overlay(image, _found(_masks(*size, 0), [], []), CLASSES),
        multilabel.overlay(image, MultilabelPrediction(_masks(*size, 3)), CLASSES),
        multilabel.overlay(image, MultilabelPrediction(np.zeros((3, *size), np.bool_)), CLASSES),
    ):
        assert painted.dtype == np.uint8
        assert painted.shape[1] == shown[1]
        legend = painted[shown[0] :]
        assert 20 <= len(legend) <= 80
        assert (legend[0] == 255).all() and (legend < 128).any()


def test_overlay_has_the_colours_of_the_classes_and_names_them() -> None:
    image = _photograph(400, 600)
    painted = semantic.overlay(image, SemanticPrediction(_ids(400, 600)), CLASSES)
    inside = painted[105:195, 155:295].reshape(-1, 3).mean(axis=0)
    outside = painted[210:400].reshape(-1, 3).mean(axis=0)
    assert inside.argmax() == 0
    assert outside.argmax() == 2
    for info in CLASSES[:2]:
        assert _like(painted[400:], info.color, 0) > 50  # its square in the legend
        assert _like(painted[:400], info.color, 0) > 200  # the ground of its name
    assert _like(painted, CLASSES[2].color, 0) == 0


def test_what_is_not_painted_stays_as_bright_as_it_is() -> None:
    """A background, and what lies beside the found objects."""
    image = _photograph(500, 700)
    classes = [ClassInfo(0, "background", (0, 0, 0), False), *CLASSES[1:]]
    ids = _ids(500, 700)
    painted = semantic.overlay(image, SemanticPrediction(ids), classes)
    assert not _different(painted, image)[260:].any()
    assert (painted[500:, :40] < 128).any()  # and it stands in the legend
    masks = _masks(500, 700, 2)
    painted = instance.overlay(image, _found(masks, [1, 2], [0.9, 0.8]), classes)
    assert not _different(painted, image)[270:].any()
    assert _different(painted, image)[masks.any(axis=0)].all()
    before, after = image[masks[0]].mean(), painted[:500][masks[0]].mean()
    assert after > 0.7 * before


def test_overlay_draws_confident_objects_only() -> None:
    image = _photograph(400, 600)
    masks = _masks(400, 600, 2)
    nothing = instance.overlay(image, _found(masks[:0], [], []), CLASSES)
    assert not _different(nothing, image).any()
    np.testing.assert_array_equal(instance.overlay(image, _found(masks, [1, 2], [0.2, 0.1]), CLASSES), nothing)
    painted = instance.overlay(image, _found(masks, [1, 2], [0.9, 0.1]), CLASSES)
    assert _different(painted, image)[masks[0]].mean() > 0.9
    assert not _different(painted, image)[320:].any()


def test_objects_of_one_class_are_told_apart() -> None:
    image = np.full((400, 600, 3), 120, np.uint8)
    masks = _masks(400, 600, 5)
    painted = instance.overlay(image, _found(masks, [1] * 5, [0.9] * 5), CLASSES)
    middles = {tuple(painted[150, i * 120 + 50].tolist()) for i in range(5)}
    assert len(middles) == 5


def _tag_places(picture: NDArray[np.uint8], objects: list[paint.DrawnObject]) -> list[NDArray[np.bool_]]:
    """Where the ground of each object's tag is seen; every object has a colour of its own."""
    drawn = tags.tag_objects(picture, objects)
    return [(drawn == np.array(each.colour)).all(axis=2) for each in objects]


@pytest.mark.parametrize("count", [1, 3, 12])
@pytest.mark.parametrize("size", [(96, 480), (400, 600), (1500, 2000)])
def test_tags_lie_on_no_other_and_inside_the_picture(size: tuple[int, int], count: int) -> None:
    mask = np.zeros(size, np.bool_)
    mask[size[0] // 3 : size[0] // 2, size[1] // 2 : size[1] // 2 + 40] = True
    objects = [paint.DrawnObject(mask, (255 - i, 200, i), f"class {i} 0.9") for i in range(count)]  # all at one place
    grounds = _tag_places(np.zeros((*size, 3), np.uint8), objects)
    alone = [_tag_places(np.zeros((*size, 3), np.uint8), [each])[0].sum() for each in objects]
    seen = [(ground.sum(), whole) for ground, whole in zip(grounds, alone, strict=True) if ground.any()]
    assert len(seen) >= min(count, 4)
    for there, whole in seen:
        assert there >= whole - 10  # none covers a part of another, nor does the border; a line to the object may be seen as well


def test_long_names_are_cut_in_the_picture_and_do_not_widen_it() -> None:
    classes = [replace(info, name=f"screen;silver screen;projection screen;{info.name} " * 4) for info in CLASSES]
    assert len(fonts.brief(classes[1].name)) == 20
    assert fonts.brief("projection screen") == "projection screen"
    image, masks = _photograph(400, 600), _masks(400, 600, 2)
    for painted in (
        semantic.overlay(image, SemanticPrediction(_ids(400, 600)), classes),
        instance.overlay(image, _found(masks, [1, 2], [0.9, 0.8]), classes),
    ):
        assert painted.shape[1] == 600
        assert _like(painted[:400], classes[1].color, 0) > 200


def test_letters_grow_with_the_picture_and_can_always_be_read() -> None:
    sizes = [fonts.letter_size(shape) for shape in ((96, 128), (360, 480), (1500, 2000), (6000, 8000))]
    assert sizes == sorted(sizes)
    assert sizes[0] >= 11
    assert 30 <= sizes[2] <= 40


@pytest.mark.parametrize(("size", "count"), [((96, 128), 150), ((360, 480), 1), ((360, 480), 11), ((360, 480), 81), ((1500, 2000), 3)])
def test_all_classes_stand_in_the_legend(size: tuple[int, int], count: int) -> None:
    classes = [ClassInfo(i, f"class number {i}", (i + 1, 255 - i, 90), True) for i in range(count)]
    ids = np.repeat(np.arange(size[0], dtype=np.uint8)[:, None] % count, size[1], axis=1)
    ids.ravel()[:count] = np.arange(count)
    painted = semantic.overlay(_photograph(*size), SemanticPrediction(ids), classes)
    legend = painted[size[0] * max(1, -(-480 // max(size))) :]
    colours, pixels = np.unique(legend.reshape(-1, 3), axis=0, return_counts=True)
    found = {tuple(colour): number for colour, number in zip(colours.tolist(), pixels.tolist(), strict=True)}
    assert not [info.name for info in classes if found.get(info.color, 0) < 80]


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
    assert semantic.overlay(image, SemanticPrediction(_ids(90, 120)), CLASSES).shape[1:] == (480, 3)
    assert instance.overlay(image, _found(_masks(90, 120, 1), [1], [0.9]), CLASSES).shape[1:] == (480, 3)
