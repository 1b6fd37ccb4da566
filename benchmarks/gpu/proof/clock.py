"""Steps of a training, timed: images per second over the steps after the warm-up, and the device's peak memory."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


@dataclass(frozen=True)
class Steps:
    """How much is timed. `seconds` ends it earlier; one step at least is always timed."""

    warmup: int
    timed: int
    seconds: float

    @property
    def most(self) -> int:
        return self.warmup + self.timed


class Clock:
    """Told of each step's end, it says when enough was timed."""

    def __init__(self, steps: Steps, device: str) -> None:
        self._steps, self._device = steps, device
        self._done = 0
        self._began = 0.0
        self._spent = 0.0
        self.seconds = 0.0
        self.processor_seconds = 0.0
        self.timed = 0

    def step(self) -> bool:
        """True when this was the last one. Waits for the device only where time is taken."""
        self._done += 1
        if self._done < self._steps.warmup:
            return False
        if self._done == self._steps.warmup:
            self._wait()
            self._began, self._spent = time.perf_counter(), processor_seconds()
            return False
        over = self._done >= self._steps.most or time.perf_counter() - self._began >= self._steps.seconds
        if over:
            self._wait()
            self.seconds, self.timed = time.perf_counter() - self._began, self._done - self._steps.warmup
            self.processor_seconds = processor_seconds() - self._spent
        return over

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


def processor_seconds() -> float:
    """That this process and its loader processes have computed, as far as the system tells of others."""
    spent = time.process_time()
    for child in multiprocessing.active_children():
        stat = Path(f"/proc/{child.pid}/stat")
        if stat.is_file():
            user, system = stat.read_text().rpartition(")")[2].split()[11:13]
            spent += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return spent


class ClockCallback(Callback):
    """A clock in Lightning's loop; `profiler` is on while time is taken."""

    def __init__(self, clock: Clock, profiler: Any = None, warmup: int = 0) -> None:
        self._clock, self._profiler, self._warmup = clock, profiler, warmup

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        trainer.should_stop = self._clock.step()
        if self._profiler is not None:
            if trainer.should_stop:
                self._profiler.stop()
            elif batch_idx + 1 == self._warmup:
                self._profiler.start()


class InMemory:
    """The same few batches again and again: what a loader that costs nothing would give."""

    def __init__(self, batches: Iterable[Any], steps: int, *, pin: bool) -> None:
        self._batches = [_pinned(batch) if pin else batch for batch in batches]
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[Any]:
        for step in range(self._steps):
            yield self._batches[step % len(self._batches)]


def _pinned(value: Any) -> Any:
    """In page-locked memory, as a loader for a GPU has it."""
    from torch.utils.data._utils.pin_memory import pin_memory

    return pin_memory(value)


def peak_memory(device: str) -> float | None:
    """MiB of tensors at the worst moment since `forget_memory`; None where nobody counts."""
    return round(torch.cuda.max_memory_allocated() / 2**20, 1) if device == "cuda" else None


def forget_memory(device: str) -> None:
    """So that the next measurement begins with an empty device."""
    import gc

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
