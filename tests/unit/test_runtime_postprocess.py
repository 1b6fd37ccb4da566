"""Pasting masks and decoding outputs: compared with torchvision's own paste."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image

from segline_runtime.postprocess import clip_boxes, decode, paste_masks
from segline_runtime.predictions import InstancePrediction, SemanticPrediction
from segline_runtime.specification import ClassInfo, Specification

CLASSES = tuple(ClassInfo(i, f"class {i}", (i, i, i), i > 0) for i in range(3))


def specification(task: str) -> Specification:
    return Specification(task, "m", "d", CLASSES, (64, 64), "stretch", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def random_boxes(rng: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    corners = rng.uniform(0, 1, (count, 2, 2)) * (width, height)
    return np.concatenate([corners.min(1), corners.max(1)], axis=1).astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(128, 160), (37, 211), (5, 4), (1, 1)])
def test_masks_are_pasted_as_torchvision_pastes_them(height: int, width: int) -> None:
    rng = np.random.default_rng(height)
    boxes = random_boxes(rng, 60, height, width)
    boxes[0] = 0, 0, width, height
    boxes[1] = width - 1, height - 1, width, height
    boxes[2] = 0.4, 0.4, 0.4, 0.4
    smooth = torch.nn.functional.interpolate(torch.from_numpy(rng.random((60, 1, 5, 5), dtype=np.float32)), size=(28, 28), mode="bicubic").clamp(0, 1)
    theirs = paste_masks_in_image(smooth, torch.from_numpy(boxes), (height, width))[:, 0].numpy()
    ours = paste_masks(smooth[:, 0].numpy(), boxes, (height, width))
    decided = np.abs(theirs - 0.5) > 1e-5  # at the threshold itself, rounding decides
    assert decided.mean() > 0.99
    np.testing.assert_array_equal(ours[decided], (theirs > 0.5)[decided])


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
    [prediction] = decode(specification("instance"), outputs, (20, 30))
    assert isinstance(prediction, InstancePrediction)
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
    [prediction] = decode(specification("instance"), outputs, (20, 30))
    assert isinstance(prediction, InstancePrediction)
    assert prediction.masks.shape == (0, 20, 30)
    assert clip_boxes(prediction.boxes, (20, 30)).shape == (0, 4)


def test_probabilities_only_where_they_were_asked_for() -> None:
    ids = np.zeros((2, 4, 5), np.uint8)
    first, second = decode(specification("semantic"), {"class_ids": ids, "probabilities": np.ones((2, 3, 4, 5), np.float32)}, (4, 5))
    assert isinstance(first, SemanticPrediction)
    assert first.probabilities is not None
    assert first.probabilities.shape == (3, 4, 5)
    assert second.task == "semantic"
    [without] = decode(specification("semantic"), {"class_ids": ids[:1]}, (4, 5))
    assert isinstance(without, SemanticPrediction)
    assert without.probabilities is None
