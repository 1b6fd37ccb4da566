"""Classes of pixels: decoding outputs, and blending windows into one picture."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from segline_runtime.geometry import Window, windows
from segline_runtime.semantic import TASK, SemanticPrediction, blending_weights
from segline_runtime.specification import ClassInfo, Geometry, Specification, Tile

SIZE = (70, 93)
TILES = [Tile((32, 40), 9), Tile((32, 40), 0), Tile((31, 33), 30), Tile((500, 20), 7)]


def pointwise(window: Window, field: np.ndarray) -> SemanticPrediction:
    """What a network without a neighbourhood says of a window: `field` `(K, H, W)` holds its probabilities."""
    top, left, bottom, right = window
    probabilities = field[:, top:bottom, left:right]
    return SemanticPrediction(probabilities.argmax(0).astype(np.uint8), probabilities)


def joined(parts: Sequence[Window], predictions: Iterator[SemanticPrediction], tile: Tile, size: tuple[int, int] = SIZE) -> SemanticPrediction:
    return TASK.join(parts, predictions, size, tile, probabilities=True)


def test_probabilities_only_where_they_were_asked_for() -> None:
    ids = np.zeros((2, 4, 5), np.uint8)
    first, second = TASK.decode({"class_ids": ids, "probabilities": np.ones((2, 3, 4, 5), np.float32)}, (4, 5))
    assert first.probabilities is not None
    assert first.probabilities.shape == (3, 4, 5)
    assert second.task == "semantic"
    [without] = TASK.decode({"class_ids": ids[:1]}, (4, 5))
    assert without.probabilities is None
    [of_logits] = TASK.decode({"class_ids": ids[:1], "logits": np.log(np.full((1, 3, 4, 5), 7, np.float32)) + 80}, (4, 5))
    assert of_logits.probabilities is not None
    np.testing.assert_allclose(of_logits.probabilities, 1 / 3, rtol=1e-5)
    parts = windows(SIZE, TILES[0])
    field = np.full((3, *SIZE), 1 / 3, np.float32)
    assert TASK.join(parts, (pointwise(part, field) for part in parts), SIZE, TILES[0]).probabilities is None


@pytest.mark.parametrize("tile", TILES)
def test_a_constant_field_stays_constant(tile: Tile) -> None:
    parts = windows(SIZE, tile)
    field = np.broadcast_to(np.array([0.2, 0.5, 0.3], np.float32)[:, None, None], (3, *SIZE))
    found = joined(parts, (pointwise(part, field) for part in parts), tile)
    assert found.probabilities is not None
    assert found.probabilities.dtype == np.float32
    np.testing.assert_allclose(found.probabilities, field, atol=1e-5)
    assert (found.class_ids == 1).all()


@pytest.mark.parametrize("tile", TILES)
def test_windows_of_a_network_without_neighbourhood_give_what_one_pass_gives(tile: Tile) -> None:
    field = np.random.default_rng(0).dirichlet((1, 1, 1, 1), SIZE).transpose(2, 0, 1).astype(np.float32)
    parts = windows(SIZE, tile)
    found = joined(parts, (pointwise(part, field) for part in parts), tile)
    whole = pointwise((0, 0, *SIZE), field)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities, field, atol=1e-5)
    np.testing.assert_array_equal(found.class_ids, whole.class_ids)
    assert found.class_ids.dtype == np.uint8


def test_from_one_window_to_the_next_there_is_a_ramp_and_no_seam() -> None:
    size, tile = (12, 30), Tile((12, 20), 10)
    parts = windows(size, tile)
    ends = [np.stack([np.full((12, 20), value), np.full((12, 20), 1 - value)]).astype(np.float32) for value in (0.0, 1.0)]
    found = joined(parts, (SemanticPrediction(np.zeros((12, 20), np.uint8), end) for end in ends), tile, size)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities[0, 2], [0] * 10 + [i / 11 for i in range(1, 11)] + [1] * 10, atol=1e-6)


@pytest.mark.parametrize("tile", TILES)
def test_weights_fall_towards_cuts_alone_and_never_to_nothing(tile: Tile) -> None:
    total = np.zeros(SIZE)
    for window in windows(SIZE, tile):
        top, left, bottom, right = window
        weights = blending_weights(window, SIZE, tile.overlap)
        assert weights.shape == (bottom - top, right - left)
        assert weights.min() > 0
        assert weights.max() <= 1
        total[top:bottom, left:right] += weights
    assert (total > 0).all()
    np.testing.assert_array_equal(blending_weights((0, 0, *SIZE), SIZE, tile.overlap), np.ones(SIZE))


def test_the_shares_of_an_answer_take_little_memory() -> None:
    classes = (ClassInfo(0, "a", (0, 0, 0), False), ClassInfo(1, "b", (1, 1, 1), True), ClassInfo(2, "c", (2, 2, 2), True))
    specification = Specification("semantic", "m", "d", classes, Geometry("native", None), (0.0,) * 3, (1.0,) * 3)
    ids = np.zeros((1000, 2000), np.uint8)
    ids[:250] = 2
    tracemalloc.start()
    answer = TASK.answer(SemanticPrediction(ids), specification)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [found["share"] for found in answer["classes"]] == [0.75, 0.0, 0.25]
    assert most < 2.5 * ids.nbytes


def test_one_canvas_is_all_the_memory_that_windows_need() -> None:
    size, classes, tile = (768, 768), 6, Tile((64, 64), 16)
    parts = windows(size, tile)

    def predictions() -> Iterator[SemanticPrediction]:
        for _ in parts:
            yield SemanticPrediction(np.zeros((64, 64), np.uint8), np.full((classes, 64, 64), 1 / classes, np.float32))

    canvas = classes * size[0] * size[1] * 4
    tracemalloc.start()
    try:
        joined(parts, predictions(), tile, size)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(parts) * classes * 64 * 64 * 4 > 1.5 * canvas  # what all windows together hold
    assert peak < 1.8 * canvas  # canvas, weights and ids
