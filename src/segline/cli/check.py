"""`segline check`: what is wrong with a folder of annotated images, before anything is prepared or trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segline.cli import folders
from segline.cli.console import REFUSED, console, counted
from segline.data.formats.catalog import FORMATS
from segline.errors import DataError

if TYPE_CHECKING:
    from segline.data.sources import Folder
    from segline.data.survey import Survey

_PAGE = Path("check.html")
_SHOWN = 3  # sentences of a kind; the page has more


def check(
    folder: Annotated[Path | None, typer.Argument(help="Of annotated images; default: data.source of params.yaml, by all that the section data says.")] = None,
    data_format: Annotated[str | None, typer.Option("--format", help=f"How it is annotated: {', '.join(FORMATS)}; default: what is found out.")] = None,
    also: Annotated[list[str] | None, typer.Option("--set", help="A key of the format as KEY=VALUE, as in params.yaml; several times.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page that is written: findings, classes, sizes, samples.")] = _PAGE,
) -> None:
    """Look for mistakes in a folder of annotated images; exit 1 when there are errors."""
    from segline.data.prepare import check as survey_of
    from segline.files import unwritable
    from segline.inspection.write import write_page

    if out.is_dir():
        raise DataError(f"{out} is a folder; give --out the name of a file, such as {out / _PAGE}.")
    reason = unwritable(out.parent)
    if reason is not None:
        raise DataError(f"{reason}; give --out a place of your own.")
    if folder is None:
        if data_format is not None or also:
            raise DataError("--format and --set say how a folder is read: name the folder as well, `segline check FOLDER`.")
        settings, root = _of_params()
    else:
        if not folder.is_dir():
            raise DataError(f"The folder {folder} does not exist; give the path of your annotated images.")
        root = folder.resolve()
        settings = _of_folder(root, data_format, folders.given(also or ()))
    survey = survey_of(settings, root)
    _show(survey)
    write_page(survey, out)
    print(f"Pictures, classes and sizes: {out}")
    if survey.findings.number("error"):
        raise typer.Exit(REFUSED)


def _of_folder(root: Path, data_format: str | None, given: dict[str, Any]) -> Folder:
    """How a folder is read: in the format that is named, or that is surest of it. Raises DataError where none is."""
    from segline.data.formats.recognition import recognised
    from segline.data.reading.tree import Tree

    if data_format is not None:
        return folders.settings(root, data_format, given)
    best, others = recognised(Tree(root))
    print(f"Layout {best.word}: {best.sighting.seen}")
    for other in others:
        print(f"It could be {other.word} as well ({other.sighting.seen}); --format {other.word} reads it so.")
    return folders.settings(root, best.word, {**best.sighting.keys, **given})


def _of_params() -> tuple[Folder, Path]:
    """What params.yaml says of its data. Raises ParametersError, and DataError where the data is generated."""
    from segline import conveyor, params
    from segline.cli.surroundings import checkout
    from segline.data.public.fetch import at_hand
    from segline.data.sources import Shapes

    here = checkout()
    data = params.read(here.params).data
    if isinstance(data, Shapes):
        raise DataError("params.yaml has `data.source: shapes`, which the line makes itself; name a folder of annotated images, `segline check FOLDER`.")
    return data, at_hand(data, here, mirror=conveyor.mirror(here))


def _show(survey: Survey) -> None:
    """A row for each kind of finding, with the first sentences."""
    from rich.table import Table
    from rich.text import Text

    from segline.data.findings import KINDS

    splits = ", ".join(f"{number} {split}" for split, number in survey.counts().items())
    print(f"{survey.root}: {counted(survey.total, 'image')}" + (f" ({splits})" if splits else "") + f", {len(survey.classes)} classes")
    if not survey.findings.counts:
        print("Nothing is wrong, and nothing is odd.")
        return
    table = Table("severity", "number", "what", "where and why", "remedy", show_lines=True)
    for kind, about in KINDS.items():
        number = survey.findings.counts[kind]
        if number:
            told = [one.sentence + (f" ({one.place})" if one.place and one.place not in one.sentence else "") for one in survey.findings.of(kind)[:_SHOWN]]
            more = [f"… and {number - len(told)} more"] if number > len(told) else []
            table.add_row(about.severity, str(number), about.title, Text("\n".join(told + more)), Text(about.remedy))
    console().print(table)
