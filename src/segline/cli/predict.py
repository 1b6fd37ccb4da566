"""`segline predict`: an exported model over images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segline.cli.addresses import ADDRESSES, onnx_file
from segline.cli.console import counted
from segline.errors import DataError


def predict(
    source: Annotated[Path, typer.Argument(help="An image, or a folder of images.")],
    model: Annotated[str, typer.Option("--model", "-m", help=ADDRESSES)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for masks, overlays and results.")],
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Class probabilities too (semantic), as .npy files.")] = False,
) -> None:
    """Write index masks, COCO results and coloured overlays for images."""
    from segline.inference.predict import load_predictor, predict_folder

    with onnx_file(model) as file:
        try:
            count = predict_folder(load_predictor(file), source, out, probabilities=probabilities)
        except (NotADirectoryError, FileExistsError, PermissionError) as error:
            raise DataError(f"{out} cannot be written to ({error}); give --out a folder of your own.") from None
    print(f"{counted(count, 'image')} predicted into {out}.")
