"""The list of what a table holds: a YAML file, read into rows.

    steps: 150                   # of the optimiser, in every training: how often an image is seen goes with the share
    validations: 3               # of every training
    warmup: 0.05                 # of the steps
    seed: 0                      # of trainings, and of which images a share has
    shares: [0.1, 1.0]           # of the training images
    shared: {…}                  # keys of an entry of `models:` that all rows have
    starts:                      # what a training begins with: keys upon those of the architecture
      scratch: {}
      imagenet: {weights: ENCODER}
    data:                        # the section `data` of params.yaml, and keys that all rows on it have
      camvid: {keys: {source: CAMVID, format: camvid}, shared: {input: {size: [96, 128]}}}
    architectures:               # an entry of `models:`, and the starts that it has
      unet: {entry: {arch: unet, encoder: resnet18}, starts: [scratch, imagenet]}

A word in capitals stands for a path, which the command line gives: `--place CAMVID=data/camvid`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from clone import merged
from pydantic import Field

from segline.choices import hint
from segline.errors import ParametersError
from segline.params import MODEL_NAME
from segline.plain_yaml import load
from segline.provenance import digest
from segline.sentences import Problems
from segline.settings import Count, Section
from segline.training.settings import Train

_PLACE = re.compile(r"[A-Z][A-Z0-9_]*")

Share = Annotated[float, Field(gt=0, le=1)]


class Data(Section):
    """A data set."""

    keys: dict[str, Any]  # the section `data` of params.yaml
    shared: dict[str, Any] = {}  # keys that all entries on it have


class Architecture(Section):
    """What is trained."""

    entry: dict[str, Any]  # of `models:`
    starts: Annotated[list[str], Field(min_length=1)] = ["scratch"]


class Table(Section):
    """The whole file."""

    steps: Count
    validations: Count = 3
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    shares: Annotated[list[Share], Field(min_length=1)]
    shared: dict[str, Any] = {}
    starts: dict[str, dict[str, Any]] = {"scratch": {}}
    data: Annotated[dict[str, Data], Field(min_length=1)]
    architectures: Annotated[dict[str, Architecture], Field(min_length=1)]


@dataclass(frozen=True)
class Row:
    """One training."""

    data: str
    architecture: str
    start: str
    share: float
    entry: Mapping[str, Any]  # of `models:`, without what goes with the number of images
    settings: str  # identifies all that its result comes from, but the code

    @property
    def model(self) -> str:
        """Its name among the models of its data set and share."""
        return f"{self.architecture}_{self.start}"

    @property
    def name(self) -> str:
        return f"{self.data}-{self.model}-{percent(self.share)}"

    def told(self) -> dict[str, Any]:
        """What stands with its result."""
        return {"settings": self.settings, "data": self.data, "architecture": self.architecture, "start": self.start, "share": self.share}


@dataclass(frozen=True)
class Asked:
    """A list with its paths."""

    table: Table
    data: Mapping[str, Mapping[str, Any]]  # the sections `data`
    rows: tuple[Row, ...]


def read(file: Path, places: Mapping[str, Path]) -> Asked:
    """The rows in the order of data sets, shares, architectures. Raises ParametersError with all problems of the list."""
    problems = Problems(file.name)
    table = problems.validated(Table, load(file), "")
    problems.raise_if_any()
    assert table is not None
    problems.add(*_problems(table, places))
    problems.raise_if_any()
    data = {name: _placed(one.keys, places) for name, one in table.data.items()}
    rows = []
    for name, one in table.data.items():
        for share in table.shares:
            for word, architecture in table.architectures.items():
                for start in architecture.starts:
                    entry = merged(merged(merged(table.shared, one.shared), architecture.entry), table.starts[start])
                    parts = [entry, table.steps, table.validations, table.warmup, table.seed, share, one.keys]
                    rows.append(Row(name, word, start, share, _placed(entry, places), digest(parts)[:16]))
    return Asked(table, data, tuple(rows))


def entry_for(row: Row, table: Table, *, images: int, held: bool) -> dict[str, Any]:
    """The entry of `models:` that trains a row on this many images; held: whether a part of them steers the training."""
    train = dict(row.entry.get("train", {}))
    batch = train.get("batch_size", Train.model_fields["batch_size"].default)
    holdout = train.get("holdout", Train.model_fields["holdout"].default) if held else 0.0
    epochs = max(1, round(table.steps / math.ceil(images * (1 - holdout) / batch)))
    own = {"epochs": epochs, "validate_every": max(1, epochs // table.validations), "warmup": round(table.warmup * epochs, 3)}
    return {**row.entry, "train": {**own, **train}}


def percent(share: float) -> str:
    """As a part of a name: 10, 2_5."""
    return f"{100 * share:g}".replace(".", "_")


def _problems(table: Table, places: Mapping[str, Path]) -> Iterator[str]:
    for section, names in (("data", table.data), ("architectures", table.architectures), ("starts", table.starts)):
        for name in names:
            if not MODEL_NAME.fullmatch(name):
                yield f"{section}: '{name}' is no valid name; use a lower-case letter followed by lower-case letters, digits or '_'."
    for name, architecture in table.architectures.items():
        for start in architecture.starts:
            if start not in table.starts:
                yield f"architectures.{name}.starts: there is no start '{start}'. {hint(start, table.starts)}"
    if len(set(table.shares)) < len(table.shares):
        yield "shares names one share more than once."
    values = [table.shared, table.starts, *(one.model_dump() for one in (*table.data.values(), *table.architectures.values()))]
    for word in sorted(set(_places(values))):
        if word not in places:
            yield f"{word} stands for a path; give it on the command line: --place {word}=<path>."
        elif not places[word].exists():
            yield f"{word}: there is no file or folder {places[word]}; correct --place {word}."


def _places(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _places(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _places(inner)
    elif isinstance(value, str) and _PLACE.fullmatch(value):
        yield value


def _placed(value: Any, places: Mapping[str, Path]) -> Any:
    """With the paths in place of their words."""
    if isinstance(value, dict):
        return {key: _placed(inner, places) for key, inner in value.items()}
    if isinstance(value, list):
        return [_placed(inner, places) for inner in value]
    return str(places[value].resolve()) if isinstance(value, str) and _PLACE.fullmatch(value) else value


def refuse_unknown(names: list[str], rows: tuple[Row, ...]) -> None:
    """Raises ParametersError for names that no row has."""
    known = [row.name for row in rows]
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    if unknown:
        raise ParametersError(*(f"There is no row '{name[:80]}'. {hint(name, known)}" for name in unknown))
