"""AdamW by one kernel, whatever the memory layout of weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_AVERAGES = ("exp_avg", "exp_avg_sq")


class FusedAdamW(torch.optim.AdamW):
    """torch's fused AdamW for dense weights in any order of their axes, such as channels_last.

    On a processor torch's kernel takes twice as long where a weight is not contiguous, and where its gradient lies in another order than the weight it pairs
    wrong numbers, without a word. The order of its numbers is nothing to the arithmetic: here the kernel sees each weight's memory as it lies, contiguous,
    and what lies otherwise is laid out as the weight is.
    """

    def __init__(self, params: Any, *, lr: float) -> None:
        super().__init__(params, lr=lr, fused=True)

    def _init_group(self, group: Any, params_with_grad: list[Any], grads: list[Any], exp_avgs: list[Any], exp_avg_sqs: list[Any], *others: Any) -> Any:
        """What the kernel is to move, of one group: torch fills these lists before each step."""
        found = super()._init_group(group, params_with_grad, grads, exp_avgs, exp_avg_sqs, *others)  # type: ignore[no-untyped-call]
        for i, (weight, *beside) in enumerate(zip(params_with_grad, grads, exp_avgs, exp_avg_sqs, strict=True)):
            if weight.is_contiguous() and all(values.is_contiguous() for values in beside):
                continue
            gradient, *averages = (_laid_out_as(weight, values) for values in beside)
            self.state[weight].update(zip(_AVERAGES, averages, strict=True))
            axes = sorted(range(weight.dim()), key=weight.stride, reverse=True)
            params_with_grad[i], grads[i], exp_avgs[i], exp_avg_sqs[i] = (values.permute(axes) for values in (weight, gradient, *averages))
        return found


def _laid_out_as(weight: Tensor, values: Tensor) -> Tensor:
    return values if values.stride() == weight.stride() else torch.empty_like(weight).copy_(values)
