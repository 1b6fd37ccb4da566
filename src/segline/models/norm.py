"""The normalisation layers of a finished network, exchanged: group norm where batches are too small for batch statistics (Wu 2018)."""

from __future__ import annotations

from torch import nn

GROUPS = 32


def to_group_norm(network: nn.Module) -> nn.Module:
    """Put group norm in the place of each batch norm, with its scale and shift; at most `GROUPS` groups, fewer where the channels cannot be divided so."""
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            group = _like(child)
            # timm's batch norm has the dropout and the activation that follow it inside.
            inside = [part for part in (getattr(child, "drop", None), getattr(child, "act", None)) if isinstance(part, nn.Module)]
            setattr(network, name, nn.Sequential(group, *inside) if inside else group)
        else:
            to_group_norm(child)
    return network


def _like(norm: nn.BatchNorm2d) -> nn.GroupNorm:
    channels = norm.num_features
    groups = next(n for n in range(min(GROUPS, channels), 0, -1) if channels % n == 0)
    group = nn.GroupNorm(groups, channels, eps=norm.eps, affine=norm.affine)
    if norm.affine:
        group.weight.data.copy_(norm.weight.data)
        group.bias.data.copy_(norm.bias.data)
    return group
