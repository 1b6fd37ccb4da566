"""What hostile cases end in, counted: each runs in a process of its own, bounded in time and memory.

    ok         the case was taken
    sentence   refused, with a sentence: SeglineError or InputError, or what `told_in_sentences` makes of it
    traceback  any other exception
    hang       no end within the time, which is a processor's; ten times as long by the clock
    crash      the process was killed by a signal (a segfault, say), or went without a word
    memory     it asked for more memory than it may have

`ok` and `sentence` are what may be; the others are findings, and the result file holds the first of each with their text.
"""

from __future__ import annotations

import math
import multiprocessing
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import results

from segline.errors import SeglineError
from segline_runtime.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = ("ok", "sentence")
SHOWN = 20
"""Findings that the result file quotes."""

PATIENCE = 10
"""On a machine that others keep busy, or where a debugger stops a case, the clock alone proves no hang."""

Case = tuple[str, Callable[[], object]]
"""What is tried, in words from which it can be repeated, and the trial."""


@dataclass
class Result:
    """Counts by outcome; the findings quoted; the largest memory that a case took, MiB beyond what its process began with; the longest case, seconds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, str]] = field(default_factory=list)
    largest_mib: float = 0.0
    longest_s: float = 0.0

    def add(self, name: str, outcome: str, text: str, mib: float, seconds: float) -> None:
        self.outcomes[outcome] += 1
        self.largest_mib = max(self.largest_mib, mib)
        self.longest_s = max(self.longest_s, seconds)
        if outcome not in ALLOWED and len(self.findings) < SHOWN:
            self.findings.append({"case": name, "outcome": outcome, "text": text if len(text) < 4000 else f"{text[:2000]} … {text[-2000:]}"})

    def merge(self, other: Result, kind: str) -> None:
        """Add what cases of another kind ended in."""
        self.outcomes += other.outcomes
        self.findings += [{"kind": kind, **finding} for finding in other.findings]
        self.largest_mib, self.longest_s = max(self.largest_mib, other.largest_mib), max(self.longest_s, other.longest_s)


def campaign(cases: Iterable[Case], *, seconds: float = 20.0, mib: int = 2048) -> Result:
    """Try each case in a forked process that may take `seconds` of a processor, `PATIENCE` times as long by the clock, and `mib` MiB of address space
    beyond this process's own."""
    result = Result()
    for name, case in cases:
        result.add(name, *_tried(case, seconds, mib))
    return result


def in_one_process(tried: Iterable[Case], seconds: int = 20, mib: int = 2048) -> Result:
    """As `campaign`, all in a row in this process, for cases that cost less than a process: a crash ends the campaign, for everybody to see."""
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    resource.setrlimit(resource.RLIMIT_AS, (own + mib * 2**20, resource.RLIM_INFINITY))
    for over in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(over, _too_long)
    result = Result()
    for name, case in tried:
        outcome, text, start = "ok", "", time.perf_counter()
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.alarm(PATIENCE * seconds)
        try:
            case()
        except (SeglineError, InputError) as error:
            outcome, text = "sentence", str(error)
        except _TooLong:
            outcome, text = "hang", f"no end within {seconds} s"
        except MemoryError:
            outcome, text = "memory", _where()
        except Exception:
            outcome, text = "traceback", _where()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
        result.add(name, outcome, text, 0.0, time.perf_counter() - start)
    result.largest_mib = max(0.0, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident) / 1024)
    return result


class _TooLong(BaseException):
    """The time of a case is over."""


def _too_long(*_: object) -> None:
    raise _TooLong


def write(name: str, result: Result, **details: Any) -> None:
    """Write `benchmarks/hostile/<name>.json`, and print it."""
    results.write(Path(__file__).with_name(f"{name}.json"), {**details, **figures(result)})


def figures(result: Result) -> dict[str, Any]:
    """What is told of a result."""
    return {
        "cases": result.outcomes.total(),
        "outcomes": dict(sorted(result.outcomes.items())),
        "largest_mib": round(result.largest_mib, 1),
        "longest_s": round(result.longest_s, 2),
        "findings": result.findings,
    }


def _tried(case: Callable[[], object], seconds: float, mib: int) -> tuple[str, str, float, float]:
    """Outcome, text, memory (MiB) and time (s) of one case."""
    fork = multiprocessing.get_context("fork")
    receive, send = fork.Pipe(duplex=False)
    start = time.perf_counter()
    process = fork.Process(target=_run, args=(case, seconds, mib, send), daemon=True)
    process.start()
    send.close()
    answered = receive.poll(PATIENCE * seconds)
    try:
        outcome, text, used = receive.recv() if answered else ("hang", f"no end within {seconds:g} s", 0.0)
    except EOFError:
        outcome, text, used = "crash", "", 0.0
    process.join(1.0)
    if process.is_alive():
        process.kill()
        process.join()
    if outcome == "crash":
        text = f"ended with exit code {process.exitcode}"
        if process.exitcode == -signal.SIGXCPU:
            outcome, text = "hang", f"no end within {seconds:g} s"
    return outcome, text, used, time.perf_counter() - start


def _where() -> str:
    """The exception that is being handled, and the last calls that led to it, without the folders of this machine."""
    error = sys.exception()
    assert error is not None
    calls = [f"{Path(call.filename).name}:{call.lineno} {call.name}" for call in traceback.extract_tb(error.__traceback__)[-6:]]
    return f"{type(error).__name__}: {error} ({' < '.join(reversed(calls))})"


def _run(case: Callable[[], object], seconds: float, mib: int, send: Any) -> None:
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (own + mib * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), resource.RLIM_INFINITY))
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    outcome, text = "ok", ""
    try:
        case()
    except (SeglineError, InputError) as error:
        outcome, text = "sentence", str(error)
    except SystemExit as error:
        outcome, text = ("ok" if error.code in (None, 0) else "sentence"), str(error.code)
    except MemoryError:
        outcome, text = "memory", _where()
    except BaseException:
        outcome, text = "traceback", _where()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    send.send((outcome, text, max(0.0, (peak - resident) / 2**20)))
