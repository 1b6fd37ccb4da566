"""Objects as connected components: numbered as SciPy numbers them, scored, ordered, kept and cut by windows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from segline_runtime.components import components, objects
from segline_runtime.errors import InputError
from segline_runtime.instance import InstancePrediction
from segline_runtime.predict import predict, predict_batch
from segline_runtime.semantic import SemanticPrediction
from segline_runtime.specification import ClassInfo, Components, Geometry, Specification, Tile

CLASSES = tuple(ClassInfo(i, f"class {i}", (0, 0, 0), thing=i in (1, 3)) for i in range(4))
SPECIFICATION = Specification("instance", "m", "d", CLASSES, Geometry("native", None), (0.0,) * 3, (1.0,) * 3, components=Components(1, 4, 100))
SQUARE = np.ones((3, 3), dtype=bool)


def by_scipy(class_ids: NDArray[np.uint8], connectivity: int) -> tuple[NDArray[Any], int]:
    """Each thing class by itself."""
    numbers, count = np.zeros(class_ids.shape, dtype=np.int64), 0
    for thing in (1, 3):
        found, more = ndimage.label(class_ids == thing, SQUARE if connectivity == 8 else None)
        numbers[found > 0] = found[found > 0] + count
        count += more
    return numbers, count


def spiral(side: int) -> NDArray[np.uint8]:
    """One long winding line: the worst case for who joins runs."""
    drawn = np.zeros((side, side), np.uint8)
    for inset in range(0, side // 2, 2):
        last = side - 1 - inset
        drawn[inset, inset : last + 1] = drawn[inset : last + 1, last] = drawn[last, inset : last + 1] = 1
        drawn[inset + 2 : last + 1, inset] = 1
        drawn[inset + 2, inset : inset + 2] = 1
    return drawn


def pictures() -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    found = [spiral(61), np.zeros((5, 7), np.uint8), np.ones((1, 1), np.uint8), (np.indices((9, 8)).sum(axis=0) % 2).astype(np.uint8)]
    for _ in range(60):
        height, width = random.integers(1, 30, 2)
        found.append(random.integers(0, random.integers(2, 5), (height, width)).astype(np.uint8))
    return found


@pytest.mark.parametrize("connectivity", [4, 8])
def test_the_components_are_scipys(connectivity: int) -> None:
    for class_ids in pictures():
        ours, count = components(class_ids, np.isin(class_ids, (1, 3)), connectivity)
        theirs, expected = by_scipy(class_ids, connectivity)
        assert count == expected
        pairs = set(zip(ours.ravel().tolist(), theirs.ravel().tolist(), strict=True))
        assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs}), "the same pixels together, by other numbers"
        firsts = [np.flatnonzero(ours == number + 1)[0] for number in range(count)]
        assert firsts == sorted(firsts), "in the order of their first pixels"


def prediction(class_ids: NDArray[np.uint8], sure: NDArray[np.float32] | float = 0.9) -> SemanticPrediction:
    """With `sure` as the probability of each pixel's class, and the rest shared by the others."""
    probabilities = np.empty((len(CLASSES), *class_ids.shape), np.float32)
    probabilities[:] = (1 - np.asarray(sure)) / (len(CLASSES) - 1)
    np.put_along_axis(probabilities, class_ids[None].astype(np.int64), np.broadcast_to(sure, class_ids.shape)[None].astype(np.float32), axis=0)
    return SemanticPrediction(class_ids, probabilities)


def picture() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A square of class 1, a bar of class 3 that touches it, a pixel of class 1 at the bar's corner, and stuff of class 2."""
    class_ids = np.zeros((12, 16), np.uint8)
    class_ids[2:6, 3:7], class_ids[6:8, 3:13], class_ids[8, 13], class_ids[10:] = 1, 3, 1, 2
    sure = np.full(class_ids.shape, 0.9, np.float32)
    sure[2:6, 3:7] = np.linspace(0.5, 0.8, 16).reshape(4, 4)
    return class_ids, sure


def test_objects_have_class_score_box_and_mask() -> None:
    class_ids, sure = picture()
    found = objects(prediction(class_ids, sure), SPECIFICATION)
    assert found.labels.tolist() == [3, 1, 1], "by falling score; of equal ones the upper first"
    assert found.scores.tolist() == pytest.approx([0.9, 0.9, 0.65])
    assert found.boxes.tolist() == [[3, 6, 13, 8], [13, 8, 14, 9], [3, 2, 7, 6]]
    for mask, label, (left, top, right, bottom) in zip(found.masks, found.labels, found.boxes.astype(int), strict=True):
        assert mask.sum() == mask[top:bottom, left:right].sum() == (class_ids[top:bottom, left:right] == label).sum()
    assert (found.scores.dtype, found.labels.dtype, found.boxes.dtype, found.masks.dtype) == (np.float32, np.int64, np.float32, np.bool_)


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        (Components(2, 4, 100), [3, 1]),
        (Components(17, 4, 100), [3]),
        (Components(21, 4, 100), []),
        (Components(1, 4, 1), [3]),
        (Components(1, 8, 100), [3, 1, 1]),
    ],
)
def test_what_is_too_small_or_too_many_goes(settings: Components, labels: list[int]) -> None:
    found = objects(prediction(*picture()), replace(SPECIFICATION, components=settings))
    assert found.labels.tolist() == labels
    assert found.masks.shape == (len(labels), 12, 16)


def test_corners_join_where_they_are_to() -> None:
    class_ids = np.eye(5, dtype=np.uint8)
    assert len(objects(prediction(class_ids), SPECIFICATION).scores) == 5
    [box] = objects(prediction(class_ids), replace(SPECIFICATION, components=Components(1, 8, 100))).boxes
    assert box.tolist() == [0, 0, 5, 5]


def test_without_stuff_every_pixel_is_a_thing() -> None:
    found = objects(prediction(np.zeros((4, 6), np.uint8)), replace(SPECIFICATION, components=Components(1, 4, 100, stuff=False)))
    assert found.labels.tolist() == [1] and found.masks.all()


def run(images: NDArray[Any], probabilities: bool) -> dict[str, NDArray[Any]]:
    """A graph that reads a pixel's class off its red value."""
    assert probabilities, "objects are scored by them"
    class_ids = images[..., 0].astype(np.uint8)
    logits = np.stack([np.where(class_ids == i, 5.0, 0.0) for i in range(len(CLASSES))], axis=1).astype(np.float32)
    return {"class_ids": class_ids, "logits": logits}


def test_an_image_a_batch_and_windows_give_the_same_objects() -> None:
    class_ids, _ = picture()
    image = np.repeat(class_ids[..., None], 3, axis=2)
    whole = predict(run, SPECIFICATION, image)
    tiled = predict(run, replace(SPECIFICATION, geometry=Geometry("native", None, Tile((8, 8), 3))), image)
    batched = predict_batch(run, SPECIFICATION, np.stack([image, image]))
    for other in (tiled, *batched):
        assert isinstance(whole, InstancePrediction) and isinstance(other, InstancePrediction)
        assert np.array_equal(whole.labels, other.labels) and np.array_equal(whole.masks, other.masks) and np.array_equal(whole.boxes, other.boxes)
        assert np.allclose(whole.scores, other.scores, atol=1e-5)


def test_the_specification_carries_the_rules() -> None:
    assert Specification.from_json(SPECIFICATION.to_json()) == SPECIFICATION
    values = SPECIFICATION.to_json().replace('"connectivity": 4', '"connectivity": 6')
    with pytest.raises(InputError, match="known are connectivity 4 and 8"):
        Specification.from_json(values)
