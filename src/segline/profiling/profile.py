"""Where a model's time, arithmetic and memory go: module by module, in a training step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from segline import memory
from segline.errors import ModelError
from segline.plan.plans import TrainPlan
from segline.profiling.kept import Kept
from segline.profiling.layers import Layer, Watched, parameters_of
from segline.profiling.step import Step, step
from segline_runtime.errors import reason

VERSION = 1
"""Of what `to_json` gives."""

SORTED_BY = {"time": "milliseconds", "multiply-adds": "multiply_adds", "parameters": "parameters", "kept": "kept_bytes"}
"""Words by which layers can be sorted."""


@dataclass(frozen=True)
class LayerCost:
    """Of one module without those within it, or, summed up, of all below a name."""

    name: str  # as torch names it, from the network on
    kind: str  # its class
    calls: int  # in one forward pass
    milliseconds: float  # of the forward pass, median
    multiply_adds: int  # of convolutions and matrix products in the forward pass
    parameters: int
    kept_bytes: int  # for the backward pass
    shape: tuple[int, ...] | None  # of its output; None for several modules


@dataclass(frozen=True)
class Profile:
    """A training step, module by module in the order of the network."""

    model: str
    device: str
    precision: str
    images: int
    size: tuple[int, int]  # height, width that the network sees
    batch_size: int  # train.batch_size
    checkpointing: bool
    forward_ms: float  # medians, the loss within
    backward_ms: float
    layers: tuple[LayerCost, ...]

    @property
    def multiply_adds(self) -> int:
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def kept_bytes(self) -> int:
        return sum(layer.kept_bytes for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        totals = {name: getattr(self, name) for name in ("parameters", "multiply_adds", "kept_bytes")}
        layers = values.pop("layers")
        return {"version": VERSION, **values, **totals, "layers": layers}


def profile(plan: TrainPlan, *, images: int, size: tuple[int, int], device: torch.device, runs: int = 3) -> Profile:
    """Profile a step of `images` made-up images of `size` (height, width).

    Raises ModelError where memory is too small, or the network cannot train on so few images of that size.
    """
    what = f"{images} image{'' if images == 1 else 's'} of {size[0]}×{size[1]}"
    with memory.told(f"to profile '{plan.model}' on {what}", device.type):
        try:
            return _profile(step(plan, images=images, size=size, device=device), plan, images, size, device, runs)
        except ValueError as error:
            raise ModelError(f"'{plan.model}' cannot train on {what} ({reason(error)}). Give --batch or --size a larger value.") from None


def _profile(trained: Step, plan: TrainPlan, images: int, size: tuple[int, int], device: torch.device, runs: int) -> Profile:
    counted, kept = _counted(trained, device)
    timed, forward, backward = _timed(trained, device, runs)
    parameters = parameters_of(trained.network, counted)
    layers = []
    for name, layer in counted.items():
        spent = float(np.median([one[name].milliseconds for one in timed]))
        cost = LayerCost(name, layer.kind, layer.calls, round(spent, 4), layer.multiply_adds, parameters[name], kept.get(name, 0), layer.shape)
        if cost.calls or cost.multiply_adds or cost.kept_bytes or cost.parameters or not cost.kind:
            layers.append(cost)
    return Profile(
        model=plan.model,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        precision=trained.precision,
        images=images,
        size=size,
        batch_size=plan.settings.train.batch_size,
        checkpointing=plan.settings.train.checkpointing,
        forward_ms=round(forward, 3),
        backward_ms=round(backward, 3),
        layers=tuple(layers),
    )


def _counted(trained: Step, device: torch.device) -> tuple[dict[str, Layer], dict[str, int]]:
    """Calls, shapes and multiply-adds of each module, and the bytes that it keeps, of one forward pass."""
    operations = FlopCounterMode(display=False)
    watched = Watched(trained.network, device, lambda: operations.get_total_flops() // 2)
    kept = Kept([*trained.network.parameters(), *trained.network.buffers(), *trained.given], lambda: watched.running)
    hooks = [block.register_forward_pre_hook(lambda _block, given: kept.take(given)) for block in trained.recomputed]
    try:
        with operations, kept, watched.watching(), trained.autocast(device):
            loss = trained.loss()
    finally:
        for hook in hooks:
            hook.remove()
    del loss
    return watched.layers, dict(kept.by_owner)


def _timed(trained: Step, device: torch.device, runs: int) -> tuple[list[dict[str, Layer]], float, float]:
    """Times of each module in each run, and the medians of the whole forward and backward pass, in milliseconds. The first run is not counted."""
    found, forward, backward = [], [], []
    for _ in range(1 + runs):
        trained.network.zero_grad(set_to_none=True)
        watched = Watched(trained.network, device)
        start = _now(device)
        with watched.watching(), trained.autocast(device):
            loss = trained.loss()
        middle = _now(device)
        loss.backward()
        forward.append(1000 * (middle - start))
        backward.append(1000 * (_now(device) - middle))
        found.append(watched.layers)
    return found[1:], float(np.median(forward[1:])), float(np.median(backward[1:]))


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def summed(layers: Sequence[LayerCost], depth: int) -> list[LayerCost]:
    """The modules below each name of `depth` parts as one, in the order of the network."""
    found: dict[str, LayerCost] = {}
    for layer in layers:
        name = ".".join(layer.name.split(".")[:depth])
        before = found.get(name)
        if before is None:
            found[name] = layer if layer.name == name else replace(layer, name=name, kind="", calls=0, shape=None)
            continue
        found[name] = replace(
            before,
            milliseconds=before.milliseconds + layer.milliseconds,
            multiply_adds=before.multiply_adds + layer.multiply_adds,
            parameters=before.parameters + layer.parameters,
            kept_bytes=before.kept_bytes + layer.kept_bytes,
        )
    return list(found.values())
