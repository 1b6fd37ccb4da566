"""The best that a configuration can reach: against the graph's own resizing and the detector's own targets, in torch."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional

from segline.data.class_masks import class_masks
from segline.data.store import IGNORE, Instances, Sample
from segline.evaluation.ceiling import Ceiling, geometries, sentence
from segline.metrics import catalog
from segline.models.maskrcnn.masks import mask_targets
from segline.tasks import catalog as tasks
from segline.tasks.instance.ceiling import GRID, mask_target
from segline.tasks.semantic.ceiling import shrunk, there_and_back
from segline.tasks.semantic.learning import Decide
from segline_runtime.instance import paste_masks
from segline_runtime.specification import ClassInfo, Components, Geometry, Specification

CLASSES = (ClassInfo(0, "ground", (0, 0, 0), False), *(ClassInfo(i, name, (9, 9, 9), True) for i, name in ((1, "disc"), (2, "ring"))))
NATIVE = Geometry("native", None)


def _specification(**more: Any) -> Specification:
    return replace(Specification("semantic", "m", "d", CLASSES, NATIVE, (0.0,) * 3, (1.0,) * 3), **more)


def _regions(seed: int = 0, size: tuple[int, int] = (70, 90)) -> Any:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(3, *size)), (0, 4, 4))
    return noise.argmax(axis=0).astype(np.uint8)


def _ellipses(seed: int = 0, size: tuple[int, int] = (90, 120)) -> Sample:
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    masks = []
    for y, x in ((25, 25), (60, 40), (45, 90)):
        a, b = random.uniform(8, 20, 2)
        masks.append(((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 <= 1)
    stacked = np.stack(masks)
    corners = [(c.min(), r.min(), c.max() + 1, r.max() + 1) for r, c in map(np.nonzero, stacked)]
    objects = Instances(stacked, np.array(corners, np.float32), np.array([1, 2, 1], np.int64), np.zeros(3, np.bool_))
    return Sample(1, "image", np.zeros((*size, 3), np.uint8), None, objects)


@pytest.mark.parametrize("size", [(35, 45), (32, 64), (100, 140)])
def test_there_and_back_is_the_way_of_the_graph(size: tuple[int, int]) -> None:
    mask = _regions()
    small = torch.from_numpy(shrunk(mask, size).astype(np.int64))
    logits = functional.one_hot(small, 3).permute(2, 0, 1)[None].float()
    expected = Decide()(logits, mask.shape)[0].numpy()
    found = there_and_back(mask, [Geometry("stretch", size)])
    assert (found != expected).mean() < 2e-3, "two classes that are equally near may fall either way"
    assert (found != mask).mean() < (0.15 if size[0] < 70 else 0.02)


def test_what_is_not_resized_loses_nothing_and_ignored_pixels_may_be_anything() -> None:
    mask = _regions()
    mask[:, :20] = IGNORE
    for geometry in (NATIVE, Geometry("stretch", (70, 90))):
        found = there_and_back(mask, [geometry])
        np.testing.assert_array_equal(found[:, 20:], mask[:, 20:])
        assert found.max() < 3
    mask[:] = IGNORE
    assert not there_and_back(mask, [Geometry("stretch", (20, 30))]).any()


def test_several_networks_vote() -> None:
    mask = _regions()
    coarse, fine = Geometry("stretch", (14, 18)), Geometry("letterbox", (64, 90))
    wrong = [(there_and_back(mask, some) != mask).mean() for some in ([coarse], [coarse, fine], [fine])]
    assert wrong[0] > wrong[1] >= wrong[2] > 0


@pytest.mark.parametrize("size", [(90, 120), (45, 60), (120, 200)])
def test_targets_are_those_that_the_mask_head_learns(size: tuple[int, int]) -> None:
    sample = _ellipses()
    assert sample.instances is not None
    objects = sample.instances
    ratio = np.array([size[1] / 120, size[0] / 90] * 2, np.float32)
    seen = np.stack([shrunk(mask.astype(np.uint8), size) for mask in objects.masks])
    boxes = objects.boxes * ratio + np.array([-0.3, 0.4, 0.2, 1.7], np.float32)
    expected = mask_targets(torch.from_numpy(seen), torch.from_numpy(boxes), torch.arange(3), GRID).numpy()
    for i in range(3):
        np.testing.assert_allclose(mask_target(seen[i], boxes[i], GRID), expected[i], atol=1e-5)
    geometry = Geometry("stretch", size)
    found = tasks.get("instance").ceiling(sample, [geometry], _specification(task="instance"))
    at_true_boxes = mask_targets(torch.from_numpy(seen), torch.from_numpy(objects.boxes * ratio), torch.arange(3), GRID).numpy()
    assert (found.masks != paste_masks(at_true_boxes, objects.boxes, (90, 120))).mean() < 1e-4  # type: ignore[attr-defined]


def test_crowds_and_empty_images() -> None:
    sample = _ellipses()
    assert sample.instances is not None
    sample.instances.crowd[1] = True
    found: Any = tasks.get("instance").ceiling(sample, [NATIVE], _specification(task="instance"))
    assert found.labels.tolist() == [1, 1]
    assert found.scores.tolist() == [1, 1]
    none = Instances(np.zeros((0, 8, 9), np.bool_), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    empty: Any = tasks.get("instance").ceiling(Sample(1, "i", np.zeros((8, 9, 3), np.uint8), None, none), [NATIVE], _specification(task="instance"))
    assert empty.masks.shape == (0, 8, 9)


def test_classes_go_there_and_back_each_for_itself() -> None:
    sample, classes = _ellipses(), (ClassInfo(0, "background", (0, 0, 0), False), *CLASSES[1:])
    sample = replace(sample, mask=np.zeros(sample.image.shape[:2], np.uint8))
    truth = class_masks(sample, classes)
    task, specification = tasks.get("multilabel"), _specification(task="multilabel", classes=classes)
    whole: Any = task.ceiling(sample, [NATIVE], specification)
    np.testing.assert_array_equal(whole.masks, truth == 1)
    half: Any = task.ceiling(sample, [Geometry("stretch", (45, 60)), Geometry("letterbox", (50, 70))], specification)
    overlaps = [(a & b).sum() / (a | b).sum() for a, b in zip(half.masks, truth == 1, strict=True) if b.any()]
    assert len(overlaps) > 1 and 0.9 < min(overlaps) < 1


def test_components_see_two_objects_that_touch_as_one() -> None:
    sample = _ellipses()
    assert sample.instances is not None
    specification = _specification(task="instance", components=Components(min_size=16, connectivity=8, max_detections=100))
    apart: Any = tasks.get("instance").ceiling(sample, [NATIVE], specification)
    assert len(apart.labels) == 3
    np.testing.assert_array_equal(np.sort(apart.masks.sum(axis=(1, 2))), np.sort(sample.instances.masks.sum(axis=(1, 2))))
    masks = np.zeros((2, 40, 40), np.bool_)
    masks[0, 5:20, 5:20] = masks[1, 20:30, 5:20] = True
    objects = Instances(masks, np.array([(5, 5, 20, 20), (5, 20, 20, 30)], np.float32), np.ones(2, np.int64), np.zeros(2, np.bool_))
    touching: Any = tasks.get("instance").ceiling(Sample(1, "i", np.zeros((40, 40, 3), np.uint8), None, objects), [NATIVE], specification)
    assert len(touching.labels) == 1


def test_of_what_is_made_of_others_each_network_counts() -> None:
    leaf = SimpleNamespace(geometry=Geometry("stretch", (8, 8)), members=())
    other = SimpleNamespace(geometry=Geometry("letterbox", (16, 16)), members=())
    nested = SimpleNamespace(geometry=NATIVE, members=(leaf, SimpleNamespace(geometry=NATIVE, members=(other, leaf))))
    assert list(geometries(nested)) == [leaf.geometry, other.geometry, leaf.geometry]  # type: ignore[arg-type]
    assert list(geometries(leaf)) == [leaf.geometry]  # type: ignore[arg-type]


def test_ceilings_stand_under_their_own_names_and_those_of_probabilities_have_none() -> None:
    plan: Any = SimpleNamespace(classes=CLASSES, geometry=Geometry("stretch", (20, 30)), members=())
    metrics = [catalog.get(word) for word in ("iou", "boundary_iou", "ece", "class_support")]
    ceiling = Ceiling(tasks.get("semantic"), plan, _specification(), metrics)
    make, scorer = ceiling.beside
    sample = Sample(1, "image", np.zeros((70, 90, 3), np.uint8), _regions(), None)
    scorer.add(make(sample), sample)
    found = ceiling.figures(CLASSES)
    assert set(found) == {"ceiling_miou", "ceiling_boundary_iou"}
    assert 0.5 < found["ceiling_boundary_iou"] < found["ceiling_miou"] < 1
    told = sentence({**found, "miou": 0.25}, "miou")
    assert told == (
        f"The truth itself, sent through this model's resizing, targets and pasting, has miou {found['ceiling_miou']:.4f} (0.2500 of it is reached)."
    )
    assert sentence({}, "miou") is None
