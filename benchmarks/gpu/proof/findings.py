"""What a part finds, step by step: each step's result is a file as soon as it is known, so that nothing finished is done twice."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from segline.errors import SeglineError
from segline.files import write_json

Result = dict[str, Any]

VERSION = 1


class Findings:
    """The steps of one part. `deadline`: of time.monotonic, in seconds; a step that needs longer than what is left is put off to another call."""

    def __init__(self, folder: Path, deadline: float) -> None:
        self._folder = folder
        self._deadline = deadline
        self.put_off: list[str] = []

    @property
    def left(self) -> float:
        """Seconds."""
        return self._deadline - time.monotonic()

    def step(self, name: str, work: Callable[[], Result], *, needs: float = 0.0) -> Result | None:
        """The result of `work`, kept under `name`; None when it failed or there was no time. needs: seconds that it takes at least, as far as is known."""
        file = self._folder / f"{name}.json"
        known = read(file)
        if known is not None and known["status"] == "done":
            return known
        if self.left < needs:
            self.put_off.append(name)
            print(f"  {name}: put off, it needs {needs:.0f} s and {max(0.0, self.left):.0f} s are left", flush=True)
            return None
        began = time.monotonic()
        result: Result
        try:
            result = {"status": "done", **work()}
        except Exception as error:  # one step's failure is a finding, and the others go on
            told = str(error) if isinstance(error, SeglineError) else "".join(traceback.format_exception(error))[-3000:]
            result = {"status": "failed", "passed": False, "error": told}
        result = {"version": VERSION, **result, "seconds": round(time.monotonic() - began, 2)}
        write_json(file, result)
        print(f"  {name}: {_short(result)}", flush=True)
        return result if result["status"] == "done" else None


def read(file: Path) -> Result | None:
    """A result, or None where there is none that can be read."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("version") == VERSION else None


def of_part(folder: Path) -> dict[str, Result]:
    """All steps of a part that have a result, by name, in the order in which they ended."""
    files = sorted(folder.glob("*.json"), key=lambda file: (file.stat().st_mtime_ns, file.name)) if folder.is_dir() else []
    return {file.stem: result for file in files if (result := read(file)) is not None}


def _short(result: Result) -> str:
    if result["status"] == "failed":
        return "FAILED: " + result["error"].strip().splitlines()[-1][:300]
    shown = [
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in result.items() if isinstance(value, bool | int | float | str)
    ]
    return ", ".join(text for text in shown if not text.startswith(("status", "version")))[:300]
