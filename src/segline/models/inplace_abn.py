"""In-Place Activated Batch Norm (Rota Bulò 2018): batch norm and leaky ReLU in one step that keeps only its output for the backward pass.

Batch norm and an activation keep a feature map each. Leaky ReLU can be inverted, and so can the affine map: with y = leaky(z) and z = γ x̂ + β, the backward
pass has x̂ = (leaky⁻¹(y) − β) / γ from the output y, which the next layer keeps anyway. The statistics are those of all processes where there are several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from segline.errors import ModelError
from segline.models.norm import PooledNorm

SLOPE = 0.01
"""Of leaky ReLU below 0, as in the paper: so little that weights which were trained with ReLU go on."""

_LEAST_SCALE = 1e-5
"""A scale γ nearer to 0 cannot be divided by; it counts as this much, with its own sign."""

_OVER = (0, 2, 3)

_SIDE = 64  # pixels of the empty image: a multiple of every network's stride


class InPlaceABN(_BatchNorm):
    """Batch norm and leaky ReLU of maps `(B, C, H, W)`; parameters and state are those of `nn.BatchNorm2d`."""

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float | None = 0.1, slope: float = SLOPE) -> None:
        super().__init__(channels, eps=eps, momentum=momentum)
        self.slope = slope
        self.followed = False  # by an `InsideNorm`, in the place where the activation was

    @classmethod
    def like(cls, norm: nn.BatchNorm2d) -> InPlaceABN:
        """With the parameters and the running statistics of a batch norm."""
        found = cls(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        state = norm.state_dict()
        found.load_state_dict({name: state[name] for name in found.state_dict()})
        return found.to(norm.weight.device).train(norm.training)

    def forward(self, values: Tensor) -> Tensor:
        """`(B, C, H, W)`, of the same shape again."""
        self._check_input_dim(values)
        if not self.training:
            normalised = functional.batch_norm(values, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps)
            return functional.leaky_relu(normalised, self.slope)
        together = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
        if values.numel() == values.shape[1] and not together:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(values.shape)}")
        found, mean, variance, count = _NormalisedActivated.apply(values, self.weight, self.bias, self.eps, self.slope, together)
        if self.track_running_stats:
            self._remember(mean, variance, count)
        normalised_: Tensor = found
        return normalised_

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """As batch norm does: the running variance is the unbiased one; without a momentum, the plain mean over all batches."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share: Any = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked.to(mean.dtype)
        unbiased = variance * (count / (count - 1).clamp(min=1))
        self.running_mean.add_((mean.to(self.running_mean.dtype) - self.running_mean) * share)
        self.running_var.add_((unbiased.to(self.running_var.dtype) - self.running_var) * share)

    def _check_input_dim(self, values: Tensor) -> None:
        if values.dim() != 4:
            raise ValueError(f"expected maps (B, C, H, W), got {values.dim()} dimensions")


class _NormalisedActivated(torch.autograd.Function):
    """Values `(B, C, H, W)`, scale and shift `(C,)` → output, and of all processes mean and variance `(C,)` and the number of values per channel."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float, together: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        exact = _exact(values)
        variance, mean = torch.var_mean(exact, dim=_OVER, correction=0)
        count = torch.tensor(float(exact.numel() // exact.shape[1]), dtype=exact.dtype, device=exact.device)
        if together:
            mean, variance, count = _of_all(mean, variance, count)
        inverse = torch.rsqrt(variance + eps)
        scale = _divisible(weight).to(exact.dtype)
        shift = bias.to(exact.dtype)
        found = torch.addcmul(_maps(shift - mean * scale * inverse), exact, _maps(scale * inverse))
        found = functional.leaky_relu_(found, slope).to(values.dtype)
        ctx.save_for_backward(found, scale, shift, inverse, count)
        ctx.slope, ctx.together, ctx.parameters = slope, together, weight.dtype
        ctx.mark_non_differentiable(mean, variance, count)
        return found, mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        found, scale, shift, inverse, count = ctx.saved_tensors
        gradient_, output = _exact(gradient), _exact(found)
        below = output < 0
        before = torch.where(below, gradient_ * ctx.slope, gradient_)  # of the affine map's output
        normalised = (torch.where(below, output / ctx.slope, output) - _maps(shift)) / _maps(scale)
        shift_gradient, scale_gradient = before.sum(_OVER), (before * normalised).sum(_OVER)
        sums = torch.stack([shift_gradient, scale_gradient])
        if ctx.together:
            distributed.all_reduce(sums)
        of_mean, of_deviation = sums / count
        values_gradient = _maps(scale * inverse) * (before - _maps(of_mean) - normalised * _maps(of_deviation))
        return values_gradient.to(gradient.dtype), scale_gradient.to(ctx.parameters), shift_gradient.to(ctx.parameters), None, None, None


def _exact(values: Tensor) -> Tensor:
    """In float32, or float64 where they are so."""
    return values if values.dtype == torch.float64 else values.float()


def _divisible(weight: Tensor) -> Tensor:
    return torch.where(weight.abs() < _LEAST_SCALE, torch.copysign(torch.full_like(weight, _LEAST_SCALE), weight), weight)


def _maps(values: Tensor) -> Tensor:
    """`(C,)` beside maps `(B, C, H, W)`."""
    return values.view(1, -1, 1, 1)


def _of_all(mean: Tensor, variance: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and count over the values of all processes (Chan, Golub and LeVeque 1979)."""
    mine = torch.cat([mean, variance, count.view(1)])
    each = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
    distributed.all_gather(each, mine)
    channels = len(mean)
    means, variances, counts = (torch.stack([one[part] for one in each]) for part in (slice(channels), slice(channels, -1), slice(-1, None)))
    total = counts.sum()
    shares = counts / total
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean) ** 2)).sum(0), total


class InsideNorm(nn.Identity):
    """Stands where an activation was that is now in the norm before it, and nothing else comes here."""


def exchange(network: nn.Module) -> None:
    """Put `InPlaceABN` in the place of each batch norm that a ReLU follows, and of that ReLU. Other batch norms stay; raises ModelError where all would.

    A leaky ReLU of the same slope is a ReLU here, and its network computes what it did.
    Which ReLU follows which norm is seen by watching an image go through the network: a module's attributes do not tell.
    """
    seen = _Watched(network)
    inside: dict[nn.Module, nn.Module] = {}
    for relu, calls in seen.activations.items():
        others = [call for call in calls if call.norm is None]
        if len(others) == len(calls) or any(call.block is None for call in others):
            continue  # it follows no norm, or also something in the midst of a block
        for norm in dict.fromkeys(call.norm for call in calls if call.norm is not None):
            abn = InPlaceABN.like(norm)
            abn.followed = not others
            inside[norm] = abn
        inside[relu] = nn.Identity() if others else InsideNorm()
        # A residual block uses one ReLU after its first norms and again after its sum, where it ends: that one stands behind the block now.
        inside |= {call.block: nn.Sequential(call.block, _again(relu)) for call in others if call.block is not None}
    inside |= {norm: nn.Sequential(InPlaceABN.like(norm), norm.drop) for norm in seen.with_activation}
    if not inside:
        raise ModelError(
            "`norm: inplace_abn` joins each batch norm with the ReLU behind it, and this network has no such pair. "
            "Choose an encoder of ResNet's or VGG's kind (vgg13_bn), or another norm."
        )
    _put(network, inside)


def unfold(network: nn.Module) -> None:
    """Put batch norm and leaky ReLU back in the place of each pair, with the same results: an exporter folds batch norm into the convolution before it."""
    plain: dict[nn.Module, nn.Module] = {}
    for module in network.modules():
        if isinstance(module, InPlaceABN):
            norm = nn.BatchNorm2d(module.num_features, eps=module.eps, momentum=module.momentum).train(module.training)
            norm.load_state_dict(module.state_dict())
            plain[module] = norm if module.followed else nn.Sequential(norm, nn.LeakyReLU(SLOPE))
        elif isinstance(module, InsideNorm):
            plain[module] = nn.LeakyReLU(SLOPE)
    _put(network, plain)


def _activates(module: nn.Module) -> bool:
    """Whether a module is a ReLU, or the leaky one."""
    return type(module) is nn.ReLU or (type(module) is nn.LeakyReLU and module.negative_slope == SLOPE)


def _again(relu: nn.Module) -> nn.Module:
    """Another one of its kind."""
    return nn.LeakyReLU(SLOPE, inplace=True) if isinstance(relu, nn.LeakyReLU) else nn.ReLU(inplace=True)


def _put(network: nn.Module, others: dict[nn.Module, nn.Module]) -> None:
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if child in others:
                setattr(parent, name, others[child])


@dataclass(eq=False)
class _Call:
    """One call of a ReLU."""

    norm: nn.BatchNorm2d | None  # whose output it was given, untouched
    block: nn.Module | None = None  # which has it as a part and gave its output as its own


class _Watched:
    """What follows what in a network, seen while an empty image goes through it."""

    def __init__(self, network: nn.Module) -> None:
        from timm.layers.norm_act import BatchNormAct2d

        self.activations: dict[nn.Module, list[_Call]] = {}
        """The calls of each ReLU."""
        self.with_activation = [one for one in network.modules() if isinstance(one, BatchNormAct2d) and type(one.act) is nn.ReLU and one.affine]
        """timm's batch norms that have their ReLU inside."""
        pooled = {part for one in network.modules() if isinstance(one, PooledNorm) for part in one.modules()}
        self._norms: dict[int, tuple[nn.BatchNorm2d, int]] = {}  # what a norm gave, by identity, with its version: a sum may have been made of it since
        self._ends: dict[int, _Call] = {}  # what a ReLU gave, by identity
        self._alive: list[Any] = []  # so that no identity is given twice
        hooks = []
        for module in network.modules():
            if type(module) is nn.BatchNorm2d and module.affine and module.track_running_stats and module not in pooled:
                hooks.append(module.register_forward_hook(self._after_norm))
            elif _activates(module):
                hooks += [module.register_forward_pre_hook(self._before_activation), module.register_forward_hook(self._after_activation)]
            elif any(_activates(child) for child in module.children()):
                hooks.append(module.register_forward_hook(self._after_block))
        try:
            run_empty(network)
        finally:
            for hook in hooks:
                hook.remove()

    def _after_norm(self, module: nn.Module, _given: Any, found: Tensor) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        self._alive.append(found)
        self._norms[id(found)] = (module, found._version)

    def _before_activation(self, module: nn.Module, given: tuple[Tensor]) -> None:
        norm, version = self._norms.pop(id(given[0]), (None, 0))
        self.activations.setdefault(module, []).append(_Call(norm if given[0]._version == version else None))

    def _after_activation(self, module: nn.Module, _given: Any, found: Tensor) -> None:
        self._alive.append(found)
        self._ends[id(found)] = self.activations[module][-1]

    def _after_block(self, module: nn.Module, _given: Any, found: Any) -> None:
        call = self._ends.get(id(found))
        if call is not None and any(call in self.activations.get(child, ()) for child in module.children()):
            call.block = module


def run_empty(network: nn.Module) -> None:
    """Send an image of zeros through a network in eval mode, so that who has put hooks into it sees what it does."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with torch.no_grad():
            network(torch.zeros(1, first.in_channels, _SIDE, _SIDE, device=first.weight.device))
    finally:
        for module in training:
            module.training = True
