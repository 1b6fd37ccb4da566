"""`model.json`, the model's card: what `train` made, by which plan, and how to read it. It makes the model folder explain itself.

version 1   (has no key `version`) three hashes and the entry of params.yaml in place of a plan
version 2   `plan`, `parts`
version 3   `members`
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from segline import written
from segline.errors import ModelError
from segline.layout import ModelFolder
from segline.provenance import digest, file_digest
from segline_runtime.errors import InputError
from segline_runtime.specification import Specification

VERSION = 3

_PLAIN = re.compile(r"\w[\w.-]{0,254}")
"""Names that are parts of paths and addresses."""


@dataclass(frozen=True)
class Member:
    """One of the models that a model is made of, as it was then."""

    name: str
    key: str  # of its run
    weights: str  # digest of its weights file
    settings: dict[str, Any]  # of its network, or of what it is itself made of
    specification: Specification
    members: tuple[Member, ...] = ()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Member:
        """From what JSON gives back. Raises a KeyError, TypeError or InputError for what is no member."""
        inner = tuple(cls.from_dict(member) for member in values["members"])
        return cls(**{**values, "specification": Specification.from_dict(values["specification"]), "members": inner})


@dataclass(frozen=True)
class ModelCard:
    """Everything later stages, the tracker and the registry need to know of a trained model, besides its weights."""

    model: str  # name in params.yaml
    task: str
    key: str  # of the run: a hash of the plan
    plan: dict[str, Any]  # train.json as trained by; in `settings`, the entry of params.yaml
    parts: dict[str, str]  # hashes of the plan's parameters, data and code
    specification: Specification
    dataset: dict[str, Any]  # DatasetInfo.to_dict()
    versions: dict[str, str]
    commit: str | None
    experiment: str | None  # DVC_EXP_NAME
    training: dict[str, Any]  # what `segline.training.fit` sums up, `best` None where it was undefined; empty while it is being trained
    members: tuple[Member, ...] = ()  # what it is made of, where it was not trained itself
    version: int = VERSION

    @property
    def registered_name(self) -> str:
        return f"{self.dataset['name']}-{self.model}"

    @property
    def data_hash(self) -> str:
        """Of what it was trained on."""
        return self.parts["data"]

    @property
    def code(self) -> str:
        """Digest of the code that trained it."""
        return self.parts["code"]

    def finished(self, training: dict[str, Any]) -> ModelCard:
        """The card with what the training came to."""
        return replace(self, training=training)

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, file: Path) -> ModelCard:
        """Cards of the first version are read as well. Raises ModelError when there is no card, or it cannot be read, or is of a later version."""
        again = f"run `dvc repro -f train@{file.parent.name}` to make it anew"
        try:
            with written.reading(file, ModelError, again):
                values = written.mapping(file)
                if written.version_of(values, default=1) > VERSION:
                    raise ModelError(f"{file} was written by a later version of Segline (its format is {values['version']}); use that version, or {again}.")
                if "version" not in values:
                    values = _from_first_version(values)
                members = tuple(Member.from_dict(member) for member in values.get("members", ()))
                return _sound(cls(**{**values, "specification": Specification.from_dict(values["specification"]), "members": members}))
        except FileNotFoundError:
            raise ModelError(f"{file.parent} holds no trained model (no {file.name}); run `dvc repro train@{file.parent.name}` first.") from None
        except InputError as error:
            raise ModelError(f"{file} cannot be read ({error}); {again}.") from None


def _sound(card: ModelCard) -> ModelCard:
    """The card when all of its parts are what others take them for. Raises a ValueError, KeyError or TypeError."""
    written.well_typed(card, without=("training",))  # a training without a figure keeps an infinity there
    specification = card.specification
    for word, name in (("model", card.model), ("task", card.task), ("dataset", card.dataset["name"])):
        if not isinstance(name, str) or not _PLAIN.fullmatch(name):
            raise ValueError(f"its {word}'s name {str(name)[:80]!r} is not made of letters, digits, '_', '-' and '.'")
    if [one.id for one in specification.classes] != list(range(len(specification.classes))) or not specification.classes:
        raise ValueError("its classes are not numbered from 0 on")
    if not len(specification.mean) == len(specification.std) == specification.image.channels:
        raise ValueError(f"its mean and std are not of {specification.image.channels} channels")
    if min(*specification.std, specification.image.scale) <= 0 or min(specification.geometry.size or (1,)) < 1:
        raise ValueError("a scale or size in its specification is not above 0")
    if not isinstance(card.dataset.get("image", {}), dict) or not all(isinstance(one["name"], str) for one in card.dataset.get("classes", ())):
        raise TypeError("its dataset is no description of one")
    if not isinstance(card.training, dict) or not _seconds(card.training.get("seconds", 0)):
        raise TypeError("its training is no record of one")
    if not isinstance(card.plan["seed"], int) or not isinstance(card.plan["settings"], dict) or not {"data", "code"} <= card.parts.keys():
        raise TypeError("its plan or its parts are incomplete")
    return card


def _seconds(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value < 1e10


def _from_first_version(values: dict[str, Any]) -> dict[str, Any]:
    """A card that had three hashes and the entry of params.yaml in place of a plan."""
    provenance, parameters = values.pop("provenance"), values.pop("parameters")
    del values["format"]
    plan = {"version": 0, "seed": parameters["seed"], "settings": parameters["model"] | {"input": {"size": parameters["image_size"]}}}
    return values | {"key": digest(provenance)[:16], "plan": plan, "parts": provenance, "version": 1}


def members_that_changed(card: ModelCard, models: Path) -> list[str]:
    """Names of the models in the folder `models` whose weights are not those any more that the card's model was made of."""
    changed = []
    for member in card.members:
        weights = ModelFolder(models / member.name).weights
        if weights.is_file() and file_digest(weights) != member.weights:
            changed.append(member.name)
    return changed


def require_unchanged_members(card: ModelCard, models: Path) -> None:
    """Raises ModelError when the card's model was made of other weights than its members have now."""
    changed = members_that_changed(card, models)
    if changed:
        which = ", ".join(f"'{name}'" for name in changed)
        raise ModelError(
            f"'{card.model}' was made of other weights of {which} than lie in {models} now. Run `dvc repro -f -s train@{card.model}`, which makes it anew."
        )
