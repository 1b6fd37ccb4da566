"""Classes that may overlap: decoding outputs, blending windows, and the answer that JSON carries."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from segline_runtime.geometry import Window, windows
from segline_runtime.multilabel import TASK, MultilabelPrediction, sigmoid
from segline_runtime.specification import ClassInfo, Geometry, Specification, Tile

SIZE = (70, 93)
TILES = [Tile((32, 40), 9), Tile((32, 40), 0), Tile((500, 20), 7), Tile((40, 40), 16, context=8, step=4)]


def pointwise(window: Window, field: np.ndarray) -> MultilabelPrediction:
    """What a network without a neighbourhood says of a window: `field` `(K, H, W)` holds its probabilities."""
    top, left, bottom, right = window
    probabilities = field[:, top:bottom, left:right]
    return MultilabelPrediction(probabilities >= 0.5, probabilities)


def test_probabilities_only_where_they_were_asked_for() -> None:
    masks = np.zeros((2, 3, 4, 5), np.uint8)
    masks[0, :2, 0] = 1
    logits = np.where(masks, 2.0, -1e4).astype(np.float32)
    first, second = TASK.decode({"masks": masks, "logits": logits}, (4, 5))
    assert first.masks.dtype == np.bool_ and first.masks.sum() == 10 and not second.masks.any()
    assert first.probabilities is not None
    np.testing.assert_allclose(first.probabilities, np.where(masks[0], 1 / (1 + np.exp(-2)), 0), atol=1e-6)
    [without, _] = TASK.decode({"masks": masks}, (4, 5))
    assert without.probabilities is None and without.task == "multilabel"
    [of_other_size, _] = TASK.decode({"masks": masks, "logits": logits[:, :, :2, :2].copy()}, (4, 5))
    assert of_other_size.probabilities is not None and of_other_size.probabilities.shape == (3, 4, 5)


def test_the_sigmoid_of_any_number_is_finite() -> None:
    found = sigmoid(np.array([-np.inf, -1e9, -1.0, 0.0, 1.0, 1e9, np.inf], np.float32))
    np.testing.assert_allclose(found, [0, 0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1, 1], atol=1e-6)


@pytest.mark.parametrize("tile", TILES)
def test_windows_of_a_network_without_neighbourhood_give_what_one_pass_gives(tile: Tile) -> None:
    field = np.random.default_rng(0).random((4, *SIZE), np.float32)
    parts = windows(SIZE, tile)
    found = TASK.join(parts, (pointwise(part, field) for part in parts), SIZE, tile, probabilities=True)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities, field, atol=1e-5)
    sure = np.abs(field - 0.5) > 1e-5
    np.testing.assert_array_equal(found.masks[sure], (field >= 0.5)[sure])
    assert TASK.join(parts, (pointwise(part, field) for part in parts), SIZE, tile).probabilities is None


def test_an_answer_holds_a_mask_for_each_class() -> None:
    classes = (ClassInfo(0, "background", (0, 0, 0), False), ClassInfo(1, "rider", (9, 8, 7), True), ClassInfo(2, "bicycle", (2, 2, 2), True))
    specification = Specification("multilabel", "m", "d", classes, Geometry("native", None), (0.0,) * 3, (1.0,) * 3)
    masks = np.zeros((3, 4, 8), np.bool_)
    masks[0, :2] = masks[1, 2:] = masks[2, 3:] = True
    answer = TASK.answer(MultilabelPrediction(masks), specification)
    assert (answer["task"], answer["size"]) == ("multilabel", [4, 8])
    assert [(one["id"], one["name"], one["color"], one["share"]) for one in answer["classes"]] == [
        (0, "background", [0, 0, 0], 0.5),
        (1, "rider", [9, 8, 7], 0.5),
        (2, "bicycle", [2, 2, 2], 0.25),
    ]
    for one, mask in zip(answer["classes"], masks, strict=True):
        decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(one["mask"]))))
        np.testing.assert_array_equal(decoded, mask * np.uint8(255))
