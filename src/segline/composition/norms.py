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
    """Give each batch norm of `network` that keeps statistics the plain mean of those of the batches, and leave the network in eval mode.

    batches: normalised images `(B, C, h, w)` on the network's device. As in training, dropout is at work; the random state is left as it was.
    Returns how many images were seen. A norm that none could speak to (one value per channel has no variance) keeps the statistics that it had.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return 0
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = None  # the plain mean of as many batches as were counted, so that the first takes the place of what was there
        norm.num_batches_tracked = torch.zeros_like(norm.num_batches_tracked) if norm.num_batches_tracked is not None else torch.tensor(0)
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
    for norm, momentum, counted in kept:
        norm.momentum, norm.num_batches_tracked = momentum, counted
    network.eval()
    return seen
