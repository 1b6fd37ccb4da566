"""Each architecture learns one batch by heart, and the graph that is evaluated and exported then finds it again."""

from __future__ import annotations

import factories
import numpy as np
import pytest
import torch
from torch import nn

from segline.data.store import Sample
from segline.models import catalog
from segline.tasks import catalog as tasks
from segline_runtime.specification import ClassInfo, Geometry, ImageKind, Specification

CLASSES = tuple(ClassInfo(i, f"class {i}", (40 * i, 90, 10), i > 0) for i in range(3))
SEMANTIC = [arch for arch in catalog.ARCHITECTURES if catalog.settings(arch).task == "semantic"]
STEPS = 400
"""At most."""


def specification(task: str) -> Specification:
    return Specification(task, "m", "d", CLASSES, Geometry("native", None), (0.5,) * 3, (0.25,) * 3, ImageKind(channels=3))


def network(arch: str) -> nn.Module:
    torch.manual_seed(0)
    return catalog.build(factories.settings(arch), channels=3, classes=len(CLASSES))


def batch_of(arch: str) -> list[Sample]:
    """Two images of rectangles in their classes' colours; their edges are where the scores of the coarsest network can have them."""
    side = 32 if arch == "fcn32s" else 16
    random, found = np.random.default_rng(0), []
    for i, (bottom, right) in enumerate(((64, side), (side, 64))):
        mask = np.zeros((64, 64), np.uint8)
        mask[:bottom, :right] = 1 + i
        image = random.integers(0, 80, (64, 64, 3)) + np.array([[120, 0, 0], [0, 120, 0], [0, 0, 120]])[mask]
        found.append(Sample(i, str(i), image.astype(np.uint8), mask, None))
    return found


def miou(found: np.ndarray, truth: np.ndarray) -> float:
    """Of class ids `(B, H, W)`."""
    return float(np.mean([((found == c) & (truth == c)).sum() / ((found == c) | (truth == c)).sum() for c in range(len(CLASSES))]))


@pytest.mark.slow
@pytest.mark.parametrize("arch", SEMANTIC)
def test_one_batch_is_learned_by_heart(arch: str) -> None:
    built, learning, samples = network(arch), tasks.learning("semantic"), batch_of(arch)
    criterion, batch = learning.criterion(factories.settings(arch), built, {}), learning.collate(samples)
    graph = learning.graph(built, specification("semantic"))
    images, truth = np.stack([sample.image for sample in samples]), np.stack([sample.mask for sample in samples])
    optimizer = torch.optim.AdamW(built.parameters(), lr=3e-3)
    score = 0.0
    for step in range(STEPS):
        built.train()
        optimizer.zero_grad()
        learning.losses(built, criterion, batch, specification("semantic"))["loss"].backward()
        optimizer.step()
        if step % 20 == 19:
            score = miou(graph.run(images, False)["class_ids"], truth)
            if score > 0.95:
                break
    assert score > 0.95
