"""What a benchmark writes beside itself: its figures, and what they were measured on."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segline.files import whole
from segline.machine import cores
from segline.provenance import commit, versions

ROOT = Path(__file__).resolve().parents[1]


def write(target: Path, figures: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> None:
    """Write the figures to `target`, behind commit, date, machine, its load and the versions of what shapes a result, and print the file.

    before: the surroundings as they were when a long measurement began; default: those of now.
    """
    with whole(target) as file:
        file.write_text(json.dumps({**(surroundings() if before is None else before), **figures}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(target.read_text(encoding="utf-8"))


def surroundings() -> dict[str, Any]:
    """Commit, date, machine, its load and the versions of what shapes a result."""
    return {
        "commit": commit(ROOT),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {"processor": _processor(), "cores": cores(), "system": platform.system(), "python": platform.python_version()},
        "load": load(),
        "versions": versions(),
    }


def beside(script: str) -> Path:
    """The file that holds the last result of a script."""
    return Path(script).resolve().with_suffix(".json")


def load() -> float:
    """Of the machine over the last minute: processes that ran or waited for a core."""
    return round(os.getloadavg()[0], 2)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else []
    return names[0] if names else platform.processor()
