"""Objects: pasting masks, decoding outputs, joining what windows see (compared with the drawn objects)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from segline_runtime.geometry import Window, windows
from segline_runtime.instance import TASK, InstancePrediction, clip_boxes, paste_masks
from segline_runtime.specification import Tile


def random_boxes(rng: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    corners = rng.uniform(0, 1, (count, 2, 2)) * (width, height)
    return np.concatenate([corners.min(1), corners.max(1)], axis=1).astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(128, 160), (37, 211), (5, 4), (1, 1)])
def test_the_mirrored_masks_are_the_masks_of_the_mirrored_image(height: int, width: int) -> None:
    """Whatever leans to one side, by half a pixel or by rounding a box, fails here."""
    rng = np.random.default_rng(height)
    boxes = random_boxes(rng, 60, height, width)
    boxes[0] = 0, 0, width, height
    boxes[1] = width - 1, height - 1, width, height
    boxes[2] = 0.4, 0.4, 0.4, 0.4
    masks = rng.random((60, 28, 28), dtype=np.float32)
    turned = np.array([width, height, width, height], np.float32) - boxes[:, [2, 3, 0, 1]]
    ours, mirrored = paste_masks(masks, boxes, (height, width)), paste_masks(masks[:, ::-1, ::-1], turned, (height, width))
    assert (ours == mirrored[:, ::-1, ::-1]).mean() > 0.999  # at the threshold itself, rounding decides
    assert ours.any()
    assert not ours[2].any()


def test_a_pixel_belongs_to_the_object_when_its_centre_does() -> None:
    full = np.ones((1, 28, 28), np.float32)
    for box, rows, columns in (((3, 2, 9, 5), (2, 5), (3, 9)), ((2.6, 1.4, 9.4, 5.6), (1, 6), (3, 9)), ((2.4, 1.6, 9.6, 5.4), (2, 5), (2, 10))):
        pasted = paste_masks(full, np.array([box], np.float32), (8, 12))[0]
        expected = np.zeros((8, 12), np.bool_)
        expected[rows[0] : rows[1], columns[0] : columns[1]] = True
        np.testing.assert_array_equal(pasted, expected)
    half = full.copy()
    half[:, :, 14:] = 0
    assert paste_masks(half, np.array([[0, 0, 12, 8]], np.float32), (8, 12))[0].sum(axis=1).tolist() == [6] * 8


def test_a_box_outside_the_image_pastes_nothing() -> None:
    masks = paste_masks(np.ones((2, 28, 28), np.float32), np.array([[50, 50, 60, 60], [-20, -20, -10, -10]], np.float32), (20, 30))
    assert masks.shape == (2, 20, 30)
    assert not masks.any()


def test_detections_come_by_falling_score_with_boxes_inside_the_image() -> None:
    outputs = {
        "boxes": np.array([[-1, 2, 8, 9], [3, 3, 31, 21]], np.float32),
        "labels": np.array([1, 2]),
        "scores": np.array([0.2, 0.9], np.float32),
        "masks": np.ones((2, 28, 28), np.float32),
    }
    [prediction] = TASK.decode(outputs, (20, 30))
    assert prediction.scores.tolist() == pytest.approx([0.9, 0.2])
    assert prediction.labels.tolist() == [2, 1]
    assert prediction.boxes.tolist() == [[3, 3, 30, 20], [0, 2, 8, 9]]
    assert prediction.masks.shape == (2, 20, 30)
    assert prediction.masks[1, 5, 4]
    assert not prediction.masks[1, 15, 20]


def test_no_detection_is_a_prediction() -> None:
    outputs = {
        "boxes": np.zeros((0, 4), np.float32),
        "labels": np.zeros(0, np.int64),
        "scores": np.zeros(0, np.float32),
        "masks": np.zeros((0, 28, 28), np.float32),
    }
    [prediction] = TASK.decode(outputs, (20, 30))
    assert prediction.masks.shape == (0, 20, 30)
    assert clip_boxes(prediction.boxes, (20, 30)).shape == (0, 4)


SIZE = (90, 120)
TILE = Tile((40, 50), 12)

Drawn = tuple[int, np.ndarray]
"""Label and mask `(H, W)`."""


def rectangle(top: int, left: int, bottom: int, right: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size, np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def prediction(objects: Sequence[Drawn], scores: Sequence[float], size: tuple[int, int]) -> InstancePrediction:
    masks = np.stack([mask for _, mask in objects]) if objects else np.zeros((0, *size), np.bool_)
    boxes = np.zeros((len(objects), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = np.nonzero(mask)
        box[:] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return InstancePrediction(np.array(scores, np.float32), np.array([label for label, _ in objects], np.int64), boxes, masks)


def seen(objects: Sequence[Drawn], parts: Sequence[Window], rng: np.random.Generator) -> list[InstancePrediction]:
    """What a network without fault says of each window, in falling order of arbitrary scores."""
    predictions = []
    for top, left, bottom, right in parts:
        inside = [(label, mask[top:bottom, left:right]) for label, mask in objects if mask[top:bottom, left:right].any()]
        order = rng.permutation(len(inside))
        scores = np.sort(rng.uniform(0.1, 1, len(inside)))[::-1]
        predictions.append(prediction([inside[i] for i in order], scores.tolist(), (bottom - top, right - left)))
    return predictions


def joined(objects: Sequence[Drawn], size: tuple[int, int] = SIZE, tile: Tile = TILE, seed: int = 0) -> InstancePrediction:
    parts = windows(size, tile)
    return TASK.join(parts, iter(seen(objects, parts, np.random.default_rng(seed))), size, tile)


def assert_found(found: InstancePrediction, objects: Sequence[Drawn]) -> None:
    """Each drawn object once, with its exact mask and box, and nothing else."""
    expected = prediction(objects, [0.0] * len(objects), SIZE)

    def rows(some: InstancePrediction) -> list[tuple[int, bytes, list[float]]]:
        return sorted((int(label), mask.tobytes(), box.tolist()) for label, mask, box in zip(some.labels, some.masks, some.boxes, strict=True))

    assert rows(found) == rows(expected)
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize(
    ("mask", "crossed"),
    [
        (rectangle(2, 3, 20, 30), 1),
        (rectangle(5, 30, 20, 60), 2),
        (rectangle(20, 5, 50, 20), 2),
        (rectangle(20, 30, 50, 70), 4),
        (rectangle(0, 0, 90, 120), 9),
        (rectangle(30, 40, 34, 44), 4),  # lies wholly where four windows see it
        (rectangle(0, 49, 1, 50), 2),  # one pixel
    ],
)
def test_an_object_is_found_once_whatever_windows_it_crosses(mask: np.ndarray, crossed: int) -> None:
    parts = windows(SIZE, TILE)
    assert len(parts) == 9
    assert sum(mask[top:bottom, left:right].any() for top, left, bottom, right in parts) == crossed
    assert_found(joined([(1, mask)]), [(1, mask)])


def test_touching_objects_stay_apart() -> None:
    side_by_side = [(1, rectangle(10, 20, 30, 44)), (1, rectangle(10, 44, 30, 90)), (1, rectangle(30, 20, 60, 44)), (2, rectangle(30, 44, 60, 90))]
    assert_found(joined(side_by_side), side_by_side)


def test_overlapping_and_nested_objects_stay_apart() -> None:
    nested = [(1, rectangle(10, 20, 60, 90)), (1, rectangle(20, 40, 30, 48)), (1, rectangle(50, 80, 90, 110)), (2, rectangle(10, 20, 60, 91))]
    assert_found(joined(nested), nested)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("size", "tile"), [(SIZE, TILE), (SIZE, Tile((37, 41), 20)), (SIZE, Tile((200, 30), 3)), (SIZE, Tile((30, 30), 18))])
def test_many_drawn_objects_are_found_exactly(seed: int, size: tuple[int, int], tile: Tile) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    objects = []
    for _ in range(25):
        y, x, radius = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(2, 25)
        objects.append((int(rng.integers(1, 4)), (rows - y) ** 2 + (columns - x) ** 2 <= radius**2))
    assert_found(joined(objects, size, tile, seed), objects)


def test_two_arms_that_one_window_sees_as_two_objects_are_one() -> None:
    mask = rectangle(5, 10, 15, 90) | rectangle(25, 10, 35, 90) | rectangle(5, 70, 35, 90)
    parts = [(0, 0, 40, 50), (0, 38, 40, 120)]
    size = (40, 120)
    mask = mask[:40]
    left = [(1, rectangle(5, 10, 15, 50, (40, 50))), (1, rectangle(25, 10, 35, 50, (40, 50)))]
    right = [(1, mask[:, 38:])]
    found = TASK.join(parts, [prediction(left, [0.9, 0.8], (40, 50)), prediction(right, [0.7], (40, 82))], size, Tile((40, 82), 12))
    assert len(found.scores) == 1
    np.testing.assert_array_equal(found.masks[0], mask)


def two_windows(left: Sequence[Drawn], right: Sequence[Drawn]) -> InstancePrediction:
    """Windows of columns 0…50 and 38…88 of an image 40 × 88; masks are given in pixels of the image."""
    parts, size = [(0, 0, 40, 50), (0, 38, 40, 88)], (40, 88)
    first = prediction([(label, mask[:, :50]) for label, mask in left], [0.6] * len(left), (40, 50))
    second = prediction([(label, mask[:, 38:]) for label, mask in right], [0.8] * len(right), (40, 50))
    return TASK.join(parts, [first, second], size, Tile((40, 50), 12))


def test_score_is_the_higher_box_and_mask_are_the_union() -> None:
    found = two_windows([(1, rectangle(10, 20, 20, 50, (40, 88)))], [(1, rectangle(11, 38, 22, 70, (40, 88)))])
    assert found.scores.tolist() == pytest.approx([0.8])
    assert found.boxes.tolist() == [[20, 10, 70, 22]]
    assert found.masks[0].sum() == 30 * 10 + 32 * 11 - 12 * 9


def test_a_cut_detection_that_is_drawn_poorly_is_joined_by_the_share_of_the_smaller() -> None:
    poor = rectangle(10, 38, 20, 42, (40, 88))  # a third of what the left window sees there; cut at column 38
    found = two_windows([(1, rectangle(10, 20, 20, 50, (40, 88)))], [(1, poor)])
    assert found.boxes.tolist() == [[20, 10, 50, 20]]
    not_cut = rectangle(10, 42, 20, 46, (40, 88))
    assert len(two_windows([(1, rectangle(10, 20, 20, 47, (40, 88)))], [(1, not_cut)]).scores) == 2


def test_what_agrees_with_nothing_is_kept() -> None:
    fragment = rectangle(10, 30, 20, 50, (40, 88))
    other_class = rectangle(10, 38, 20, 60, (40, 88))
    found = two_windows([(1, fragment)], [(2, other_class)])
    assert found.labels.tolist() == [2, 1]
    np.testing.assert_array_equal(found.masks, np.stack([other_class, fragment]))
    assert len(two_windows([(1, fragment)], []).scores) == 1
    nothing = two_windows([], [])
    assert (nothing.masks.shape, nothing.boxes.shape, nothing.labels.dtype, nothing.scores.dtype) == ((0, 40, 88), (0, 4), np.int64, np.float32)


def test_a_detection_without_pixels_is_kept_as_it_is() -> None:
    empty = InstancePrediction(np.array([0.5], np.float32), np.array([1]), np.array([[3, 4, 5, 6]], np.float32), np.zeros((1, 40, 50), np.bool_))
    found = TASK.join([(0, 0, 40, 50), (0, 38, 40, 88)], [empty, empty], (40, 88), Tile((40, 50), 12))
    assert found.boxes.tolist() == [[3, 4, 5, 6], [41, 4, 43, 6]]
    assert not found.masks.any()
