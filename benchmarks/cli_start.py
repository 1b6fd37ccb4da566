"""What it costs to ask: processor time of `segline --help`, `segline models` and `segline status`, from the start of the process to its end.

    python benchmarks/cli_start.py [CHECKOUT]

CHECKOUT, this one where none is given, must hold trained and registered models, as `dvc repro` leaves them, in a local store. Beside the commands stand what
starting Python takes and what a bare `import mlflow` takes. The result is `benchmarks/cli_start.json`: seconds of processor time, user and system, each the
least of several runs, in turn, so that what else the machine does falls on all alike; and what the model files take that `status` hashes.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import results

from segline.layout import Checkout
from segline.status import model_folders

RUNS = 5
LIMIT_S = 1.5
_START = "from segline.cli import main; main()"
COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "python -c 'import mlflow'": ("-c", "import mlflow"),
    "segline --help": ("-c", _START, "--help"),
    "segline models": ("-c", _START, "models"),
    "segline status": ("-c", _START, "status"),
}


def main(root: Path) -> None:
    checkout = Checkout(root.resolve())
    before = results.surroundings()
    seconds = {name: float("inf") for name in COMMANDS}
    for _ in range(RUNS):
        for name, arguments in COMMANDS.items():
            seconds[name] = min(seconds[name], _processor_seconds(arguments, checkout.root))
    hashed = sum(folder.onnx.stat().st_size for folder in model_folders(checkout.models) if folder.onnx.is_file())
    figures = {
        "runs": RUNS,
        "processor_seconds": {name: round(least, 2) for name, least in seconds.items()},
        "limit": LIMIT_S,
        "model_megabytes": round(hashed / 1e6, 1),
    }
    results.write(results.beside(__file__), figures, before)


def _processor_seconds(arguments: tuple[str, ...], checkout: Path) -> float:
    """Of one run in `checkout`. `segline status` may find something (1); whatever else goes wrong ends the benchmark."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], cwd=checkout, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    asked = arguments[-1] in ("models", "status")
    if done.returncode not in ((0, 1) if arguments[-1] == "status" else (0,)) or (asked and "│" not in done.stdout):
        sys.exit(f"{done.stdout}{done.stderr}\n{checkout} must hold trained and registered models.")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else results.ROOT)
