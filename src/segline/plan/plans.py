"""The plans: everything that a stage of one model uses, with nothing left to decide. Each stage depends on its own plan and on the data it reads.

A plan is a JSON file with a version; what it does not hold changes nothing that its stage makes. Settings are read back by the architecture's own class, so
keys that are newer than the plan take their defaults.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from segline import written
from segline.errors import ModelError, ParametersError
from segline.files import write_json
from segline.models import catalog as architectures
from segline.models.settings import ModelSettings
from segline.provenance import digest
from segline_runtime.specification import ClassInfo, Geometry, ImageKind, Tile

VERSION = 1


@dataclass(frozen=True)
class Part:
    """The images of a split that a stage reads."""

    split: str  # train, val or test
    hash: str  # of the images and the truth
    holdout: float | None = None  # share of them that is held out by seed, where there is no split of its own for steering


@dataclass(frozen=True)
class TrainPlan:
    """`train.json`."""

    model: str
    task: str
    dataset: str
    seed: int
    settings: ModelSettings
    geometry: Geometry
    image: ImageKind
    classes: tuple[ClassInfo, ...]
    mean: tuple[float, ...] | None  # None: those that the pre-trained weights expect
    std: tuple[float, ...] | None
    class_weights: dict[str, tuple[float, ...]]  # by loss
    weights_digest: str | None  # of the content of a weight file
    training: Part
    steering: Part
    metric: str  # that picks the best epoch
    code: str
    version: int = VERSION

    @property
    def key(self) -> str:
        """Identifies the run and what can be resumed: equal keys mean the same training."""
        return digest(self.to_json())[:16]

    @property
    def parts(self) -> dict[str, str]:
        """Hashes by what a person may have changed."""
        values = self.to_json()
        data = digest([values[name] for name in ("training", "steering", "classes", "image")])
        code = values.pop("code")
        for name in ("training", "steering", "classes", "image"):
            del values[name]
        return {"parameters": digest(values), "data": data, "code": code}

    def to_json(self) -> dict[str, Any]:
        return _plain(self) | {"settings": training_settings(self.settings), "declared": declared(self.settings, "stride")}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what is no plan."""
        tuples = {name: None if values[name] is None else tuple(values[name]) for name in ("mean", "std")}
        return cls(
            **{
                **{name: value for name, value in values.items() if name != "declared"},
                **tuples,
                "settings": settings_from(values["settings"]),
                "geometry": geometry_from(values["geometry"]),
                "image": ImageKind(**values["image"]),
                "classes": classes_from(values["classes"]),
                "class_weights": {name: tuple(weights) for name, weights in values["class_weights"].items()},
                "training": Part(**values["training"]),
                "steering": Part(**values["steering"]),
            }
        )


@dataclass(frozen=True)
class InferencePlan:
    """What evaluation and export share: the network and how it predicts."""

    model: str
    task: str
    settings: ModelSettings
    geometry: Geometry
    classes: tuple[ClassInfo, ...]
    scored: Part
    code: str
    version: int = field(default=VERSION, kw_only=True)

    def to_json(self) -> dict[str, Any]:
        return _plain(self) | {"settings": inference_settings(self.settings), "declared": self._declared()}

    def _declared(self) -> dict[str, Any]:
        return declared(self.settings, "stride")

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what is no plan."""
        return cls(
            **{
                **{name: value for name, value in values.items() if name != "declared"},
                "settings": settings_from(values["settings"]),
                "geometry": geometry_from(values["geometry"]),
                "classes": classes_from(values["classes"]),
                "scored": Part(**values["scored"]),
                **({"metrics": tuple(values["metrics"])} if "metrics" in values else {}),
            }
        )


@dataclass(frozen=True)
class EvaluatePlan(InferencePlan):
    """`evaluate.json`."""

    metrics: tuple[str, ...]
    resamples: int
    overlays: int


@dataclass(frozen=True)
class ExportPlan(InferencePlan):
    """`export.json`."""

    opset: int
    tolerance: float
    latency_runs: int

    def _declared(self) -> dict[str, Any]:
        compared = self.settings.predict.without_threshold  # what parity falls back to; most architectures have no threshold
        return declared(self.settings, "stride", "exporter", "export_sizes") | ({"without_threshold": compared} if compared else {})


@dataclass(frozen=True)
class RegisterPlan:
    """`register.json`."""

    model: str
    code: str  # what travels with the model
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        return _plain(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        return cls(**values)


Plan = TrainPlan | EvaluatePlan | ExportPlan | RegisterPlan
P = TypeVar("P", TrainPlan, EvaluatePlan, ExportPlan, RegisterPlan)


def write(plan: Plan, file: Path) -> None:
    write_json(file, plan.to_json())


def read(kind: type[P], file: Path) -> P:
    """Raises ParametersError when `plan` has not run, or wrote what this code cannot read."""
    again = "run `dvc repro plan` (or `python pipeline/plan.py`) to make it"
    try:
        with written.reading(file, ParametersError, f"{again} anew"):
            values = written.mapping(file)
            if written.version_of(values) > VERSION:
                raise ParametersError(f"{file} was written by a later version of Segline (its format is {values['version']}); {again} anew.")
            return written.well_typed(kind.from_json(values), without=("settings",))
    except FileNotFoundError:
        raise ParametersError(f"There is no plan {file}; {again}.") from None


def training_settings(settings: ModelSettings) -> dict[str, Any]:
    """What of an entry of `models:` decides how a training ends. Of tiles only their size counts: crops are cut as large, and validation predicts with them."""
    values = settings.model_dump(mode="json", exclude={"predict"})
    crop = settings.input.training_crop
    values["input"]["crop"] = None if crop is None else list(crop)
    if settings.input.tile is not None and crop is not None:
        values["input"]["tile"] = {"size": list(crop), "overlap": min(crop) // 4}
    return values


def inference_settings(settings: ModelSettings) -> dict[str, Any]:
    """What of an entry of `models:` decides how a trained network predicts."""
    values = settings.model_dump(mode="json", exclude={"train", "augment", "loss"})
    values["input"]["crop"] = None
    return values


def declared(settings: ModelSettings, *names: str) -> dict[str, Any]:
    """What the architecture's class says of its network: no key of params.yaml, but part of what a stage makes."""
    return {name: getattr(settings, name) for name in names}


def settings_from(values: dict[str, Any]) -> ModelSettings:
    """The settings of a plan or of a model card. Raises ModelError when its architecture is not there any more or refuses them."""
    try:
        return architectures.settings(values["arch"]).model_validate(values)
    except ParametersError as error:
        raise ModelError(*error.problems) from None


def geometry_from(values: dict[str, Any]) -> Geometry:
    size, tile = values["size"], values["tile"]
    return Geometry(values["fit"], None if size is None else tuple(size), None if tile is None else Tile(tuple(tile["size"]), tile["overlap"]))


def classes_from(values: list[dict[str, Any]]) -> tuple[ClassInfo, ...]:
    return tuple(ClassInfo(c["id"], c["name"], tuple(c["color"]), c["thing"]) for c in values)


def _plain(plan: Any) -> dict[str, Any]:
    """A plan as JSON has it: tuples become lists."""
    shallow = {name: value for name, value in vars(plan).items() if name != "settings"}
    plain: dict[str, Any] = json.loads(json.dumps(shallow, default=asdict))
    return plain
