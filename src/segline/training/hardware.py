"""What the machine has: precision and loader processes where params.yaml says `auto`."""

from __future__ import annotations

from typing import Literal

import torch

from segline.machine import cores

LIGHTNING_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def precision(asked: str, device: str) -> str:
    """fp32, bf16 or fp16. `auto` is bf16 where the hardware computes in it, else fp32. `device` is Lightning's name: cpu, cuda, mps, …"""
    if asked != "auto":
        return asked
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device == "cpu":
        return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"
    return "fp32"


def resolved(lightning_precision: str) -> str:
    """What Lightning trains in: it has no fp16 on a CPU, and takes bf16 there."""
    return next(name for name, word in LIGHTNING_PRECISION.items() if word == lightning_precision)


def workers(asked: int | Literal["auto"], device: str, processes: int) -> int:
    """Loader processes per training process. On a GPU up to 8; where the CPU itself trains, one that works ahead."""
    if asked != "auto":
        return asked
    if device == "cpu":
        return 1 if cores() > 1 else 0
    return min(8, max(1, cores() // processes - 1))
