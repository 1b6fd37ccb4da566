"""The command: options, a process for each part, and the report in the end."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import results

from proof import findings, kept, table
from proof.settings import PARTS, ROOT, Settings
from segline.files import write_json

MOST_S = 25 * 60
PART_S = {"works": 420, "fast": 480, "learns": 1200, "onnx": 60}
TINY_S = {"works": 240, "fast": 120, "learns": 90, "onnx": 30}
LAST_FIRST = ("works", "fast", "onnx", "learns")
"""The order in which parts run: learning takes all the time that is left."""

_GRACE_S = 20.0
"""A part ends by itself when its time is over; after this much more it is ended."""


def main() -> int:
    """Exit code 0 when everything that ran passed, 1 when something failed or was put off, 2 for a wrong call."""
    asked = _arguments()
    if asked.restore is not None:
        return kept.restore(asked.restore, asked.to)
    out = asked.out.resolve()
    if asked.part is not None:
        return _child(Settings.from_json(sys.stdin.read()), asked.part, asked.seconds)
    began = time.monotonic()
    settings = Settings(
        out=out,
        scratch=(asked.scratch or out / "scratch").resolve(),
        tiny=asked.tiny,
        device=_device(asked.device),
        data=_there(asked.data),
        weights=_there(asked.weights),
        encoder=asked.encoder,
        weights_mib=asked.weights_mib,
    )
    out.mkdir(parents=True, exist_ok=True)
    settings.scratch.mkdir(parents=True, exist_ok=True)
    budgets = _budgets(asked)
    for part in (part for part in LAST_FIRST if part in asked.parts):
        known = findings.read(out / f"{part}.json")
        if known is not None and known["status"] == "done":
            print(f"{part}: done before ({out / f'{part}.json'})", flush=True)
            continue
        seconds = min(budgets[part], asked.total - (time.monotonic() - began))
        if seconds <= 0:
            print(f"{part}: no time is left of {asked.total:g} s; run the same command again", flush=True)
            continue
        print(f"{part}: at most {seconds:.0f} s", flush=True)
        _run_part(settings, part, seconds)
    write_json(out / "machine.json", machine(settings))
    report = table.write(out)
    archive = table.pack(out)
    print(f"\n{report.read_text()}\nwritten to {report} and {archive.name}; {time.monotonic() - began:.0f} s in all", flush=True)
    results = [findings.read(out / f"{part}.json") for part in asked.parts]
    return 0 if all(result is not None and result["status"] == "done" and result["passed"] for result in results) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/gpu/run", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which, in the order works, fast, onnx, learns; default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "gpu", help="folder of the results; what is finished there is not done again")
    parser.add_argument("--scratch", type=Path, help="folder of data and trainings; default: scratch/ in the folder of the results")
    parser.add_argument("--total", type=float, default=MOST_S, metavar="S", help="seconds for everything (default %(default)s)")
    parser.add_argument("--seconds-of", nargs=2, action="append", default=[], metavar=("PART", "S"), help="seconds of one part; may be given several times")
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes and generated images: tries the command itself, on any machine")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--data", type=Path, default=_beside("data"), help="folder with camvid/ and PennFudanPed/, for `learns`; default: the bundle's")
    parser.add_argument("--weights", type=Path, default=_beside("weights/encoder.pth"), help="state dict of the encoder, for `learns`; default: the bundle's")
    parser.add_argument("--encoder", default="tu-tf_efficientnet_lite0", help="the encoder that --weights is of (default %(default)s)")
    parser.add_argument("--weights-mib", type=float, default=16.0, metavar="MIB", help="largest file of trained weights (default %(default)s)")
    parser.add_argument("--restore", type=Path, metavar="KEPT", help="instead: make a model folder of the kept weights in this folder")
    parser.add_argument("--to", type=Path, default=ROOT / "models", metavar="MODELS", help="with --restore: where the model folder is to be")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)  # the process of one part; its settings come on stdin
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def _beside(name: str) -> Path | None:
    """A folder or file of a bundle, which stands beside its code."""
    place = ROOT.parent / name
    return place if (ROOT.parent / "bundle.json").is_file() and place.exists() else None


def _there(place: Path | None) -> Path | None:
    if place is not None and not place.exists():
        print(f"error: {place} does not exist. Give the path of what is there, or leave the option out.", file=sys.stderr)
        sys.exit(2)
    return None if place is None else place.resolve()


def _device(asked: str) -> str:
    import torch

    if asked == "cuda" and not torch.cuda.is_available():
        print("error: torch finds no CUDA GPU here. Use --device cpu, or look at the driver.", file=sys.stderr)
        sys.exit(2)
    return asked if asked != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def _budgets(asked: argparse.Namespace) -> dict[str, float]:
    budgets: dict[str, float] = dict(TINY_S if asked.tiny else PART_S)
    for part, seconds in asked.seconds_of:
        if part not in budgets or not seconds.replace(".", "", 1).isdigit():
            print(f"error: --seconds-of {part} {seconds}: it takes one of {', '.join(PARTS)} and a number of seconds.", file=sys.stderr)
            sys.exit(2)
        budgets[part] = float(seconds)
    return budgets


def _run_part(settings: Settings, part: str, seconds: float) -> None:
    """The part in a process group of its own; whatever becomes of it, its finished steps stand in its result."""
    began = time.monotonic()
    command = [sys.executable, str(Path(__file__).resolve().parents[1] / "run"), "--part", part, "--seconds", str(seconds)]
    # The smallest networks gain nothing by more threads, and where the machine is shared, threads that wait for each other cost most of the time.
    variables = os.environ | ({"OMP_NUM_THREADS": "1"} if settings.tiny else {})
    process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True, env=variables)
    ended = "ended"
    try:
        process.communicate(settings.to_json(), timeout=seconds + _GRACE_S)
    except subprocess.TimeoutExpired:
        ended = f"was stopped after {seconds + _GRACE_S:.0f} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    steps = findings.of_part(settings.out / part)
    unfinished = process.returncode != 0
    write_json(
        settings.out / f"{part}.json",
        {
            "version": findings.VERSION,
            "part": part,
            "status": "unfinished" if unfinished else "done",
            "passed": bool(steps) and all(step.get("passed", True) for step in steps.values()),
            "how": ended if process.returncode in (0, None) or ended != "ended" else f"ended with code {process.returncode}",
            "tiny": settings.tiny,
            "device": settings.device,
            "seconds": round(time.monotonic() - began, 1),
            "steps": steps,
        },
    )


def _child(settings: Settings, part: str, seconds: float) -> int:
    """Exit code 3: some steps were put off, or failed."""
    from proof import fast, learns, onnx_gpu, works

    runs = {"works": works.run, "fast": fast.run, "learns": learns.run, "onnx": onnx_gpu.run}
    found = findings.Findings(settings.out / part, time.monotonic() + seconds)
    runs[part](settings, found)
    failed = any(step["status"] != "done" for step in findings.of_part(settings.out / part).values())
    return 3 if found.put_off or failed else 0


def _carried_commit() -> str | None:
    """A bundle is no git checkout; it says which one its code is of."""
    file = ROOT.parent / "bundle.json"
    return json.loads(file.read_text()).get("commit") if file.is_file() else None


def machine(settings: Settings) -> dict[str, object]:
    """What the figures were measured on."""
    import torch

    gpu: dict[str, object] = {}
    if settings.device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        gpu = {"gpu": properties.name, "gpu_gib": round(properties.total_memory / 2**30, 1), "cuda": torch.version.cuda, "gpus": torch.cuda.device_count()}
    around = results.surroundings()
    return {"device": settings.device, "tiny": settings.tiny, **gpu, **around, "commit": around["commit"] or _carried_commit()}
