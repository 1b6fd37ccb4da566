"""What each module of a network does while it runs: calls, time of its own, multiply-adds of its own, shape of what it gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

OUTSIDE = "(loss and the rest)"
"""What is computed in no module of the network."""


@dataclass
class Layer:
    """Of one module, without the modules within it."""

    kind: str
    calls: int = 0
    milliseconds: float = 0.0
    multiply_adds: int = 0
    shape: tuple[int, ...] | None = None  # of the first tensor that its first call gave
    started: list[tuple[float, int]] = field(default_factory=list, repr=False)


class Watched:
    """The modules of a network, watched while they run. What runs within a module is its own, up to the modules within it."""

    def __init__(self, network: nn.Module, device: torch.device, operations: Callable[[], int] | None = None) -> None:
        """operations: multiply-adds that were counted so far, if anybody counts."""
        self.layers: dict[str, Layer] = {OUTSIDE: Layer("")}
        self._names = {module: name or type(network).__name__ for name, module in network.named_modules()}
        self._device = device
        self._operations = operations or (lambda: 0)
        self._stack = [OUTSIDE]
        self._since = (0.0, 0)
        for module, name in self._names.items():
            self.layers[name] = Layer(type(module).__name__)

    @property
    def running(self) -> str:
        """Which module computes just now."""
        return self._stack[-1]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch a forward pass; what a backward pass computes again is outside."""
        hooks = [module.register_forward_pre_hook(self._enter) for module in self._names]
        hooks += [module.register_forward_hook(self._leave) for module in self._names]
        self._stack = [OUTSIDE]
        self._since = self._now()
        try:
            yield
            self._settle()
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, module: nn.Module, _given: Any) -> None:
        self._settle()
        self._stack.append(self._names[module])
        self.layers[self.running].calls += 1

    def _leave(self, module: nn.Module, _given: Any, found: Any) -> None:
        self._settle()
        layer = self.layers[self._names[module]]
        if layer.shape is None:
            layer.shape = next((tuple(value.shape) for value in tree_leaves(found) if isinstance(value, Tensor)), ())
        self._stack.pop()

    def _settle(self) -> None:
        """What has passed since the last change belongs to the module that has been running."""
        now = self._now()
        layer = self.layers[self.running]
        layer.milliseconds += 1000 * (now[0] - self._since[0])
        layer.multiply_adds += now[1] - self._since[1]
        self._since = self._now()

    def _now(self) -> tuple[float, int]:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter(), self._operations()


def parameters_of(network: nn.Module, names: Mapping[str, Layer]) -> dict[str, int]:
    """Parameters of each module, without those of the modules within it; shared ones count where they stand first."""
    seen: set[int] = set()
    found = dict.fromkeys(names, 0)
    for name, module in network.named_modules():
        for parameter in module.parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                found[name or type(network).__name__] += parameter.numel()
    return found
