"""The checkout that a stage script belongs to. Imported first, so that a temporary copy made by DVC runs its own code."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from segline import signals, threads  # noqa: E402

signals.leave_at_once()  # before anything that takes its time to import
threads.sleep_soon()

from importlib.util import find_spec  # noqa: E402

if find_spec("pydantic") is None:  # DVC runs the first `python` on PATH, whatever environment it lives in itself
    print(
        f"error: {sys.executable} lacks Segline's packages. Activate the environment (`source .venv/bin/activate`) and run the same command again, "
        "or use `make repro`.",
        file=sys.stderr,
    )
    sys.exit(2)


def model_name() -> str:
    """The one argument of a stage that works on one model."""
    if len(sys.argv) != 2:
        print(f"usage: python pipeline/{Path(sys.argv[0]).name} <model of params.yaml>", file=sys.stderr)
        sys.exit(2)
    return sys.argv[1]
