"""One training step of a model as its plan says, on images and truth that are made up: everything in it is of the real size."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from segline.data.store import Instances, Sample
from segline.models import catalog as architectures
from segline.models import checkpointing
from segline.models.encoders import NONE
from segline.models.settings import ModelSettings
from segline.plan.plans import TrainPlan
from segline.tasks import catalog as tasks
from segline.training import hardware
from segline.training.truth_maps import TruthMaps
from segline_runtime.specification import Specification

_OBJECTS = 4  # in a made-up image
_EMPTY = (64, 64)  # height and width of an image that shows how a network is run

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Step:
    """A network that is about to train, and what it is shown."""

    network: nn.Module
    recomputed: list[nn.Module]  # blocks that keep their inputs alone
    precision: str
    batch: Any
    given: tuple[Tensor, ...]  # tensors of the batch
    loss: Any  # () → the scalar Tensor that is minimised

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """The precision in which the training computes."""
        dtype = _AUTOCAST.get(self.precision)
        return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def step(plan: TrainPlan, *, images: int, size: tuple[int, int], device: torch.device) -> Step:
    """The step of a training by `plan`, of so many images of `size` (height, width). Weights are random: they change neither time nor memory."""
    settings, learning = plan.settings, tasks.learning(plan.task)
    torch.manual_seed(0)
    network = architectures.build(_without_weights(settings), channels=plan.image.channels, classes=len(plan.classes)).train()
    zeros, ones = (0.0,) * plan.image.channels, (1.0,) * plan.image.channels
    specification = Specification(plan.task, plan.model, plan.dataset, plan.classes, plan.geometry, zeros, ones, plan.image)
    recomputed: list[nn.Module] = []
    if settings.train.checkpointing:
        empty = np.zeros((1, *_EMPTY, plan.image.channels), dtype=plan.image.dtype)
        recomputed = checkpointing.install(network, lambda: learning.graph(network, specification).run(empty))
    if settings.train.channels_last:
        network = network.to(memory_format=torch.channels_last)
    network = network.to(device)
    criterion = learning.criterion(settings, network, plan.class_weights)
    if criterion is not None:
        criterion = criterion.to(device)
    maps = TruthMaps(settings.wanted_maps, plan.classes) if settings.wanted_maps else None
    batch = learning.to_device(learning.collate([_sample(plan, size, seed, maps) for seed in range(images)]), device)
    given = tuple(value for value in _tensors(batch))
    return Step(
        network=network,
        recomputed=recomputed,
        precision=hardware.precision(settings.train.precision, device.type),
        batch=batch,
        given=given,
        loss=lambda: learning.losses(network, criterion, batch, specification)["loss"],
    )


def _without_weights(settings: ModelSettings) -> ModelSettings:
    """With random weights where pre-trained ones would have to be fetched; norms that are frozen because of these stay so."""
    if not settings.pretrained:
        return settings
    frozen = {"norm": "frozen"} if getattr(settings, "norm", None) == "auto" else {}
    return settings.model_copy(update={"weights": NONE, **frozen})


def _sample(plan: TrainPlan, size: tuple[int, int], seed: int, maps: TruthMaps | None) -> Sample:
    """Noise with a few rectangles of classes on the first one."""
    random = np.random.default_rng(seed)
    height, width = size
    values = random.random((height, width, plan.image.channels)) * plan.image.scale
    labels = [info.id for info in plan.classes if info.thing] or [info.id for info in plan.classes]
    mask = np.zeros(size, dtype=np.uint8)
    masks = np.zeros((_OBJECTS, *size), dtype=np.bool_)
    boxes = np.zeros((_OBJECTS, 4), dtype=np.float32)
    chosen = np.array([labels[i % len(labels)] for i in range(_OBJECTS)], dtype=np.int64)
    for i, label in enumerate(chosen):
        top, left = int(random.integers(0, height * 2 // 3)), int(random.integers(0, width * 2 // 3))
        bottom, right = top + max(2, height // 4), left + max(2, width // 4)
        masks[i, top:bottom, left:right] = True
        mask[top:bottom, left:right] = label
        boxes[i] = left, top, min(right, width), min(bottom, height)
    instances = Instances(masks, boxes, chosen, np.zeros(_OBJECTS, dtype=np.bool_))
    sample = Sample(seed + 1, f"made up {seed + 1}", values.astype(plan.image.dtype), mask, instances)
    if maps is None:
        return sample
    return Sample(sample.image_id, sample.name, sample.image, mask, instances, maps.of_picture(mask, maps.of_image(sample)))


def _tensors(batch: Any) -> list[Tensor]:
    return [value for value in tree_leaves(batch) if isinstance(value, Tensor)]
