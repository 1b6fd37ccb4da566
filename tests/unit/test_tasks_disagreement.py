"""How far two predictions for one image are apart: what parity and promotion tell."""

from __future__ import annotations

import numpy as np
import pytest

from segline.tasks import catalog as tasks
from segline.tasks.instance.disagreement import disagreement, match
from segline_runtime.predictions import InstancePrediction, MultilabelPrediction, SemanticPrediction


def semantic(ids: list[list[int]], probability: float | None = None) -> SemanticPrediction:
    array = np.array(ids, np.uint8)
    return SemanticPrediction(array, None if probability is None else np.full((2, *array.shape), probability, np.float32))


def test_semantic_disagreement() -> None:
    apart = tasks.get("semantic").disagreement
    assert apart(semantic([[0, 1], [1, 1]], 0.5), semantic([[0, 1], [1, 0]], 0.75)) == {"differing_pixels": 0.25, "probability": 0.25}
    assert apart(semantic([[0, 1]]), semantic([[0, 1]], 0.5)) == {"differing_pixels": 0.0}
    assert apart(semantic([[0, 1]]), semantic([[0, 1], [0, 1]])) == {"differing_pixels": 1.0, "probability": 1.0}


def several(masks: list[list[list[int]]], probability: float | None = None) -> MultilabelPrediction:
    array = np.array(masks, np.bool_)
    return MultilabelPrediction(array, None if probability is None else np.full(array.shape, probability, np.float32))


def test_multilabel_disagreement() -> None:
    apart = tasks.get("multilabel").disagreement
    assert apart(several([[[0, 1]], [[1, 1]]], 0.5), several([[[0, 1]], [[1, 0]]], 0.75)) == {"differing_pixels": 0.25, "probability": 0.25}
    assert apart(several([[[0, 1]]]), several([[[0, 1]]], 0.5)) == {"differing_pixels": 0.0}
    assert apart(several([[[0, 1]]]), several([[[0, 1]], [[0, 1]]])) == {"differing_pixels": 1.0, "probability": 1.0}


def test_findings_are_what_there_is_to_compare() -> None:
    assert tasks.get("semantic").findings(semantic([[0, 1], [1, 1]])) == 4
    assert tasks.get("multilabel").findings(several([[[0, 1]], [[0, 0]]])) == 4
    assert tasks.get("instance").findings(instances([[0, 0, 5, 5]], [1], [0.5])) == 1
    assert tasks.get("instance").findings(instances([], [], [])) == 0


def instances(boxes: list[list[float]], labels: list[int], scores: list[float]) -> InstancePrediction:
    masks = np.zeros((len(boxes), 40, 40), np.bool_)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[int(y0) : int(y1), int(x0) : int(x1)] = True
    return InstancePrediction(np.array(scores, np.float32), np.array(labels, np.int64), np.array(boxes, np.float32).reshape(-1, 4), masks)


def test_detections_are_matched_not_compared_by_place() -> None:
    boxes = [[0, 0, 10, 10], [20, 20, 30, 30], [0, 20, 10, 30]]
    first = instances(boxes, [1, 1, 2], [0.9, 0.8, 0.7])
    swapped = instances([boxes[1], boxes[0], boxes[2]], [1, 1, 2], [0.8, 0.9, 0.7])
    assert sorted(match(first, swapped)) == [(0, 1), (1, 0), (2, 2)]
    assert set(disagreement(first, swapped).values()) == {0.0}


def test_instance_disagreement() -> None:
    first = instances([[0, 0, 10, 10], [20, 20, 30, 30], [0, 20, 10, 30]], [1, 1, 2], [0.9, 0.8, 0.7])
    second = instances([[0, 0, 10, 8], [20, 20, 30, 30]], [1, 2], [0.6, 0.8])
    figures = tasks.get("instance").disagreement(first, second)
    assert figures["box_px"] == 2
    assert figures["score"] == pytest.approx(0.3)
    assert figures["mask_iou_loss"] == pytest.approx(0.2)
    assert figures["unmatched"] == 3
    assert figures["unmatched_score"] == pytest.approx(0.8)
    weak = instances([[0, 20, 10, 30], [30, 0, 40, 10]], [2, 1], [0.3, 0.2])
    assert disagreement(weak, instances([], [], []))["unmatched"] == 2
    assert disagreement(weak, instances([], [], []))["unmatched_score"] == pytest.approx(0.3)


def test_no_detections_agree() -> None:
    nothing, something = instances([], [], []), instances([[0, 0, 5, 5]], [1], [0.5])
    assert set(disagreement(nothing, nothing).values()) == {0.0}
    assert disagreement(nothing, something)["unmatched_score"] == 0.5
    assert disagreement(nothing, something)["nothing_matched"] == 0


def test_detections_of_which_none_match() -> None:
    first, second = instances([[0, 0, 5, 5]], [1], [0.05]), instances([[20, 20, 25, 25]], [1], [0.09])
    assert disagreement(first, second) | {"unmatched_score": 0} == {
        "box_px": 0,
        "score": 0,
        "mask_iou_loss": 0,
        "unmatched": 2,
        "unmatched_score": 0,
        "nothing_matched": 1,
    }


@pytest.mark.parametrize("undefined", [0, 1])
def test_a_score_that_is_undefined_is_not_passed_over(undefined: int) -> None:
    boxes = [[0, 0, 10, 10], [20, 20, 30, 30]]
    first, second = instances(boxes, [1, 1], [0.9, 0.8]), instances(boxes, [1, 1], [0.9, 0.8])
    second.scores[undefined] = np.nan
    assert np.isnan(disagreement(first, second)["score"])
    assert np.isnan(disagreement(first, instances(boxes[:1], [2], [np.nan]))["unmatched_score"])


def test_two_detections_of_one_object_need_two_partners() -> None:
    twice, once = instances([[0, 0, 10, 10], [0, 0, 10, 9]], [1, 1], [0.9, 0.8]), instances([[0, 0, 10, 9]], [1], [0.9])
    assert match(twice, once) == [(1, 0)]


@pytest.mark.parametrize("name", tasks.TASKS)
def test_the_limits_are_figures_of_the_disagreement(name: str) -> None:
    same = {"semantic": semantic([[0, 1]], 0.5), "multilabel": several([[[0, 1]]], 0.5), "instance": instances([], [], [])}[name]
    assert set(tasks.get(name).limits) <= set(tasks.get(name).disagreement(same, same))
