"""One training in a process of its own: to be killed, to be starved of memory, or to be one of two.

python -m proof.stage <workspace> <model> <runtime as JSON> [--memory-mib N] [--into NAME]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import torch
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry

from proof.settings import ROOT
from proof.workspace import Workspace
from segline.errors import told_in_sentences
from segline.training.settings import Runtime

GLOO = "ddp_gloo"
"""Lightning's ddp over gloo: two processes can share one GPU, which nccl refuses."""


def start(
    workspace: Path, model: str, runtime: Runtime, *, into: str | None = None, memory_mib: int | None = None, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a training of the workspace; its two streams come as one."""
    command = [sys.executable, "-m", "proof.stage", str(workspace), model, runtime.model_dump_json()]
    if into is not None:
        command += ["--into", into]
    if memory_mib is not None:
        command += ["--memory-mib", str(memory_mib)]
    paths = [str(Path(__file__).resolve().parents[1]), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"} | (environment or {})
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _starve(mib: int, accelerator: str) -> None:
    """Leave this process `mib` MiB more than it has now, of the memory that its training will need."""
    if accelerator == "gpu":
        _, total = torch.cuda.mem_get_info()
        torch.cuda.set_per_process_memory_fraction(min(1.0, mib * 2**20 / total))
    else:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + mib * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("workspace", type=Path)
    parser.add_argument("model")
    parser.add_argument("runtime", type=json.loads)
    parser.add_argument("--memory-mib", type=int)
    parser.add_argument("--into")
    asked = parser.parse_args()
    StrategyRegistry.register(GLOO, DDPStrategy, description="ddp over gloo", process_group_backend="gloo")
    runtime = Runtime.model_validate(asked.runtime)
    with told_in_sentences():
        if asked.memory_mib is not None:
            _starve(asked.memory_mib, runtime.accelerator)
        Workspace(asked.workspace).train(asked.model, runtime, into=asked.into)


if __name__ == "__main__":
    main()
