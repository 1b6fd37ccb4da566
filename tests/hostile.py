"""The scripts of `benchmarks`, `benchmarks/hostile` and `benchmarks/table`, for the tests that run a small part of each."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
FOLDERS = (BENCHMARKS / "hostile", BENCHMARKS / "table", BENCHMARKS)


def campaign_of(name: str) -> ModuleType:
    """The script `<name>.py`. Its neighbours, which it imports, have plain names: afterwards these stand for nothing again."""
    before, path = set(sys.modules), list(sys.path)
    sys.path[:0] = map(str, FOLDERS)
    try:
        return importlib.import_module(name)
    finally:
        sys.path[:] = path
        for loaded in set(sys.modules) - before:
            if Path(getattr(sys.modules[loaded], "__file__", None) or "").parent in FOLDERS:
                del sys.modules[loaded]
