"""Loaders. What an epoch shows, in which order and how augmented, is a function of (seed, epoch, index) alone: a resumed training sees the same.

At which size the images of a step are seen, where several are allowed, is a function of (seed, epoch, step): all processes see the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from segline.data.store import Sample, Split
from segline.errors import SeglineError
from segline.tasks.learning import Batch, Learning
from segline.training.augment import Augmentation, View
from segline.training.on_device import Prepared, PreparedBatch


@dataclass(frozen=True)
class Views:
    """How the steps of a training see their images."""

    scales: tuple[float, float] | None = None  # smallest and largest factor of their size
    uncropped_from: float = math.inf  # the first epoch, from 0, in which nothing is cut out

    def at(self, seed: int, epoch: int, step: int) -> View:
        """Of one step of one epoch."""
        scale = 1.0 if self.scales is None else float(np.random.default_rng((seed, epoch, step, _OF_A_STEP)).uniform(*self.scales))
        return View(scale, cropped=epoch < self.uncropped_from)


_OF_A_STEP = 1
"""Tells the chance of a step from that of an image."""


class _Training(Dataset[Sample | Prepared]):
    """Augmented samples, or those that a device will augment, addressed by (epoch, index, step)."""

    def __init__(self, images: Sequence[Sample], augmentation: Augmentation, seed: int, views: Views, *, on_device: bool) -> None:
        self._images = images
        self._augmentation = augmentation
        self._seed = seed
        self._views = views
        self._on_device = on_device

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, address: Any) -> Sample | Prepared:
        epoch, index, step = address
        seed = int(np.random.SeedSequence((self._seed, epoch, index)).generate_state(1)[0])
        view = self._views.at(self._seed, epoch, step)
        how = self._augmentation.prepared if self._on_device else self._augmentation
        return how(self._images[index], seed, view, self._images)


class _Untouched(Dataset[Sample]):
    """The samples as they are."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> Sample:
        sample: Sample = self._split[index]
        return sample


class _OneBatchOfNothing(Dataset[list[Sample]]):
    """Lightning leaves out a process without a batch, and the others would wait for it for ever."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _index: int) -> list[Sample]:
        return []


class _Shuffle(Sampler[tuple[int, int, int]]):
    """A permutation per epoch, dealt to the processes in equal parts; Lightning tells it the epoch.

    The images of one step are the same however many processes share them, and so is the number of steps: an incomplete last batch is left out where there
    is more than one (batch norm needs company). Where there is one alone, the first images fill it up until each process has as many as the others.
    """

    def __init__(self, length: int, *, batch_size: int, seed: int, rank: int, world: int, epoch: int = 0) -> None:
        """batch_size: of one process."""
        self._length, self._seed, self._rank, self._world = length, seed, rank, world
        self._batch_size = batch_size
        steps = length // (batch_size * world)
        self._each = steps * batch_size if steps else -(-length // world)
        self._epoch = epoch  # a resumed training's loader processes ask for the first order before Lightning has told the epoch

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return self._each

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Epoch, index of the image, and step within the epoch."""
        order = np.random.default_rng((self._seed, self._epoch)).permutation(self._length)
        dealt = np.resize(order, self._each * self._world)
        own = dealt[self._rank :: self._world]
        return ((self._epoch, int(index), at // self._batch_size) for at, index in enumerate(own))


class _Collate:
    """The task's collate function; a class, so that worker processes can be started by spawning."""

    def __init__(self, learning: Learning) -> None:
        self._learning = learning

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        return self._learning.collate(samples)


def _unchanged(images: Sequence[Prepared]) -> PreparedBatch:
    return PreparedBatch(tuple(images))


def training_loader(
    images: Sequence[Sample],
    *,
    learning: Learning,
    augmentation: Augmentation,
    batch_size: int,
    seed: int,
    first_epoch: int,
    rank: int,
    world: int,
    workers: int,
    pin: bool,
    views: Views = Views(),
    on_device: bool = False,
) -> DataLoader[Any]:
    """Batches of augmented samples, from `first_epoch` on; which images they hold is said in `_Shuffle`. batch_size: of one process.

    on_device: a `PreparedBatch` instead, which `DeviceAugmentation` takes.
    """
    return DataLoader(
        _Training(images, augmentation, seed, views, on_device=on_device),
        batch_size=batch_size,
        sampler=_Shuffle(len(images), batch_size=batch_size, seed=seed, rank=rank, world=world, epoch=first_epoch),
        collate_fn=_unchanged if on_device else _Collate(learning),
        num_workers=workers,
        worker_init_fn=_one_thread,
        persistent_workers=workers > 0,
        pin_memory=pin,
    )


def validation_loader(split: Split, *, batch_size: int, rank: int, world: int, workers: int) -> DataLoader[Any]:
    """Lists of untouched samples; each image goes to exactly one process."""
    part = split.part(range(rank, len(split), world))
    if not len(part):
        return DataLoader(_OneBatchOfNothing(), batch_size=None)
    return DataLoader(_Untouched(part), batch_size=batch_size, shuffle=False, collate_fn=list, num_workers=workers, worker_init_fn=_one_thread)


def as_raised(error: SeglineError) -> SeglineError:
    """An error with its sentences alone: torch raises what ended a loader process anew, with the whole traceback as its message."""
    _, _, sentences = str(error).rpartition(f"{type(error).__module__}.{type(error).__qualname__}: ")
    return type(error)(*sentences.splitlines())


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
