"""`segline evaluate`: an exported model's figures on any annotated folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segline.cli import folders
from segline.cli.addresses import ADDRESSES, onnx_file
from segline.cli.console import console, counted, progress_wanted
from segline.data.formats.catalog import FORMATS
from segline.errors import DataError

if TYPE_CHECKING:
    pass

_NOT_HERE = ("name", "splits")  # keys of a folder that say nothing about how it is read

Format = Annotated[str, typer.Option("--format", help=f"How it is annotated: {', '.join(FORMATS)}.")]


def evaluate(
    model: Annotated[str, typer.Argument(help=ADDRESSES)],
    root: Annotated[Path, typer.Option("--root", help="The folder of annotated images.")],
    data_format: Format,
    classes: Annotated[str | None, typer.Option("--classes", help="Class names by id, with commas between, where the format does not know them.")] = None,
    ignore: Annotated[list[int] | None, typer.Option("--ignore", help="A label value that is not scored; may be given several times.")] = None,
    also: Annotated[list[str] | None, typer.Option("--set", help="Another key of the format as KEY=VALUE, as in params.yaml; several times.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the figures to this JSON file, too.")] = None,
) -> None:
    """Score an exported model on any annotated folder."""
    from segline.evaluation.folder import evaluate_folder

    if not root.is_dir():
        raise DataError(f"The folder {root} does not exist; give --root the folder of your annotated images.")
    given = folders.given(also or ())
    if classes is not None:
        given["classes"] = [name.strip() for name in classes.split(",")]
    if ignore:
        given["ignore"] = ignore
    source = folders.settings(root, data_format, given, without=_NOT_HERE)
    with onnx_file(model) as file:
        metrics, images, split_hash = evaluate_folder(file, source, progress=progress_wanted())
    print(f"{model} on {counted(images, 'image')} of {root}")
    _show(metrics)
    if out is not None:
        _write(out, {"model": model, "root": str(root), "split_hash": split_hash, "images": images, **metrics})


def _show(metrics: Mapping[str, float]) -> None:
    from rich.table import Table

    table = Table("metric", "value")
    for key, value in metrics.items():
        table.add_row(key, str(value) if isinstance(value, int) else f"{value:.4f}")
    console().print(table)


def _write(out: Path, content: Mapping[str, Any]) -> None:
    from segline.files import write_json

    try:
        write_json(out, content)
    except (IsADirectoryError, NotADirectoryError, FileExistsError, PermissionError) as error:
        raise DataError(f"{out} cannot be written ({error}); give --out a file of your own.") from None
