"""What this machine has."""

from __future__ import annotations

import os
import subprocess


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gb() -> float:
    """GiB of the smallest GPU that the driver of NVIDIA's tells of; without one, half of the machine's own memory."""
    asked = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20).stdout
        return min(int(line) for line in told.split()) / 1024
    except (OSError, subprocess.SubprocessError, ValueError):
        return own_memory_gb() / 2


def own_memory_gb() -> float:
    """GiB of the machine itself."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return 16.0  # a system that does not tell
