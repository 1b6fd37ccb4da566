"""Each architecture learns one batch by heart, and the graph that is evaluated and exported then finds it again."""

from __future__ import annotations

from typing import Any

import factories
import numpy as np
import pytest
import torch
from test_models_published import CLASSES, batch_of
from torch import nn

from segline.data.store import Instances, Sample
from segline.models import catalog
from segline.tasks import catalog as tasks
from segline.tasks.predictor import GraphPredictor
from segline_runtime.instance import InstancePrediction
from segline_runtime.specification import Geometry, ImageKind, Specification

SEMANTIC = [arch for arch in catalog.ARCHITECTURES if catalog.settings(arch).task_of_arch == "semantic"]
STEPS = 300
"""At most. In the second half the rate falls to nothing, so that the statistics of batch norms come to rest."""

WIDER = {"segnet": {"width": 8}, "deconvnet": {"width": 8}}
"""Whose miniature is too narrow to learn anything by heart: of four channels, three of four values zero after unpooling, they lose a class."""

DETECTOR = {"norm": "group", "fpn_channels": 32, "proposals": {**factories.SMALL["maskrcnn"]["proposals"], "rpn_batch": 32, "box_batch": 32}}
"""A batch is one picture, of which more than two boxes are asked about."""

DETECTORS = [arch for arch in catalog.ARCHITECTURES if catalog.settings(arch).task_of_arch == "instance"]


def specification(task: str) -> Specification:
    return Specification(task, "m", "d", CLASSES, Geometry("native", None), (0.5,) * 3, (0.25,) * 3, ImageKind(channels=3))


def network(arch: str, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    return catalog.build(factories.settings(arch, **changes), channels=3, classes=len(CLASSES))


def miou(found: np.ndarray, truth: np.ndarray) -> float:
    """Of class ids `(B, H, W)`."""
    return float(np.mean([((found == c) & (truth == c)).sum() / ((found == c) | (truth == c)).sum() for c in range(len(CLASSES))]))


def falling(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LambdaLR:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - step / STEPS)))


@pytest.mark.slow
@pytest.mark.parametrize("arch", SEMANTIC)
def test_one_batch_is_learned_by_heart(arch: str) -> None:
    built, learning, samples = network(arch, **WIDER.get(arch, {})), tasks.learning("semantic"), batch_of(arch)
    criterion, batch = learning.criterion(factories.settings(arch), built, {}), learning.collate(samples)
    graph = learning.graph(built, specification("semantic"))
    images, truth = np.stack([sample.image for sample in samples]), np.stack([sample.mask for sample in samples])
    optimizer = torch.optim.AdamW(built.parameters(), lr=3e-3)
    schedule = falling(optimizer)
    score = 0.0
    for step in range(STEPS):
        built.train()
        optimizer.zero_grad()
        learning.losses(built, criterion, batch, specification("semantic"))["loss"].backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 19:
            score = miou(graph.run(images, False)["class_ids"], truth)
            if score > 0.95:
                break
    assert score > 0.95


def picture() -> Sample:
    """Two objects of two classes on dark ground."""
    random = np.random.default_rng(0)
    masks = np.zeros((2, 64, 64), np.bool_)
    masks[0, 6:34, 8:32], masks[1, 30:58, 36:60] = True, True
    boxes = np.array([[8, 6, 32, 34], [36, 30, 60, 58]], np.float32)
    image = random.integers(0, 60, (64, 64, 3))
    for mask, colour in zip(masks, ([150, 0, 0], [0, 150, 0]), strict=True):
        image[mask] += np.array(colour)
    objects = Instances(masks, boxes, np.array([1, 2]), np.zeros(2, np.bool_))
    return Sample(0, "0", image.astype(np.uint8), None, objects)


@pytest.mark.slow
@pytest.mark.parametrize("arch", DETECTORS)
def test_one_picture_is_learned_by_heart(arch: str) -> None:
    """Each object is found once, of its class, surely, and with its mask; and nothing else is."""
    built, learning, sample = network(arch, **DETECTOR), tasks.learning("instance"), picture()
    batch = learning.collate([sample])
    optimizer = torch.optim.AdamW(built.parameters(), lr=2e-3)
    schedule = falling(optimizer)
    predict = GraphPredictor(learning.graph(built, specification("instance")), specification("instance"))
    overlaps: list[float] = []
    for step in range(STEPS):
        built.train()
        optimizer.zero_grad()
        learning.losses(built, None, batch, specification("instance"))["loss"].backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 19:
            overlaps = recalled(predict, sample)
            if min(overlaps, default=0) > 0.95:
                break
    assert len(overlaps) == 2 and min(overlaps) > 0.95


def recalled(predict: GraphPredictor, sample: Sample) -> list[float]:
    """IoU of each object's mask with the one that is found for it; none unless as many are found as there are, each of its class."""
    assert sample.instances is not None
    [found] = predict([sample.image])
    assert isinstance(found, InstancePrediction)
    sure = found.scores > 0.5
    if sorted(found.labels[sure].tolist()) != sample.instances.labels.tolist():
        return []
    order = np.argsort(found.labels[sure])
    masks = zip(found.masks[sure][order], sample.instances.masks, strict=True)
    return [float((one & other).sum() / (one | other).sum()) for one, other in masks]
