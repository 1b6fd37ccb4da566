"""A training step of two threads, alone on two cores and beside a busy process: what do waiting threads cost?

    python benchmarks/spinning.py

Each way is a process of its own, since GNU OpenMP reads its settings when torch is loaded: as torch has it, with `segline.threads.sleep_soon`, and asleep at
once (`OMP_WAIT_POLICY=PASSIVE`). The network is a U-Net with a ResNet-18 encoder, 4 images of 96 × 128, bf16, channels_last. The busy process has one of the
cores at a higher priority, as a neighbour's training has who was there first. Held against each other are the seconds that a step takes, the least of the
rounds; `processor` are those of both threads. The result is `benchmarks/spinning.json`. Needs Linux and two idle cores, and the right to raise a priority.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import results

from segline import threads

STEPS = 25
STEPS_BESIDE = 4
ROUNDS = 3
BUSY = "import os; os.sched_setaffinity(0, {%d}); os.nice(-10)\nwhile True: pass"


def main() -> None:
    first, second = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {first, second})
    figures: dict[str, dict[str, list[dict[str, float]]]] = {"alone": {}, "beside a busy process": {}}
    for _ in range(ROUNDS):
        for name, settings in _ways().items():
            figures["alone"].setdefault(name, []).append(_run(settings, STEPS))
    busy = subprocess.Popen([sys.executable, "-c", BUSY % first])
    try:
        for name, settings in _ways().items():
            figures["beside a busy process"].setdefault(name, []).append(_run(settings, STEPS_BESIDE))
    finally:
        busy.kill()
        busy.wait()
    cases = {case: {name: {unit: min(run[unit] for run in runs) for unit in runs[0]} for name, runs in ways.items()} for case, ways in figures.items()}
    shares = {case: {name: round(found["seconds"] / ways["as torch has it"]["seconds"], 3) for name, found in ways.items()} for case, ways in cases.items()}
    results.write(results.beside(__file__), {"seconds_of_a_step": cases, "share_of_torch": shares})


def _ways() -> dict[str, dict[str, str]]:
    """What each adds to the environment."""
    before = dict(os.environ)
    threads.sleep_soon()
    ours = {name: value for name, value in os.environ.items() if before.get(name) != value}
    for name in ours:
        del os.environ[name]
    return {"as torch has it": {}, "ours": ours, "asleep at once": {"OMP_WAIT_POLICY": "PASSIVE"}}


def _run(settings: dict[str, str], steps: int) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, str(steps)], env=os.environ | settings, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def _steps(count: int) -> None:
    import segmentation_models_pytorch as smp
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(2)
    network = smp.Unet("resnet18", encoder_weights=None, classes=5).to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 96, 128).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), fused=True)
    wall = processor = 0.0
    for number in range(count + 2):
        if number == 2:  # what is made once is made
            wall, processor = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = network(images).float().square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    print(json.dumps({"seconds": round((time.perf_counter() - wall) / count, 4), "processor": round((time.process_time() - processor) / count, 4)}))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _steps(int(sys.argv[1]))
    else:
        main()
