"""`registered.json`: where the registry holds a model folder's content."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
            values = json.loads(file.read_text())
            if values.get("format", FORMAT) > FORMAT:
                raise ModelError(f"{file} was written by a later Segline (its format is {values['format']}, this one reads {FORMAT}); update Segline.")
            return cls(**values)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, AttributeError) as error:
            raise ModelError(f"{file} cannot be read ({error}); run `dvc repro -f -s register@{file.parent.name}` to write it anew.") from None
