"""Kills `dvc repro` at random moments of every stage and asks whether the line ends as it does undisturbed.

    python benchmarks/hostile/kills.py --kills 60 --seed 0 --minutes 90 --folder /tmp/kills

One kill in each stage of a tiny line with two models makes a round; after its kills a round is run to its end and compared with an undisturbed control:
tensors, history, metrics, runs in the logbook and registered versions, to the last digit. A kill is SIGKILL, SIGTERM or SIGINT to everybody (a closed
terminal, a stopped job), to the stage alone (the system is out of memory) or to `dvc` alone, whose stage then lives on.
Counted as well: tracebacks of Segline that a signal left on the screen, unfinished files at the end, and locks that DVC itself left half-written. Needs
Linux; writes `kills.json` beside this file.

Each round draws its kills by the seed and its number. With `--folder` what is finished stays there, and the same command goes on after the last whole
round; no round begins when `--minutes` are over.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import results

from segline import history, provenance
from segline.files import whole

ROOT = Path(__file__).resolve().parents[2]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
VICTIMS = ("everybody", "stage", "dvc")
MODELS = ("unet", "maskrcnn")
STAGES = ("params", "download", "prepare", "plan", *(f"{stage}@{model}" for stage in ("train", "evaluate", "export", "register") for model in MODELS))
"""As `dvc repro` runs them."""

_RUNNING = re.compile(r"Running stage '([^']+)'")
PATIENCE_S = 3600.0  # for one stage, on a machine that others share
PARAMS = """\
seed: 0
data: {source: shapes, train: 8, val: 4, test: 4, size: [64, 64]}
models:
  unet:
    arch: unet
    encoder: mobilenet_v2
    input: {size: [64, 64]}
    augment: [{HorizontalFlip: {p: 0.5}}]
    train: {epochs: 4, batch_size: 4, lr: 0.002, warmup: 1, ema: 0.9, precision: fp32}
  maskrcnn:
    arch: maskrcnn
    encoder: mobilenet_v3_small
    input: {size: [64, 64]}
    proposals: {train_before_nms: 50, train_after_nms: 20, test_before_nms: 50, test_after_nms: 10, rpn_batch: 16, box_batch: 8}
    predict: {max_detections: 10}
    train: {epochs: 3, batch_size: 4, lr: 0.0005, warmup: 0, precision: fp32}
evaluate: {overlays: 1}
export: {latency_runs: 2, tolerance: 0.01}
promote:
  unet: {metric: miou, at_least: 0.0}
  maskrcnn: {metric: mask_ap50, at_least: 0.0}
runtime: {accelerator: cpu, devices: 1, workers: 1}
"""
LOGBOOK = """\
import json, mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
versions = mlflow.MlflowClient().search_model_versions("")
found = {"runs": sorted(run.data.tags.get("segline.key", "") + " " + run.info.status for run in runs)}
found["versions"] = sorted(f"{version.name} {version.version}" for version in versions)
print("LOGBOOK", json.dumps(found))
"""


class Line:
    """One `dvc repro`, and what it says."""

    def __init__(self, root: Path) -> None:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as from a terminal: what runs in the background ignores Ctrl-C
        environment = _environment(root)
        command = ["dvc", "repro"]
        self.process = subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True
        )
        signal.signal(signal.SIGINT, before)
        self.said: list[tuple[float, str]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append((time.monotonic(), line))

    def begins(self, stages: Sequence[str]) -> str | None:
        """Waits until one of the stages runs, and says which; None when the line ended first."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            ended = self.process.poll() is not None
            running = [match[1] for _, line in list(self.said) if (match := _RUNNING.match(line))]
            if ended:
                return None
            if running and running[-1] in stages:
                return running[-1]
            time.sleep(0.02)
        raise TimeoutError(f"none of {', '.join(stages)} began:\n{self.text()}")

    def kill(self, signum: int, victim: str, stage: str) -> bool:
        """False when there was nobody to kill any more."""
        script = f"pipeline/{stage.partition('@')[0]}.py"
        targets = {"dvc": [self.process.pid], "stage": self._running(script)}.get(victim) or []
        try:
            if victim == "everybody":
                os.killpg(self.process.pid, signum)
            for pid in targets:
                os.kill(pid, signum)
        except ProcessLookupError:
            return False
        return victim == "everybody" or bool(targets)

    def _running(self, script: str) -> list[int]:
        """The first process of a stage, without the shell around it."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.getpgid(int(folder.name)) != self.process.pid:
                    continue
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except (ProcessLookupError, FileNotFoundError):
                continue
            if b"python" in words[0] and any(word.endswith(script.encode()) for word in words[1:2]):
                found.append(int(folder.name))
        return sorted(found)[:1]

    def ended(self, at_most: float = PATIENCE_S) -> int:
        """Waits for everybody, also for a stage that outlives its `dvc`; a `dvc` that works on after `at_most` seconds (it ignores Ctrl-C) is killed."""
        try:
            code = self.process.wait(at_most)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.05)
        self._reader.join(10)
        return code

    def text(self) -> str:
        return "".join(line for _, line in self.said)


def _environment(root: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_", "MLFLOW_", "SEGLINE_", "PYTHONPATH"))}
    author = {f"GIT_{role}_{part}": f"kills{end}" for role in ("AUTHOR", "COMMITTER") for part, end in (("NAME", ""), ("EMAIL", "@example.org"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {"PATH": path, "DVC_SITE_CACHE_DIR": str(root.parent / "dvc-site"), "DVC_NO_ANALYTICS": "1", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    return kept | author | own


def _checkout(base: Path, name: str) -> Path:
    """A clone of what is committed, with a tiny params.yaml and a DVC cache of its own."""
    root = base / name / "checkout"
    root.parent.mkdir()
    subprocess.run(["git", "clone", "-q", str(ROOT), str(root)], check=True)
    (root / "params.yaml").write_text(PARAMS)
    (root / "dvc.lock").unlink(missing_ok=True)
    subprocess.run(["git", "commit", "-qam", "tiny"], cwd=root, env=_environment(root), check=True)
    return root


def outcome(root: Path) -> dict[str, Any]:
    """All that must not depend on what happened on the way."""
    import torch

    found: dict[str, Any] = {}
    for model in MODELS:
        folder = root / "models" / model
        tensors = torch.load(folder / "weights.pt", weights_only=True)
        found[f"{model}: tensors"] = hashlib.sha256(b"".join(value.numpy().tobytes() for _, value in sorted(tensors.items()))).hexdigest()
        rows = history.read(folder / "history.csv")
        found[f"{model}: history"] = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
        found[f"{model}: metrics"] = json.loads((folder / "metrics.json").read_text())
    said = subprocess.run([sys.executable, "-c", LOGBOOK], cwd=root, env=_environment(root), capture_output=True, text=True, check=True).stdout
    return found | json.loads(said.rpartition("LOGBOOK ")[2])


def control(root: Path) -> dict[str, Any]:
    """The outcome of an undisturbed line, and how long each of its stages took, in seconds."""
    line = Line(root)
    if line.ended():
        raise SystemExit(f"the undisturbed line failed:\n{line.text()}")
    starts = [(match[1], at) for at, text in line.said if (match := _RUNNING.match(text))]
    ends = [at for _, at in starts[1:]] + [line.said[-1][0]]
    return {"outcome": outcome(root), "seconds": {stage: end - start for (stage, start), end in zip(starts, ends, strict=True)}}


def disturbed(root: Path, stages: list[str], seconds: dict[str, float], draw: random.Random) -> list[dict[str, Any]]:
    """Kill the line in each of the stages, in the line's order, then run it to its end.

    What outlived the kill before may have done a stage meanwhile, and a stage may end before it is killed; then the kill is in the next that runs.
    """
    kills = []
    for stage in stages:
        mended = _mend_lock(root)
        line = Line(root)
        kill: dict[str, Any] = {"stage": stage, "signal": draw.choice(SIGNALS).name, "victim": draw.choice(VICTIMS), "after": round(draw.random(), 3)}
        kill["mended"] = mended
        hit, left = False, STAGES[STAGES.index(stage) :]
        while not hit and (running := line.begins(left)) is not None:
            time.sleep(kill["after"] * seconds[running])
            hit = line.kill(signal.Signals[kill["signal"]], kill["victim"], running)
            kill["stage"], left = running, STAGES[STAGES.index(running) + 1 :]
        line.ended(at_most=15.0 if hit else PATIENCE_S)
        kills.append(
            kill | {"hit": hit, "traceback": "Traceback (most recent call last)" in line.text() and kill["signal"] != "SIGKILL", "said": line.text()[-600:]}
        )
        print(json.dumps({name: value for name, value in kills[-1].items() if name != "said"}), flush=True)
    kills[-1]["mended"] |= _mend_lock(root)
    line = Line(root)
    if line.ended():
        kills.append({"stage": "the end", "failed": line.text()[-3000:]})
    return kills


def _mend_lock(root: Path) -> bool:
    """What README says of a `dvc` that was killed while it wrote its own lock: the file is deleted. False where it can be read."""
    lock = root / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(lock.read_text())
    except FileNotFoundError:
        return False
    except ValueError:
        lock.unlink()
        return True
    return False


def planned(kills: int, seed: int) -> list[tuple[list[str], random.Random]]:
    """The stages of each round, and what draws signal, victim and moment in it; the same whichever rounds were run before."""
    rounds: list[tuple[list[str], random.Random]] = []
    while kills > 0:
        draw = random.Random(f"{seed} {len(rounds)}")
        stages = sorted(draw.sample(STAGES, min(kills, len(STAGES))), key=STAGES.index)
        rounds.append((stages, draw))
        kills -= len(stages)
    return rounds


def measured(name: str, base: Path, measure: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """What `measure` finds in a checkout of its own, or found there when this was asked before; the checkout goes when nothing is to be seen in it."""
    file = base / f"{name}.json"
    if not file.is_file():
        shutil.rmtree(base / name, ignore_errors=True)  # of a campaign that was cut off
        found = measure(_checkout(base, name))
        with whole(file) as beside:
            beside.write_text(json.dumps(found))
        if not found.get("differences"):
            shutil.rmtree(base / name)
    answer: dict[str, Any] = json.loads(file.read_text())
    return answer


def one_round(root: Path, stages: list[str], draw: random.Random, expected: dict[str, Any], seconds: dict[str, float]) -> dict[str, Any]:
    """The kills of one round, in what its end differs from the control, and the unfinished files that it left."""
    kills = disturbed(root, stages, seconds, draw)
    if "failed" in kills[-1]:
        return {"kills": kills[:-1], "differences": [f"it did not end: {kills[-1]['failed']}"], "leftovers": []}
    found = json.loads(json.dumps(outcome(root)))
    differences = [f"{what}: {found.get(what)} in place of {value}" for what, value in expected.items() if found.get(what) != value]
    return {"kills": kills, "differences": differences, "leftovers": [path.relative_to(root).as_posix() for path in root.rglob("*.part")]}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kills", type=int, default=60)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--minutes", type=float, default=120.0, help="no round begins later than this")
    arguments.add_argument("--folder", type=Path, help="where the checkouts are made, and what is finished is kept")
    asked = arguments.parse_args()
    end = time.monotonic() + 60 * asked.minutes
    base = asked.folder or Path(tempfile.mkdtemp(prefix="segline-kills-"))
    base.mkdir(parents=True, exist_ok=True)
    what = {"commit": provenance.commit(ROOT), "seed": asked.seed, "kills": asked.kills}
    if measured_before(base / "asked.json", what) != what:
        sys.exit(f"{base} holds the rounds of another commit, seed or number of kills; give --folder another one, or delete it.")
    undisturbed = measured("control", base, control)
    rounds: list[dict[str, Any]] = []
    for number, (stages, draw) in enumerate(planned(asked.kills, asked.seed), 1):
        if time.monotonic() < end or (base / f"round{number}.json").is_file():
            measure = partial(one_round, stages=stages, draw=draw, expected=undisturbed["outcome"], seconds=undisturbed["seconds"])
            rounds.append(measured(f"round{number}", base, measure))
    kills = [kill for found in rounds for kill in found["kills"]]
    done = [kill for kill in kills if kill["hit"]]
    figures = {
        "seed": asked.seed,
        "asked": asked.kills,
        "rounds": len(rounds),
        "kills": len(done),
        "missed": len(kills) - len(done),
        "locks_of_dvc_mended": sum(kill["mended"] for kill in kills),
        "by_stage": dict(Counter(kill["stage"] for kill in done)),
        "by_signal": dict(Counter(kill["signal"] for kill in done)),
        "by_victim": dict(Counter(kill["victim"] for kill in done)),
        "compared": sorted(undisturbed["outcome"]),
        "differences": [f"round {number}, {text[:2000]}" for number, found in enumerate(rounds, 1) for text in found["differences"]],
        "tracebacks": [kill for kill in done if kill["traceback"]],
        "leftovers": [file for found in rounds for file in found["leftovers"]],
    }
    results.write(results.beside(__file__), figures)
    if asked.folder is None and not figures["differences"]:
        shutil.rmtree(base)
    else:
        print(base)


def measured_before(file: Path, what: dict[str, Any]) -> Any:
    """What a file holds; `what` where there is none yet, which is then written."""
    if not file.is_file():
        file.write_text(json.dumps(what))
    return json.loads(file.read_text())


if __name__ == "__main__":
    main()
