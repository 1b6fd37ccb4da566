"""What one prediction costs in PyTorch: parameters, multiply-adds, memory and time. The exported file's time stands beside it (`segline.export.parity`)."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from segline.memory import storage
from segline.tasks.graph import EvalGraph
from segline_runtime.predict import predict

_WARM_UP = 3


def cost(graph: EvalGraph, image: NDArray[Any], runs: int) -> dict[str, Any]:
    """The entry `cost` of parity.json, for one decoded image `(H, W, C)` on the CPU in fp32.

    multiply_adds: of convolutions and matrix products in all looks that the prediction takes (windows, mirrored views, members); other work counts nothing.
    memory_bytes: weights, and the tensors that are alive at the same time at most; what a library needs within one operation is not seen.
    """
    weights = {storage(value): value.untyped_storage().nbytes() for value in (*graph.parameters(), *graph.buffers())}
    with FlopCounterMode(display=False) as operations, PeakBytes(known=set(weights)) as tensors:
        predict(graph.run, graph.specification, image)
    return {
        "parameters": sum(value.numel() for value in graph.parameters()),
        "multiply_adds": operations.get_total_flops() // 2,
        "memory_bytes": sum(weights.values()) + tensors.peak,
        "latency": timed(lambda: predict(graph.run, graph.specification, image), image, runs) | {"threads": torch.get_num_threads()},
    }


def timed(call: Callable[[], object], image: NDArray[Any], runs: int) -> dict[str, Any]:
    """Milliseconds of a prediction of one decoded image `(H, W, C)`, one after another."""
    for _ in range(_WARM_UP):
        call()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    median, p95 = (round(float(np.percentile(times, q)), 3) for q in (50, 95))
    return {"median_ms": median, "p95_ms": p95, "runs": runs, "batch": 1, "image_size": list(image.shape[:2])}


class PeakBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the storages that operations make within the block; `peak` is how many bytes of them were alive at the same time."""

    def __init__(self, known: set[int]) -> None:
        """known: storages that were there before, such as the weights'."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = known
        self._alive: dict[int, int] = {}
        self._now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for value in tree_leaves(found):
            if isinstance(value, Tensor):
                self._follow(value)
        return found

    def _follow(self, value: Tensor) -> None:
        key = storage(value)
        if key in self._known or key in self._alive:
            return
        behind = value.untyped_storage()
        self._alive[key] = behind.nbytes()
        self._now += behind.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(behind, self._ended, key).atexit = False

    def _ended(self, key: int) -> None:
        self._now -= self._alive.pop(key)
