"""The campaigns of `benchmarks/hostile`, for the tests that run a small part of each."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks" / "hostile"


def campaign_of(name: str) -> ModuleType:
    """`benchmarks/hostile/<name>.py`. Its neighbours, which it imports, have plain names: afterwards these stand for nothing again."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))
        for loaded in set(sys.modules) - before:
            if Path(getattr(sys.modules[loaded], "__file__", None) or "").parent == FOLDER:
                del sys.modules[loaded]
