"""The normalisation layers of a finished network, exchanged.

sync       batch norm whose statistics are of all GPUs together
frozen     the encoder's batch norm with the statistics, scale and shift that its weights came with, none of which is trained
inplace_abn  batch norm and the ReLU behind it in one step that keeps half as much for the backward pass (see `segline.models.inplace_abn`)
group      group norm (Wu 2018), instance: instance norm (Ulyanov 2016), where batches are too small for batch statistics
"""

from __future__ import annotations

from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

GROUPS = 32


class PooledNorm(nn.Module):
    """The norm of a branch that is pooled to one value per channel.

    There a batch of one image has no variance, and batch norm takes its running statistics, as in evaluation, instead of failing.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, values: Tensor) -> Tensor:
        """`(B, C, 1, 1)`, of the same shape again."""
        norm = self.norm
        alone = self.training and isinstance(norm, _BatchNorm) and values.numel() == norm.num_features
        if alone and not (isinstance(norm, nn.SyncBatchNorm) and distributed.is_initialized()):
            assert isinstance(norm, _BatchNorm)
            return functional.batch_norm(values, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps)
        found: Tensor = norm(values)
        return found


def exchange(network: nn.Module, word: str, *, encoder: nn.Module | None = None) -> None:
    """Put other norms in the place of the batch norms of `network`, of which `encoder` is a part.

    word: batch, sync, frozen, group, instance or inplace_abn; none, where the network was built without. Raises ModelError where the network has nothing
    that inplace_abn could be put for.
    """
    if word == "sync":
        from timm.layers.norm_act import convert_sync_batchnorm

        convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    elif word == "frozen":
        from timm.layers.norm_act import freeze_batch_norm_2d

        assert encoder is not None
        freeze_batch_norm_2d(encoder)  # type: ignore[no-untyped-call]
    elif word == "group":
        to_group_norm(network)
    elif word == "instance":
        _exchange(network, instance=True)
    elif word == "inplace_abn":
        from segline.models import inplace_abn

        inplace_abn.exchange(network)
    else:
        assert word in ("batch", "none")


def to_group_norm(network: nn.Module) -> nn.Module:
    """Put group norm in the place of each batch norm, with its scale and shift; at most `GROUPS` groups, fewer where the channels cannot be divided so."""
    _exchange(network, instance=False)
    return network


def _exchange(network: nn.Module, *, instance: bool) -> None:
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            # Of one value per channel, instance norm would leave nothing.
            norm = _instance(child) if instance and not isinstance(network, PooledNorm) else _group(child)
            # timm's batch norm has the dropout and the activation that follow it inside.
            inside = [part for part in (getattr(child, "drop", None), getattr(child, "act", None)) if isinstance(part, nn.Module)]
            setattr(network, name, nn.Sequential(norm, *inside) if inside else norm)
        else:
            _exchange(child, instance=instance)


def _group(norm: nn.BatchNorm2d) -> nn.GroupNorm:
    channels = norm.num_features
    groups = next(n for n in range(min(GROUPS, channels), 0, -1) if channels % n == 0)
    group = nn.GroupNorm(groups, channels, eps=norm.eps, affine=norm.affine)
    _keep_scale_and_shift(norm, group)
    return group


def _instance(norm: nn.BatchNorm2d) -> nn.InstanceNorm2d:
    instance = nn.InstanceNorm2d(norm.num_features, eps=norm.eps, affine=norm.affine)
    _keep_scale_and_shift(norm, instance)
    return instance


def _keep_scale_and_shift(norm: nn.BatchNorm2d, other: nn.GroupNorm | nn.InstanceNorm2d) -> None:
    if norm.affine:
        other.weight.data.copy_(norm.weight.data)
        other.bias.data.copy_(norm.bias.data)
