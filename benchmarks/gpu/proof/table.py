"""The report for people: one Markdown file of all parts, and a picture of the speeds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from proof.findings import Result, read
from proof.settings import GOALS, LOADER_GOAL, PARTS
from segline.files import whole

REPORT = "report.md"
ARCHIVE = "results.zip"


def write(out: Path) -> Path:
    """`report.md` of what the parts have left in `out`; its path."""
    parts = {part: result for part in PARTS if (result := read(out / f"{part}.json")) is not None}
    sections = {"works": _works, "fast": _fast, "learns": _learns, "onnx": _onnx}
    lines = ["# The GPU path", "", *_machine(out), ""]
    for part, result in parts.items():
        lines += [f"## {part}", "", f"{_verdict(result)}, {result['seconds']:.0f} s in the last call.", "", *sections[part](result["steps"]), ""]
        lines += _failed(result["steps"])
    if "fast" in parts:
        picture = _picture(parts["fast"]["steps"], out / "pictures")
        if picture is not None:
            lines += [f"![images per second](pictures/{picture.name})", ""]
    report = out / REPORT
    with whole(report) as file:
        file.write_text("\n".join(lines))
    return report


def pack(out: Path) -> Path:
    """`results.zip`: report, JSONs, profiles and pictures, to be carried home as one file; kept weights and the scratch folder are not in it."""
    left_out = {"scratch", "kept", ARCHIVE}
    files = [file for file in sorted(out.rglob("*")) if file.is_file() and file.relative_to(out).parts[0] not in left_out]
    with whole(out / ARCHIVE) as beside, ZipFile(beside, "w", ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.relative_to(out))
    return out / ARCHIVE


def _verdict(result: Result) -> str:
    if result["status"] != "done":
        return f"Unfinished ({result['how']}); the same command goes on"
    if result["part"] == "fast" and result["passed"]:
        return "Measured; what is aimed at stands beside it"
    return "Passed" if result["passed"] else "NOT passed"


def _machine(out: Path) -> Iterator[str]:
    values = json.loads((out / "machine.json").read_text())
    machine = values["machine"]
    device = f"{values['gpu']} ({values['gpu_gib']} GiB)" if "gpu" in values else f"CPU ({machine['processor']})"
    versions = ", ".join(f"{name} {version}" for name, version in values["versions"].items())
    yield f"{device}, {machine['cores']} CPU cores, Python {machine['python']}, {values['date']}, commit {values['commit']}."
    yield f"{versions}."
    if values["tiny"]:
        yield ""
        yield "Tried with `--tiny`: the figures say that the command runs, and nothing of the device."


def _rows(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    head = list(head)
    return [_row(head), _row("---" for _ in head), *(_row(_cell(value) for value in row) for row in rows)]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|").replace("\n", " ")


def _judged(passed: bool | None) -> str | None:
    return None if passed is None else "yes" if passed else "**no**"


def _done(steps: dict[str, Result]) -> dict[str, Result]:
    return {name: step for name, step in steps.items() if step["status"] == "done" and "skipped" not in step}


def _failed(steps: dict[str, Result]) -> list[str]:
    lines = []
    for name, step in steps.items():
        if "skipped" in step:
            lines += [f"{name}: {step['skipped']}", ""]
        if step["status"] == "failed":
            lines += [f"`{name}` failed:", "", "```", *step["error"].strip().splitlines()[-12:], "```", ""]
    return lines


_NOT_SHOWN = ("version", "status", "passed", "seconds", "device")


def _works(steps: dict[str, Result]) -> list[str]:
    def figures(step: Result) -> str:
        return ", ".join(f"{key.replace('_', ' ')} {_cell(value)}" for key, value in step.items() if key not in _NOT_SHOWN)

    return _rows(
        ("check", "passed", "seconds", "figures"), ((name, _judged(step["passed"]), step["seconds"], figures(step)) for name, step in _done(steps).items())
    )


def _fast(steps: dict[str, Result]) -> list[str]:
    done = _done(steps)
    measured = [step for step in done.values() if "images_per_second" in step]
    lines = ["Each at its defaults, fed by its loader:", "", *_rows(_COMPARED, _comparisons(measured)), "", "All measurements:", ""]
    order = sorted(measured, key=lambda step: (list(dict.fromkeys(m["case"] for m in measured)).index(step["case"]), -step["images_per_second"]))
    lines += _rows(
        ("case", "size", "batch", "by", "precision", "fed by", "compiled", "images/s", "ms/step", "peak MiB"),
        (
            (
                step["case"],
                step["size"],
                step["batch"],
                step["by"],
                step["precision"] if step["asked"] in ("default", step["precision"]) else step["asked"],
                step["fed"],
                step["compiled"],
                step["images_per_second"],
                step["milliseconds_per_step"],
                step["peak_mib"],
            )
            for step in order
        ),
    )
    for step in done.values():
        if "longest" in step:
            busy = "not counted on a CPU" if step["gpu_busy"] is None else f"{100 * step['gpu_busy']:.0f} % of the time"
            lines += [
                "",
                f"{step['case']}: the GPU is busy {busy} (the profiler's own cost included); {step['steps']} steps, all of it in {step['table']}:",
                "",
            ]
            lines += _rows(("longest", "ms", "calls"), ((f"`{row['name']}`", row["ms"], row["calls"]) for row in step["longest"]))
    return lines


_COMPARED = ("case", "segline, images/s", "plain, images/s", "ratio", "goal", "from memory", "loader / memory", f"≥ {LOADER_GOAL}", "peak MiB, segline / plain")


def _comparisons(measured: list[Result]) -> Iterator[tuple[Any, ...]]:
    for case in dict.fromkeys(step["case"] for step in measured):
        own = [step for step in measured if step["case"] == case and step["asked"] == "default" and not step["compiled"]]
        by = {(step["by"], step["fed"]): step for step in own}
        ours, theirs, memory = by.get(("segline", "loader")), by.get(("plain", "loader")), by.get(("segline", "memory"))
        if ours is None:
            continue
        ratio = None if theirs is None else ours["images_per_second"] / theirs["images_per_second"]
        share = None if memory is None else ours["images_per_second"] / memory["images_per_second"]
        goal = GOALS[ours["arch"]]
        yield (
            case,
            ours["images_per_second"],
            None if theirs is None else theirs["images_per_second"],
            None if ratio is None else f"{ratio:.2f}",
            f"≥ {goal}: {'not compared' if ratio is None else 'yes' if ratio >= goal else '**no**'}",
            None if memory is None else memory["images_per_second"],
            None if share is None else f"{share:.2f}",
            _judged(None if share is None else share >= LOADER_GOAL),
            f"{_cell(ours['peak_mib'])} / {_cell(None if theirs is None else theirs['peak_mib'])}",
        )


def _learns(steps: dict[str, Result]) -> list[str]:
    columns = (
        "data",
        "arch",
        "encoder",
        "pretrained",
        "metric",
        "score",
        "aim",
        "passed",
        "split",
        "images",
        "epochs",
        "best_epoch",
        "training_seconds",
        "precision",
    )
    return _rows(
        ("model", *columns),
        ((name, *(_judged(step[column]) if column == "passed" else step[column] for column in columns)) for name, step in _done(steps).items()),
    )


def _onnx(steps: dict[str, Result]) -> list[str]:
    columns = ("provider", "passed", "metric", "score", "score_on_cpu", "difference", "median_ms", "median_ms_on_cpu")
    return _rows(
        ("model", *columns),
        ((name, *(_judged(step[column]) if column == "passed" else step[column] for column in columns)) for name, step in _done(steps).items()),
    )


def _picture(steps: dict[str, Result], folder: Path) -> Path | None:
    """Bars: images per second of each case, the line beside the plain script."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measured = [step for step in _done(steps).values() if step.get("fed") == "loader"]
    if not measured:
        return None
    cases = list(dict.fromkeys(step["case"] for step in measured))
    figure = Figure(figsize=(8, 1.2 + 0.7 * len(cases)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for offset, by, colour in ((-0.18, "segline", "#2b6cb0"), (0.18, "plain", "#a0aec0")):
        own = {step["case"]: step["images_per_second"] for step in measured if step["by"] == by}
        bars = axes.barh(
            [number + offset for number, case in enumerate(cases) if case in own], [own[case] for case in cases if case in own], 0.34, label=by, color=colour
        )
        axes.bar_label(bars, fmt="%.4g", padding=3)
    axes.set_yticks(range(len(cases)), cases)
    axes.invert_yaxis()
    axes.set_xlabel("images per second, each at its defaults, fed by its loader")
    axes.margins(x=0.12)
    axes.legend()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "images-per-second.png"
    figure.savefig(file, dpi=120)
    return file
