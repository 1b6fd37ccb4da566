"""`history.csv`: one row per epoch, first column `epoch`; an epoch without validation has empty cells."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from segline import written
from segline.errors import ModelError
from segline.files import whole

_LARGEST = 1e100
"""Of a figure: what is larger is no measurement, and cannot be drawn."""


def write(file: Path, rows: Sequence[Mapping[str, float | None]]) -> None:
    """Columns stand in the order in which they first come up; None makes an empty cell."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with whole(file) as beside:
        beside.write_text(text.getvalue())


def read(file: Path) -> list[dict[str, float]]:
    """Raises ModelError when there is none, it cannot be read, or a row has no epoch."""
    again = f"run `dvc repro -f train@{file.parent.name}`"
    try:
        with written.reading(file, ModelError, f"{again} to make it anew"), file.open(newline="", encoding="utf-8") as stream:
            try:
                cells = list(csv.DictReader(stream))
            except csv.Error as error:
                raise ValueError(str(error)) from None
            if any(key is None for row in cells for key in row):
                raise ValueError("a row has more cells than there are columns")
            rows = [{key: float(value) for key, value in row.items() if value} for row in cells]
            if any(_LARGEST < abs(value) < float("inf") for row in rows for value in row.values()):
                raise ValueError(f"a figure is larger than {_LARGEST:g}")
    except FileNotFoundError:
        raise ModelError(f"{file.parent} has no {file.name}; {again}.") from None
    if not all(row.get("epoch", -1.0) >= 0 and row["epoch"].is_integer() for row in rows):
        raise ModelError(f"{file} has a row without an epoch; {again} to make it anew.")
    return rows
