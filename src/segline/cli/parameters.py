"""`segline parameters`: what params.yaml can hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segline.errors import ParametersError


def parameters(
    part: Annotated[str | None, typer.Argument(help="A part or a key alone: unet, data, models.unet.train, lr …")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write it to this file instead.")] = None,
) -> None:
    """Print every key of params.yaml with its range, default and meaning, as Markdown."""
    from segline import documentation
    from segline.files import whole

    text = documentation.page() if part is None else documentation.excerpt(part)
    if out is None:
        print(text, end="")
        return
    if out.is_dir():
        raise ParametersError(f"{out} is a folder; give --out a file.")
    with whole(out) as file:
        file.write_text(text, encoding="utf-8")
