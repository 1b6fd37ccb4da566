"""`params.yaml`: the control desk, read and validated as a whole.

The sections stand where what they set stands: an architecture's keys in `segline.models.<architecture>.settings`, a loss's in `segline.losses.<loss>`, a
source's and a format's in `segline.data`. Here they are put together. `read` collects all problems of the file and raises them together.
YAML is read as YAML 1.2 (`segline.plain_yaml`), because DVC writes it so: `1e-05` is a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from segline import choices
from segline.data.formats import catalog as formats
from segline.data.formats.base import check_class_names
from segline.data.public import catalog as public
from segline.data.sources import SHAPES, Folder, Shapes, is_public, name_of
from segline.errors import DataError, ParametersError, SeglineError
from segline.metrics.catalog import METRICS
from segline.models import catalog as architectures
from segline.models import composed_settings
from segline.models.settings import Entry
from segline.plain_yaml import load
from segline.promotion.gates import Gates
from segline.recipes.applied import Applied, Taken, applied
from segline.sentences import Problems, quoted
from segline.settings import Count, Positive, Section
from segline.training.settings import Runtime

MODEL_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""Safe in DVC stage names, paths, shell words and the MLflow registry."""

Source = Shapes | Folder


class Evaluate(Section):
    """How models are scored, and what is drawn beside the figures."""

    metrics: Literal["auto"] | list[str] = Field(default="auto", description="auto (those of the task), or a list of words of the metrics' catalogue")
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 1000  # of the images, for the bootstrap's intervals
    overlays: Annotated[int, Field(ge=0, le=50)] = 4  # best and worst images drawn, each


class Export(Section):
    """ONNX."""

    opset: Annotated[int, Field(ge=18, le=22)] = 18  # version of ONNX's operators
    tolerance: Positive = 0.001  # largest difference between the metric of the ONNX model and that of the trained model
    latency_runs: Count = 20  # images timed for the latency, batch 1


class Tracking(Section):
    """Where runs and models are kept. No result depends on it."""

    uri: str | None = None  # of an MLflow server or database; default: sqlite:///mlflow.db in the main checkout; the variable MLFLOW_TRACKING_URI overrides it


class Frame(Section):
    """The sections that are the same for every source and architecture."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0  # of generated images and trainings
    data: dict[str, Any]
    models: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    evaluate: Evaluate = Evaluate()
    export: Export = Export()
    promote: dict[str, Gates] = {}  # by model
    runtime: Runtime = Runtime()
    tracking: Tracking = Tracking()


@dataclass(frozen=True)
class Params:
    """The whole file."""

    seed: int
    data: Source
    models: dict[str, Entry]
    evaluate: Evaluate
    export: Export
    promote: dict[str, Gates]
    runtime: Runtime
    tracking: Tracking
    taken: Mapping[str, tuple[Taken, ...]] = field(default_factory=dict)  # by model: the keys that it has from its recipe

    def gates(self, model: str) -> Gates:
        """The promotion gates of one model; where params.yaml has none, parity alone is asked for."""
        return self.promote.get(model, Gates())

    def data_name(self) -> str:
        """First half of the registered model's name."""
        return name_of(self.data)


def read(path: Path) -> Params:
    """Read and validate a params.yaml.

    Raises ParametersError with one sentence per problem of the file, each naming the key and, for an unknown key, the nearest right one.
    """
    values = load(path)
    problems = Problems(path.name)
    given = _with_the_catalogues(values.get("data"), problems)
    data: Section | None = problems.validated(_source_class({**values, "data": given} if "data" in values else values, problems), given, "data")
    models, taken = _models(values.get("models"), problems)
    frame = problems.validated(Frame, {"data": {}} | values, "", inner=("data", "models"))
    if frame is not None:
        problems.add(*_promoted_models_exist(frame.promote, values.get("models")))
        problems.add(*_metrics_exist(frame.evaluate))
    problems.add(*_classes_differ(data))
    problems.raise_if_any()
    assert frame is not None and isinstance(data, Shapes | Folder)
    return Params(frame.seed, data, models, frame.evaluate, frame.export, frame.promote, frame.runtime, frame.tracking, taken)


def select(params: Params, name: str) -> Entry:
    """The entry `models.<name>`. Raises ParametersError, naming the models there are."""
    if name not in params.models:
        near = choices.nearest(name, params.models)
        raise ParametersError(f"params.yaml has no model '{name}'; it has {', '.join(params.models)}." + (f" Did you mean '{near}'?" if near else ""))
    return params.models[name]


def flatten(section: BaseModel, prefix: str = "") -> dict[str, str | int | float | bool | None]:
    """Dotted keys to plain values, for MLflow: `train.lr` → 0.001; lists are written as JSON."""
    return flatten_values(section.model_dump(mode="json"), prefix)


def flatten_values(values: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool | None]:
    """As `flatten`, of plain values."""
    return dict(_leaves(dict(values), prefix))


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, json.dumps(value) if isinstance(value, list | dict) else value


def _source_class(values: Mapping[str, Any], problems: Problems) -> type[Shapes] | type[Folder] | None:
    """The class that the section `data` is to be read by; None where that cannot be known."""
    if "data" not in values:
        problems.add("data is missing; DVC knows no defaults, so write it out: `data: {source: shapes}`.")
        return None
    data = values["data"]
    if not isinstance(data, dict):
        return Shapes if data is None else None
    if "source" not in data:
        problems.add("data.source is missing; it is shapes (generated images), a public data set (`segline datasets`) or the folder of your own images.")
        return None
    if data["source"] == SHAPES:
        return Shapes
    try:
        return formats.get(str(data.get("format", formats.DEFAULT))[:80]).Settings
    except SeglineError as error:
        problems.add(*(f"data.format: {problem}" for problem in error.problems))
        return None


def _with_the_catalogues(data: Any, problems: Problems) -> Any:
    """The section `data` with the format and the keys of the public data set that it names; its own keys come before those of the catalogue."""
    if not isinstance(data, dict) or not is_public(data.get("source")):
        return data
    name = data["source"]
    entry = public.get(name)
    if data.get("format", entry.format) != entry.format:
        problems.add(f"data.format: the public data set {name} is read as {entry.format}; remove the key. A folder of this name is written `./{name}`.")
    merged: dict[str, Any] = {**entry.keys, **data, "format": entry.format}
    for key, inner in entry.keys.items():
        if isinstance(inner, dict) and isinstance(data.get(key), dict):
            merged[key] = {**inner, **data[key]}
    return merged


def _models(entries: Any, problems: Problems) -> tuple[dict[str, Entry], dict[str, tuple[Taken, ...]]]:
    """The entries of `models:`, each by the settings of its architecture, and what each has from its recipe."""
    found: dict[str, Entry] = {}
    taken: dict[str, tuple[Taken, ...]] = {}
    if not isinstance(entries, dict):
        return found, taken  # the frame says what is wrong
    every = {str(name): entry for name, entry in entries.items()}
    for name, entry in entries.items():
        where = f"models.{name}"
        if not (isinstance(name, str) and MODEL_NAME.fullmatch(name)):
            problems.add(f"models: '{name}' is no valid model name; use a lower-case letter followed by lower-case letters, digits or '_', at most 63 in all.")
        if not isinstance(entry, dict):
            problems.add(f"{where} is {quoted(entry)}; it must be a section with at least `arch:`, for example `{{arch: unet}}`.")
            continue
        if "arch" not in entry:
            problems.add(f"{where}.arch is missing; it is one of {', '.join(architectures.words())}.")
            continue
        try:
            kind = architectures.settings(str(entry["arch"]))
        except ParametersError as error:
            problems.add(*(f"{where}.arch: {problem}" for problem in error.problems))
            continue
        try:
            whole = applied(entry)
        except ParametersError as error:
            problems.add(*(f"{where}.{problem}" for problem in error.problems))
            continue
        settings = problems.validated(kind, whole.entry, where)
        wrong = [] if settings is None else list(composed_settings.check(str(name), settings, found, every))
        problems.add(*wrong)
        if settings is not None and not wrong:
            found[str(name)] = settings
            taken[str(name)] = whole.taken
        elif settings is None:
            problems.add(*_mixed_up(kind, entry, whole, where))
    return found, taken


def _mixed_up(kind: type[Entry], entry: dict[str, Any], whole: Applied, where: str) -> Iterator[str]:
    """Of an entry that is right without its recipe: which keys nobody has written."""
    alone = Problems("")
    if whole.taken and alone.validated(kind, {key: value for key, value in entry.items() if key != "recipe"}, where) is not None:
        keys = ", ".join(taken.key for taken in whole.taken)
        yield f"{where}: its recipe {entry['recipe']} sets {keys}; give the keys that do not go together values of your own, or remove `recipe`."


def _classes_differ(data: Section | None) -> Iterator[str]:
    names = getattr(data, "classes", None)
    if isinstance(names, list):  # not a file of names
        try:
            check_class_names(names)
        except DataError as error:
            yield from error.problems


def _metrics_exist(evaluate: Evaluate) -> Iterator[str]:
    if isinstance(evaluate.metrics, list):
        if not evaluate.metrics:
            yield "evaluate.metrics is empty; name at least one metric, or write auto."
        for word in sorted({word for word in evaluate.metrics if evaluate.metrics.count(word) > 1}):
            yield f"evaluate.metrics names {word} more than once."
    for word in evaluate.metrics if isinstance(evaluate.metrics, list) else ():
        if word not in METRICS:
            yield f"evaluate.metrics: there is no metric '{word}'. {choices.hint(word, METRICS)}"


def _promoted_models_exist(promote: Mapping[str, Gates], entries: Any) -> Iterator[str]:
    names = [str(name) for name in entries] if isinstance(entries, dict) else []
    for name in promote:
        if name not in names:
            yield f"promote.{name}: there is no model '{name}'; the models are {', '.join(names)}."
