"""`segline compare`: which of two models is better, by how much, and whether the images suffice to tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segline.cli.console import console, counted, progress_wanted
from segline.cli.surroundings import checkout_if_any, tracking_store
from segline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from segline.comparison.compare import Report, Row
    from segline.comparison.slices import Slices
    from segline.layout import Checkout
    from segline.metrics.base import Counts

_NAMED = "A model of the workspace, a model folder, models:/<name>@<alias>, models:/<name>/<version>, or the id of an MLflow run."


def compare(
    first: Annotated[str, typer.Argument(help=_NAMED)],
    second: Annotated[str, typer.Argument(help="Likewise; differences are this one minus the first.")],
    metric: Annotated[str | None, typer.Option("--metric", help="The figure of metrics.json to compare by; default: the task's own.")] = None,
    slices: Annotated[Path | None, typer.Option("--slices", help="A CSV table: `image`, and columns by which the images are grouped as well.")] = None,
    common: Annotated[bool, typer.Option("--common", help="Where they were scored on different images, compare them by those that both have.")] = False,
    level: Annotated[float, typer.Option("--level", help="Share of the resampled differences that an interval holds.")] = 0.95,
    resamples: Annotated[int, typer.Option("--resamples", min=100, max=100_000, help="How often the images are drawn anew.")] = 1000,
    picture: Annotated[Path | None, typer.Option("--picture", "-p", help="Draw the differences with their intervals into this PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Which of two models is better on the same test images: over all, by class, and by size, brightness and your own groups of images."""
    from segline.comparison.compare import compare as compared
    from segline.comparison.scored import Surroundings, scored
    from segline.metrics.intervals import Resampling

    if not 0.5 <= level < 1:
        raise DataError(f"--level is {level:g}; it is a share from 0.5 to below 1, such as 0.95.")
    if picture is not None and picture.is_dir():
        raise DataError(f"{picture} is a folder; give --picture the name of a file, such as {picture / 'comparison.png'}.")
    here = checkout_if_any()
    where = Surroundings(here, tracking_store, progress_wanted())
    sides = scored(first, where, key=metric), scored(second, where, key=metric)
    report = compared(*sides, slices=_grouping(here, slices), key=metric, resampling=Resampling(resamples, level=level), some=common)
    if picture is not None:
        _draw(report, picture)
    if as_json:
        print(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
        return
    _show(report)
    if picture is not None:
        print(f"Picture: {picture}")


def _grouping(here: Checkout | None, table: Path | None) -> Callable[[Counts], Slices]:
    """Groups by what the prepared data tells of the images, and by the user's table."""
    from segline.comparison.facts import facts
    from segline.comparison.slices import Slices, by_facts, of_table
    from segline.data.store import PreparedDataset

    def grouped(counts: Counts) -> Slices:
        found = Slices() if table is None else of_table(table, counts.images)
        if here is None or not here.prepared.is_dir():
            return found + Slices(
                notes=("There is no prepared data here, so images are not grouped by size, brightness and objects; run `dvc repro prepare`.",)
            )
        dataset = PreparedDataset(here.prepared)
        return by_facts(counts.hashes, facts(dataset, here.image_facts, progress=progress_wanted())) + found

    return grouped


def _show(report: Report) -> None:
    from rich.table import Table
    from rich.text import Text

    from segline.comparison import verdict

    split = "" if report.split is None else f" of {report.split}"
    print(f"{report.key} on {counted(report.whole.images, 'image')}{split}; intervals of {100 * report.level:g} %")
    print(report.sentence)
    table = Table()
    for title in ("", report.first, report.second, "difference", report.word, "images"):
        table.add_column(Text(title))
    group = None
    for row in report.rows:
        if _heading(row) != group:
            group = _heading(row)
            table.add_section()
            table.add_row(Text(group, style="bold"))
        difference = "" if row.comparison is None else verdict.interval(row.comparison)
        told = verdict.brief(row.comparison, first=report.first, second=report.second)
        table.add_row(Text(f"  {row.name}"), _cell(row.first), _cell(row.second), difference, Text(told), str(row.images))
    console().print(table)
    for note in report.notes:
        print(note)


def _heading(row: Row) -> str:
    return {"figure": "all images", "class": "by class", "slice": f"by {row.by}"}[row.kind]


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _draw(report: Report, file: Path) -> None:
    from segline.drawing.differences import Difference, differences_picture

    lines = [
        Difference(_heading(row), row.name, row.comparison.difference, row.comparison.low, row.comparison.high)
        for row in report.rows
        if row.comparison is not None
    ]
    title = f"{report.key}, intervals of {100 * report.level:g} %"
    try:
        differences_picture(lines, title=title, first=report.first, second=report.second, file=file)
    except (NotADirectoryError, FileExistsError, PermissionError) as error:
        raise DataError(f"{file} cannot be written to ({error}); give --picture a place of your own.") from None
