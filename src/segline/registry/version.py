"""What the registry says of a model's versions; giving one of them an alias."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from segline.choices import nearest
from segline.errors import RegistryError
from segline.registry.client import asked
from segline.tracking import tables
from segline.tracking.address import shown
from segline.tracking.tables import Row

if TYPE_CHECKING:
    from mlflow import MlflowClient

CANDIDATE, STAGING, PRODUCTION = "candidate", "staging", "production"
ALIASES = (CANDIDATE, STAGING, PRODUCTION)

FORMAT = 2
"""Of the tags, in the tag `segline.format`; versions of the first format have none."""

_URI = re.compile(r"models:/+(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


@dataclass(frozen=True)
class Version:
    """One version of a registered model, as the registry describes it."""

    name: str
    number: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    created: datetime
    run_id: str | None

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.number}"

    @property
    def digest(self) -> str | None:
        """sha256 of its model.onnx; None for a version that Segline did not make."""
        return self.tags.get("segline.digest")

    @property
    def metrics(self) -> dict[str, float]:
        """Its figures when it was registered, the main ones first, without those of single classes."""
        figures = self._read("segline.metrics", json.loads, "{}")
        if not isinstance(figures, dict) or not all(isinstance(value, int | float) for value in figures.values()):
            raise self._edited("segline.metrics")
        return figures

    @property
    def parity(self) -> bool:
        """Whether its ONNX model was proved equal to the trained one."""
        return self.tags.get("segline.parity") == "passed"

    @property
    def task(self) -> str:
        """Raises RegistryError for a version that Segline did not register, or a later Segline did."""
        task = self.tags.get("segline.task")
        if task is None:
            raise RegistryError(f"{self.name} version {self.number} was not registered by Segline, so its gates are unknown. Choose another with --version N.")
        if self.format > FORMAT:
            raise RegistryError(
                f"{self.name} version {self.number} was registered by a later Segline (its format is {self.format}, this one knows {FORMAT}); update Segline."
            )
        return task

    @property
    def format(self) -> int:
        """Of its tags."""
        return int(self._read("segline.format", int, "1"))

    @property
    def trained_on(self) -> int | None:
        """How many images it learnt from or was steered by; None where that was not kept. `segline.registry.trained_on` has their hashes."""
        value: int | None = self._read("segline.trained_on", int)
        return value

    @property
    def latency_ms(self) -> float | None:
        """Median per image, as measured by export."""
        value: float | None = self._read("segline.latency_ms", float)
        return value

    def _read(self, tag: str, meaning: Callable[[str], Any], default: str | None = None) -> Any:
        """What a tag says; tags can be edited by hand. Raises RegistryError."""
        text = self.tags.get(tag, default)
        try:
            return None if text is None else meaning(text)
        except (ValueError, RecursionError):
            raise self._edited(tag) from None

    def _edited(self, tag: str) -> RegistryError:
        return RegistryError(
            f"The tag {tag} of {self.name} version {self.number} cannot be read: it is {self.tags[tag][:80]!r}. "
            "Delete it, or register the model again (`dvc repro -f -s register@…`), which writes it anew."
        )


def names(*, store: str) -> list[str]:
    """All registered models."""
    with tables.reading(store) as found:
        if found is not None:
            return found.models()
    with asked(store) as client:
        return sorted(_all_names(client))


def versions(*, store: str, name: str) -> list[Version]:
    """The versions of one model, newest first; none where there is no such model."""
    with tables.reading(store) as read:
        rows, aliases = _rows(store, name) if read is None else (read.versions(name), read.aliases(name))
    found = []
    for row in sorted(rows, key=lambda row: -row.number):
        held = sorted((alias for alias, number in aliases.items() if number == row.number), key=_alias_order)
        found.append(Version(name, row.number, tuple(held), row.tags, datetime.fromtimestamp(row.created_ms / 1000, UTC), row.run_id))
    return found


def _rows(store: str, name: str) -> tuple[list[Row], dict[str, int]]:
    """What MLflow says of a model's versions, and which of them hold its aliases."""
    with asked(store) as client:
        from mlflow.exceptions import MlflowException

        try:
            aliases: dict[str, str] = client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return [], {}
            raise
        found: list[Any] = []
        page = None
        while page != "":
            answer = client.search_model_versions(f"name = '{name}'", page_token=page)
            found += answer
            page = answer.token or ""
    rows = [Row(int(v.version), v.creation_timestamp, v.run_id or None, dict(v.tags)) for v in found]
    return rows, {alias: int(version) for alias, version in aliases.items()}


def require(*, store: str, name: str) -> list[Version]:
    """As `versions`, at least one. Raises RegistryError, naming the models there are."""
    there = versions(store=store, name=name)
    if not there:
        raise RegistryError(_no_model(name, names(store=store), store))
    return there


def find(*, store: str, name: str, alias: str | None = None, number: int | None = None) -> Version:
    """The version that holds an alias, or that has a number. Raises RegistryError, naming what there is."""
    assert (alias is None) != (number is None), "one of alias and number"
    there = require(store=store, name=name)
    for version in there:
        if alias in version.aliases or version.number == number:
            return version
    held = ", ".join(f"version {v.number}" + (f" ({', '.join(v.aliases)})" if v.aliases else "") for v in there)
    wanted = f"version {number}" if alias is None else f"version with the alias '{alias}'"
    raise RegistryError(f"The registered model '{name}' has no {wanted}; it has {held}.")


def holder(*, store: str, name: str, alias: str) -> Version | None:
    """The version that holds an alias, if any."""
    return next((v for v in versions(store=store, name=name) if alias in v.aliases), None)


def resolve(*, store: str, uri: str) -> Version:
    """The version that `models:/<name>@<alias>` or `models:/<name>/<number>` means. Raises RegistryError."""
    match = _URI.fullmatch(uri)
    if match is None:
        raise RegistryError(f"'{uri}' is no address of a registered model; write models:/<name>@<alias> or models:/<name>/<version>.")
    number = match["version"]
    return find(store=store, name=match["name"], alias=match["alias"], number=None if number is None else int(number))


def move(*, store: str, version: Version, alias: str, tags: Mapping[str, str]) -> None:
    """Write the tags to a version, then give it the alias; cut off between the two, the alias has not moved and the tags tell of the attempt."""
    with asked(store) as client:
        for key, value in tags.items():
            client.set_model_version_tag(version.name, str(version.number), key, value)
        client.set_registered_model_alias(version.name, alias, str(version.number))


def _all_names(client: MlflowClient) -> list[str]:
    found: list[str] = []
    page = None
    while page != "":
        answer = client.search_registered_models(page_token=page)
        found += [model.name for model in answer]
        page = answer.token or ""
    return found


def _alias_order(alias: str) -> tuple[int, str]:
    return (ALIASES.index(alias) if alias in ALIASES else len(ALIASES), alias)


def _no_model(name: str, there: list[str], store: str) -> str:
    where = f"The registry {shown(store)} has no model '{name}'"
    if not there:
        return f"{where}; it is empty. Run `dvc repro`, whose last stage registers each model."
    if name in there:
        return (
            f"The registered model '{name}' in {shown(store)} has no versions. Run `dvc repro`, whose last stage registers one, or delete it in the MLflow UI."
        )
    near = nearest(name, there)
    return f"{where}; it has {', '.join(there)}." + (f" Did you mean '{near}'?" if near else "")
