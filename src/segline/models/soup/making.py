"""Model soups (Wortsman 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing inference time")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from segline.models.soup.settings import Settings
from segline_runtime.specification import Specification

State = dict[str, Tensor]
"""The weights of a network by name."""


@dataclass(frozen=True)
class Step:
    """One look at a soup."""

    member: int  # that was added, by its place in the list
    metric: float | None  # of the soup with it, None where undefined
    kept: bool


def specification(_settings: Settings, model: str, members: Sequence[Specification]) -> Specification:
    """That of the members, who have the same."""
    return replace(members[0], model=model)


def average(states: Sequence[State]) -> State:
    """The mean of the weights, in float64, and in the type that each has. What counts (of batches) is that of the first."""
    if len(states) == 1:
        return dict(states[0])
    mean: State = {}
    for name, first in states[0].items():
        if first.is_floating_point():
            mean[name] = torch.stack([state[name].double() for state in states]).mean(dim=0).to(first.dtype)
        else:
            mean[name] = first
    return mean


def greedy(
    states: Sequence[State], metrics: Sequence[float | None], mixed: Callable[[Sequence[State]], tuple[State, float | None]]
) -> tuple[State, list[Step]]:
    """The paper's greedy soup (its algorithm 1): members by falling metric, each only where the metric of the soup does not fall by it.

    metrics: of each member by itself on the images that steered its training. mixed: from some members' weights the soup of them, ready to predict,
    and its metric on the same images. An undefined metric is the worst.
    """
    order = sorted(range(len(states)), key=lambda i: -_known(metrics[i]))
    best = order[0]
    soup, reached, chosen = dict(states[best]), metrics[best], [best]
    steps = [Step(best, reached, kept=True)]
    for i in order[1:]:
        tried, metric = mixed([states[k] for k in (*chosen, i)])
        kept = _known(metric) >= _known(reached)
        if kept:
            soup, reached, chosen = tried, metric, [*chosen, i]
        steps.append(Step(i, metric, kept))
    return soup, steps


def _known(metric: float | None) -> float:
    return float("-inf") if metric is None else metric
