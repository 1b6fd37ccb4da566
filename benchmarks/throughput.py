"""Images per second of a training on this machine's processor: the line against a plain script of segmentation_models_pytorch and Lightning.

    python benchmarks/throughput.py [--core N]

Both train the same network on the same prepared images, in batches of the same size, with as many loader processes: see benchmarks/gpu/proof/plain.py, which
the benchmark of GPUs shares. The line trains as `precision: auto` says (bf16 where the processor computes in it) and reads images that were decoded once, as in
all epochs but the first; the script trains in Lightning's fp32; threads that wait sleep in both. A third way is the line fed with batches that lie ready as
tensors, which is as fast as no loader can be slow.
The ways take turns in short pieces, forwards and backwards, so that a neighbour on the machine slows all of them, and a round's ratios are of pieces that
followed one another; told is the median over the rounds. The result is `benchmarks/throughput.json`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import clone
import results

from segline import threads
from segline.errors import told_in_sentences

sys.path[:0] = [str(Path(__file__).resolve().parent / "gpu")]

GOALS = {"over the plain script": 2.0, "over tensors in memory": 0.95}

SIZES = (((256, 256), 4), ((96, 128), 8))
"""Height and width of images, and how many a batch has."""

ROUNDS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each way (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="that are timed of each turn, at most (default %(default)s)")
    parser.add_argument("--core", type=int, help="the one core to run on; default: all")
    parser.add_argument("--out", type=Path, help="where the result goes; default: beside this script")
    given = parser.parse_args()
    if given.core is not None:
        clone.use_one_core(given.core)
    threads.sleep_soon()  # before torch is loaded
    from proof import fast
    from proof.clock import Steps
    from proof.settings import Settings

    entry = {"arch": "unet", "encoder": "resnet18", "loss": {"cross_entropy": 1.0, "dice": 1.0}}
    cases = []
    for size, batch in SIZES:
        name = f"U-Net-ResNet-18, {batch} of {size[0]}×{size[1]}"
        cases.append(fast.Case(name, "unet", size, size, batch, {**entry, "input": {"size": list(size)}}, "resnet18"))
    ways = {"plain": fast.Variant("plain", fed="loader"), "line": fast.Variant("segline", fed="loader"), "memory": fast.Variant("segline")}
    before = results.surroundings()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="segline-throughput-") as scratch:
        place = Path(scratch)
        settings = Settings(out=place, scratch=place, tiny=False, device="cpu", data=None, weights=None, encoder="", weights_mib=0.0)
        places: dict[str, Any] = {}
        # The warm-up is longer than what a loader process has ready when it begins.
        steps = Steps(4, 1000, given.seconds)
        for case in cases:
            rounds = []
            for number in range(given.rounds):
                made = fast.place_of(settings, case, places)
                turn = list(ways) if number % 2 else list(reversed(ways))
                rounds.append({name: fast.measure(settings, made, case, ways[name], steps) for name in turn})
                print(case.name, {name: one["images_per_second"] for name, one in rounds[-1].items()}, f"load {results.load()}", flush=True)
            found[case.name] = _summary(rounds)
    figures = {"rounds": given.rounds, "seconds_of_a_turn": given.seconds, "load_after": results.load(), "goals": GOALS, "cases": found}
    results.write(given.out or results.beside(__file__), figures, before)


def _summary(rounds: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Ratios of speeds, and of the processor's seconds for an image, which a neighbour changes less."""
    speeds = {name: [one[name]["images_per_second"] for one in rounds] for name in rounds[0]}
    spent = {name: [one[name]["processor_ms_per_image"] for one in rounds] for name in rounds[0]}
    told: dict[str, Any] = {}
    for ratio, other in (("over the plain script", "plain"), ("over tensors in memory", "memory")):
        by_clock = [ours / theirs for ours, theirs in zip(speeds["line"], speeds[other], strict=True)]
        by_processor = [theirs / ours for ours, theirs in zip(spent["line"], spent[other], strict=True)]
        told[ratio] = {
            "median": round(statistics.median(by_clock), 3),
            "met": statistics.median(by_clock) >= GOALS[ratio],
            "rounds": [round(one, 3) for one in by_clock],
            "in processor seconds": round(statistics.median(by_processor), 3),
        }
    return {
        "precision": {name: rounds[0][name]["precision"] for name in rounds[0]},
        "workers": rounds[0]["line"]["workers"],
        "images_per_second": {name: round(statistics.median(some), 2) for name, some in speeds.items()},
        "processor_ms_per_image": {name: round(statistics.median(some), 2) for name, some in spent.items()},
        **told,
    }


if __name__ == "__main__":
    with told_in_sentences():
        main()
