"""Loaders. What an epoch shows, in which order and how augmented, is a function of (seed, epoch, index) alone: a resumed training sees the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from segline.data.store import Sample, Split
from segline.tasks.learning import Batch, Learning
from segline.training.augment import Augmentation


class _Training(Dataset[Sample]):
    """Augmented samples, addressed by (epoch, index)."""

    def __init__(self, split: Split, augmentation: Augmentation, seed: int) -> None:
        self._split = split
        self._augmentation = augmentation
        self._seed = seed

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, address: Any) -> Sample:
        epoch, index = address
        seed = int(np.random.SeedSequence((self._seed, epoch, index)).generate_state(1)[0])
        return self._augmentation(self._split[index], seed)


class _Untouched(Dataset[Sample]):
    """The samples as they are."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> Sample:
        sample: Sample = self._split[index]
        return sample


class _Shuffle(Sampler[tuple[int, int]]):
    """A permutation per epoch, dealt to the processes in equal parts; Lightning tells it the epoch."""

    def __init__(self, length: int, *, seed: int, rank: int, world: int, epoch: int = 0) -> None:
        self._length, self._seed, self._rank, self._world = length, seed, rank, world
        self._epoch = epoch  # a resumed training's loader processes ask for the first order before Lightning has told the epoch

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-self._length // self._world)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self._seed, self._epoch)).permutation(self._length)
        # Every process must make as many steps as the others: the first images fill up the last round.
        padded = np.resize(order, len(self) * self._world)
        return ((self._epoch, int(i)) for i in padded[self._rank :: self._world])


class _Collate:
    """The task's collate function; a class, so that worker processes can be started by spawning."""

    def __init__(self, learning: Learning) -> None:
        self._learning = learning

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        return self._learning.collate(samples)


def training_loader(
    split: Split,
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
) -> DataLoader[Any]:
    """Batches of augmented samples, from `first_epoch` on. An incomplete last batch is dropped where there is more than one: batch norm needs company."""
    return DataLoader(
        _Training(split, augmentation, seed),
        batch_size=batch_size,
        sampler=_Shuffle(len(split), seed=seed, rank=rank, world=world, epoch=first_epoch),
        collate_fn=_Collate(learning),
        num_workers=workers,
        worker_init_fn=_one_thread,
        persistent_workers=workers > 0,
        pin_memory=pin,
        drop_last=-(-len(split) // world) > batch_size,
    )


def validation_loader(split: Split, *, batch_size: int, rank: int, world: int, workers: int) -> DataLoader[Any]:
    """Lists of untouched samples; each image goes to exactly one process."""
    part = _Untouched(split.part(range(rank, len(split), world)))
    return DataLoader(part, batch_size=batch_size, shuffle=False, collate_fn=list, num_workers=workers, worker_init_fn=_one_thread)


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
