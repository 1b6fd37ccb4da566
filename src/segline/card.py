"""`model.json`, the model's card: what `train` made, from what, and how to read it. It makes the model folder explain itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segline.errors import ModelError
from segline.provenance import Provenance
from segline_runtime.specification import Specification

FORMAT = 1


@dataclass(frozen=True)
class ModelCard:
    """Everything later stages, the tracker and the registry need to know of a trained model, besides its weights."""

    model: str  # name in params.yaml
    task: str
    parameters: dict[str, Any]  # as trained with: {"seed", "image_size", "model": the entry of params.yaml}
    specification: Specification
    provenance: Provenance
    dataset: dict[str, Any]  # DatasetInfo.to_dict()
    versions: dict[str, str]
    commit: str | None
    experiment: str | None  # DVC_EXP_NAME
    training: dict[str, Any]  # metric, best_epoch, best, epochs, seconds, device, precision, parameter_count
    format: int = FORMAT

    @property
    def registered_name(self) -> str:
        return f"{self.dataset['name']}-{self.model}"

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, file: Path) -> ModelCard:
        """Raises ModelError when there is no card or it cannot be read."""
        try:
            values = json.loads(file.read_text())
            specification = Specification.from_dict(values["specification"])
            return cls(**{**values, "specification": specification, "provenance": Provenance(**values["provenance"])})
        except FileNotFoundError:
            raise ModelError(f"{file.parent} holds no trained model (no {file.name}); run `dvc repro train@{file.parent.name}` first.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{file} cannot be read ({error}); run `dvc repro -f train@{file.parent.name}` to make it anew.") from None
