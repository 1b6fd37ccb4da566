"""`history.csv`: one row per epoch, first column `epoch`; an epoch without validation has empty cells."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from segline.errors import ModelError
from segline.files import whole


def write(file: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Columns stand in the order in which they first come up."""
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
        with file.open(newline="") as stream:
            rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(stream)]
    except FileNotFoundError:
        raise ModelError(f"{file.parent} has no {file.name}; {again}.") from None
    except (ValueError, TypeError, csv.Error) as error:
        raise ModelError(f"{file} cannot be read ({error}); {again} to make it anew.") from None
    if not all("epoch" in row for row in rows):
        raise ModelError(f"{file} has a row without an epoch; {again} to make it anew.")
    return rows
