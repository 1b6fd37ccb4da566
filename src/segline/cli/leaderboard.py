"""`segline leaderboard`: all trained models of the workspace, with what they are worth and what they cost."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segline.cli.console import console
from segline.cli.surroundings import checkout, tracking_store
from segline.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from segline.leaderboard.board import Board, Group, Place


def leaderboard(
    metric: Annotated[str | None, typer.Option("--metric", help="The figure of metrics.json that counts; default: each task's own.")] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="Write everything that is known into this CSV table.")] = None,
    picture: Annotated[Path | None, typer.Option("--picture", "-p", help="Draw the figure against the time of a prediction into this PNG.")] = None,
    log: Annotated[bool, typer.Option("--log", help="Keep table, picture and JSON in MLflow, in the run `leaderboard` of the data set.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the leaderboard as JSON.")] = False,
) -> None:
    """All trained models: figure with interval, size, multiply-adds, time in PyTorch and ONNX Runtime, memory, training time, licences."""
    from segline.leaderboard.board import board
    from segline.leaderboard.tables import write_picture, write_table
    from segline.metrics.intervals import USUAL
    from segline.status import model_folders

    folders = model_folders(checkout().models)
    if not folders:
        raise ModelError("There is no trained model here; run `dvc repro` first.")
    found = board(folders, metric=metric, resampling=USUAL)
    _write(table, "--csv", "leaderboard.csv", lambda file: write_table(found, file))
    _write(picture, "--picture", "leaderboard.png", lambda file: write_picture(found, file))
    if log:
        _log(found)
    if as_json:
        print(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
    else:
        _show(found)
    if found.problems:
        raise ModelError(*found.problems)


def _write(file: Path | None, option: str, example: str, write: Callable[[Path], None]) -> None:
    if file is None:
        return
    if file.is_dir():
        raise ModelError(f"{file} is a folder; give {option} the name of a file, such as {file / example}.")
    try:
        write(file)
    except (NotADirectoryError, FileExistsError, PermissionError) as error:
        raise ModelError(f"{file} cannot be written to ({error}); give {option} a place of your own.") from None


def _log(found: Board) -> None:
    """Told on stderr, so that --json stays JSON."""
    from segline.files import write_json
    from segline.leaderboard.tables import write_picture, write_table
    from segline.tracking import log_board
    from segline.tracking.address import shown

    store = tracking_store()
    with tempfile.TemporaryDirectory(prefix="segline-leaderboard-") as folder:
        files = [Path(folder) / f"leaderboard.{ending}" for ending in ("csv", "png", "json")]
        write_table(found, files[0])
        write_picture(found, files[1])
        write_json(files[2], found.to_json())
        for dataset in sorted({place.standing.dataset for group in found.groups for place in group.places}):
            run = log_board(store, dataset, files)
            print(f"Kept in {shown(store)}, experiment '{dataset}', run {run}.", file=sys.stderr)


def _show(found: Board) -> None:
    for group in found.groups:
        _show_group(group)
    for note in found.notes:
        print(note)


def _show_group(group: Group) -> None:
    """What a model is worth and costs in one table, licences in a second one."""
    from rich.table import Table
    from rich.text import Text

    print(group.title)
    worth = Table("", "model", group.metric, "behind the first", "parameters", "multiply-adds", "size", "memory", "PyTorch", "ONNX Runtime", "training")
    for number, place in enumerate(group.places, start=1):
        one = place.standing
        worth.add_row(
            str(number) if one.value is not None else "",
            Text(one.model),
            _figure(place),
            _behind(place),
            _scaled(one.parameters, 1e6, " M"),
            _scaled(one.multiply_adds, 1e9, " G"),
            _scaled(one.onnx_bytes, 1e6, " MB"),
            _scaled(one.memory_bytes, 1e6, " MB"),
            _scaled(one.torch_ms, 1, " ms"),
            _scaled(one.onnx_ms, 1, " ms"),
            _duration(one.training_s),
        )
    console().print(worth)
    terms = Table("model", "made of", "licence of the code", "of the weights that it started from", "of the data")
    for place in group.places:
        one = place.standing
        made_of = one.arch if one.encoder is None else f"{one.arch}, {one.encoder}"
        terms.add_row(*(Text(cell or "unknown") for cell in (one.model, made_of, one.code_licence, one.weights_licence, one.data_licence)))
    console().print(terms)


def _figure(place: Place) -> str:
    one = place.standing
    if one.value is None:
        return "not evaluated" if "evaluate" in one.lacking else "not defined"
    return f"{one.value:.4f}" if one.low is None or one.high is None else f"{one.value:.4f} ({one.low:.3f} to {one.high:.3f})"


def _behind(place: Place) -> str:
    found = place.behind
    if found is None:
        return ""
    if found.low == found.high == 0:
        return "equal"
    return f"{found.difference:.3f} ({found.low:.3f} to {found.high:.3f}){'' if place.shown else ', cannot be told'}"


def _scaled(value: float | None, unit: float, word: str) -> str:
    """Three digits, and a word for the unit."""
    if value is None:
        return ""
    amount = value / unit
    places = 0 if amount >= 100 else 1 if amount >= 10 else 2
    return f"{amount:,.{places}f}{word}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
