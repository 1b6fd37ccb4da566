"""`registered.json`: where the registry holds a model folder's content."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segline import written
from segline.errors import ModelError

FORMAT = 1


@dataclass(frozen=True)
class Receipt:
    """`registered.json`: where the registry holds a model folder's content."""

    name: str
    version: int
    digest: str
    run_id: str
    store: str  # without credentials
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, file: Path) -> Receipt | None:
        """None where there is none. Raises ModelError when it cannot be read, or is of a later version."""
        try:
            with written.reading(file, ModelError, f"run `dvc repro -f -s register@{file.parent.name}` to write it anew"):
                values = written.mapping(file)
                written.refuse_later(file, written.version_of(values, "format", FORMAT), FORMAT, ModelError)
                return written.well_typed(cls(**values))
        except FileNotFoundError:
            return None
