"""Bytes that a forward pass keeps for the backward pass: of the distinct storages that autograd saves, and of what recomputed blocks keep as their inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from segline.memory import storage


class Kept:
    """A context around a forward pass. Each storage counts once, for whoever saved it first; they stay alive as long as this object does."""

    def __init__(self, without: Iterable[Tensor], owner: Callable[[], str] = str) -> None:
        """without: tensors that are there anyway, such as weights. owner: who is computing just now."""
        self.by_owner: dict[str, int] = defaultdict(int)
        self._owner = owner
        self._seen = {storage(value) for value in without}
        self._alive: list[Tensor] = []
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._packed, _unpacked)

    @property
    def total(self) -> int:
        return sum(self.by_owner.values())

    def take(self, values: Any) -> None:
        """Count tensors that are kept by other ways than autograd's: those within `values`, however nested."""
        for value in tree_leaves(values):
            if isinstance(value, Tensor):
                self._packed(value)

    def __enter__(self) -> Self:
        self._hooks.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._hooks.__exit__(kind, error, trace)

    def _packed(self, value: Tensor) -> Tensor:
        key = storage(value)
        if key not in self._seen:
            self._seen.add(key)
            self._alive.append(value)  # so that no later storage gets its place
            self.by_owner[self._owner()] += value.untyped_storage().nbytes()
        return value


def _unpacked(value: Tensor) -> Tensor:
    return value
