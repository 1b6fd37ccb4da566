"""`segline convert`: data in the open layouts that other tools read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from segline.cli.console import counted
from segline.cli.surroundings import checkout
from segline.errors import DataError


def convert(
    folder: Annotated[Path | None, typer.Argument(help="Prepared data, or with --format a folder of annotated images; default: data/prepared.")] = None,
    to: Annotated[str, typer.Option("--to", help="The layout: coco, masks, voc or yolo.")] = "coco",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The folder to write; default: beside the data, called <data>-<layout>.")] = None,
    data_format: Annotated[str | None, typer.Option("--format", help="How the folder is annotated (data.format of params.yaml).")] = None,
) -> None:
    """Write data as COCO, Pascal VOC, YOLO, or images and masks."""
    from segline.data.convert.convert import convert_prepared, convert_source, is_prepared
    from segline.data.formats import catalog

    folder = checkout().prepared if folder is None else folder
    if not folder.is_dir():
        raise DataError(f"The folder {folder} does not exist; give the folder of prepared data, or of annotated images with --format.")
    folder = folder.resolve()
    target = folder.with_name(f"{folder.name}-{to}") if out is None else out
    try:
        if data_format is None and is_prepared(folder):
            images, lost = convert_prepared(folder, to, target)
        elif data_format is None:
            raise DataError(f"{folder} is no prepared data set; say by --format how it is annotated: {', '.join(catalog.FORMATS)}.")
        else:
            images, lost = convert_source(catalog.get(data_format).Settings(source=str(folder), format=data_format), folder, to, target)
    except (NotADirectoryError, FileExistsError, PermissionError) as error:
        raise DataError(f"{target} cannot be written to ({error}); give --out a folder of your own.") from None
    print(f"{counted(images, 'image')} written to {target}.")
    for what, number in lost.items():
        if number:
            print(f"left out: {number} {what}, which the layout {to} cannot hold", file=sys.stderr)
