"""Memory that does not suffice is told in a sentence; what else goes wrong stays what it is."""

from __future__ import annotations

import pytest
import torch

from segline import memory
from segline.errors import ModelError

SHORT = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
    MemoryError(),
]


@pytest.mark.parametrize("error", SHORT)
@pytest.mark.parametrize(
    ("device", "sentence"), [("cuda", "The GPU's memory .* Set runtime.accelerator: cpu, or make"), ("cpu", "This machine's memory .* Make")]
)
def test_a_sentence_says_what_to_do(error: BaseException, device: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=f"^{sentence} input.size smaller") as caught, memory.told("to evaluate 'unet'", device):
        raise error
    assert "is too small to evaluate 'unet'. " in str(caught.value)


def test_a_bug_stays_a_bug() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory.told("to evaluate 'unet'", "cpu"):
        raise RuntimeError("shapes differ")


def test_a_real_allocation_that_fails_is_known() -> None:
    with pytest.raises(ModelError, match="This machine's memory is too small to try"), memory.told("to try", "cpu"):
        torch.empty(1 << 60, dtype=torch.uint8)
