"""Statistics of batch norms, taken anew: those of averaged weights are not the average of the statistics, as what a layer sees depends on all before it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

IMAGES = 1000
"""At most, as training shows them. The error of a mean over independent images falls with the root of their number; a pass over a few hundred is usual."""


@torch.no_grad()
def renew(network: nn.Module, batches: Iterable[Tensor], seed: int) -> int:
    """Give each batch norm of `network` that keeps statistics the plain mean of those of the batches; how many images were seen.

    batches: normalised images `(B, C, h, w)` on the network's device. As in training, dropout is at work; the random state is left as it was.
    A norm that no batch could speak to (one value per channel has no variance) keeps the statistics that it had.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return 0
    before = [{name: value.clone() for name, value in norm.named_buffers(recurse=False)} for norm in norms]
    momenta = [norm.momentum for norm in norms]
    training = [module for module in network.modules() if module.training]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    seen = 0
    network.train()
    device = next(network.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for images in batches:
            network(images)
            seen += len(images)
            if seen >= IMAGES:
                break
    for norm, kept, momentum in zip(norms, before, momenta, strict=True):
        norm.momentum = momentum
        if not norm.num_batches_tracked:
            for name, value in kept.items():
                getattr(norm, name).copy_(value)
        elif norm.num_batches_tracked is not None:
            norm.num_batches_tracked.copy_(kept["num_batches_tracked"])
    network.eval()
    for module in training:
        module.training = True
    return seen
