"""Activation checkpointing (Chen 2016): a network's blocks keep their inputs alone, and are computed a second time in the backward pass.

The blocks are found in whatever network: the smallest modules that are called and hold at least two layers with weights (a residual block, a decoder's stage).
Where a network runs a list of layers by a method, its class names the method in `segments`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.utils.checkpoint import checkpoint

_LAYERS = 2  # with weights; one alone keeps no more than its input


def install(network: nn.Module, run: Callable[[], object]) -> list[nn.Module]:
    """Let the blocks of a network be recomputed when it trains; results stay the same. `run`: sends an image through it, to see which modules are called.

    Returns the modules that are, or whose `segments` are.
    """
    segmented = [module for module in network.modules() if getattr(module, "segments", ())]
    blocks = _blocks(network, run, {part for module in segmented for part in module.modules()})
    for block in blocks:
        block.forward = partial(_recomputed, block.forward)
    for module in segmented:
        for name in module.segments:  # type: ignore[union-attr]
            setattr(module, name, partial(_recomputed, getattr(module, name)))
    return [*blocks, *segmented]


def _blocks(network: nn.Module, run: Callable[[], object], without: set[nn.Module]) -> list[nn.Module]:
    candidates = [module for module in network.modules() if _layers(module) >= _LAYERS and without.isdisjoint(module.modules())]
    called: dict[nn.Module, None] = {}
    hooks = [module.register_forward_hook(lambda module, _given, _found: called.update({module: None})) for module in candidates]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return [module for module in called if not any(part in called for part in module.modules() if part is not module)]


def _layers(module: nn.Module) -> int:
    return sum(isinstance(part, _ConvNd | nn.Linear) for part in module.modules())


def _recomputed(compute: Any, *given: Any, **named: Any) -> Any:
    """What `compute`, a method of a module, gives; in training only what it was given is kept."""
    module: nn.Module = compute.__self__
    if not (module.training and torch.is_grad_enabled()):
        return compute(*given, **named)
    return checkpoint(compute, *given, use_reentrant=False, context_fn=lambda: (nullcontext(), _again(module)), **named)


@contextmanager
def _again(module: nn.Module) -> Iterator[None]:
    """While a block is computed a second time, its batch norms learn no statistics: they have them of the first time."""
    # They still update them, by nothing: without any, they would keep other tensors than the first time, which `checkpoint` refuses.
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    before = [(norm.momentum, None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and batches is not None:
                norm.num_batches_tracked.copy_(batches)
