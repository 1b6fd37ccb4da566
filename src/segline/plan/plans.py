"""The plans: everything that a stage of one model uses, with nothing left to decide. Each stage depends on its own plan and on the data it reads.

A plan is a JSON file with a version; what it does not hold changes nothing that its stage makes. Settings are read back by the architecture's own class, so
keys that are newer than the plan take their defaults.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from segline import written
from segline.errors import ModelError, ParametersError
from segline.files import write_json
from segline.models import catalog as architectures
from segline.models.composed_settings import ComposedSettings
from segline.models.settings import Entry, ModelSettings
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
        return _parts(self.to_json())

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
                "settings": _trained_settings(values["settings"]),
                "geometry": geometry_from(values["geometry"]),
                "image": ImageKind(**values["image"]),
                "classes": classes_from(values["classes"]),
                "class_weights": {name: tuple(weights) for name, weights in values["class_weights"].items()},
                "training": Part(**values["training"]),
                "steering": Part(**values["steering"]),
            }
        )


@dataclass(frozen=True)
class Ingredient:
    """A member of what is made of others, as it is trained."""

    name: str
    key: str  # of its own train plan
    again: str | None = None  # digest of its weights, where the same plan was trained once more and ended in others (see `segline.plan.again`)


@dataclass(frozen=True)
class ComposePlan:
    """`train.json` of an entry that is made of others. `training` and `steering` as in a training's, of which it learns nothing by gradient."""

    model: str
    task: str
    dataset: str
    seed: int
    settings: ComposedSettings
    image: ImageKind
    classes: tuple[ClassInfo, ...]
    members: tuple[Ingredient, ...]
    training: Part
    steering: Part
    metric: str  # by which a greedy soup chooses, and that is shown beside the trainings' own
    code: str
    version: int = VERSION

    @property
    def key(self) -> str:
        """As that of a training."""
        return digest(self.to_json())[:16]

    @property
    def parts(self) -> dict[str, str]:
        """Hashes by what a person may have changed; the members count as parameters."""
        return _parts(self.to_json())

    def to_json(self) -> dict[str, Any]:
        return _plain(self) | {"settings": training_settings(self.settings)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what is no plan."""
        settings = settings_from(values["settings"])
        if not isinstance(settings, ComposedSettings):
            raise TypeError(f"{settings.arch} is not made of other models")
        return cls(
            **{
                **values,
                "settings": settings,
                "image": ImageKind(**values["image"]),
                "classes": classes_from(values["classes"]),
                "members": tuple(Ingredient(**member) for member in values["members"]),
                "training": Part(**values["training"]),
                "steering": Part(**values["steering"]),
            }
        )


@dataclass(frozen=True)
class Member:
    """A member of what is made of others, as it predicts."""

    name: str
    settings: Entry
    geometry: Geometry
    members: tuple[Member, ...] = ()

    def to_json(self, *names: str) -> dict[str, Any]:
        return _inferring(self, self.settings, self.members, names)

    def unthresholded(self) -> Member:
        """With nothing dropped for a low score."""
        return replace(self, settings=self.settings.unthresholded(), members=tuple(member.unthresholded() for member in self.members))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Member:
        return cls(values["name"], settings_from(values["settings"]), geometry_from(values["geometry"]), _members_from(values))


@dataclass(frozen=True)
class InferencePlan:
    """What evaluation and export share: the network, or those that it is made of, and how it predicts."""

    model: str
    task: str
    settings: Entry
    geometry: Geometry
    classes: tuple[ClassInfo, ...]
    scored: Part
    code: str
    version: int = field(default=VERSION, kw_only=True)
    members: tuple[Member, ...] = field(default=(), kw_only=True)

    def to_json(self) -> dict[str, Any]:
        return _inferring(self, self.settings, self.members, self._names())

    def _names(self) -> tuple[str, ...]:
        """Of what the architecture declares and this stage uses."""
        return ("stride",)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what is no plan."""
        return cls(
            **{
                **{name: value for name, value in values.items() if name != "declared"},
                "settings": settings_from(values["settings"]),
                "geometry": geometry_from(values["geometry"]),
                "members": _members_from(values),
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

    def _names(self) -> tuple[str, ...]:
        return ("stride", "exporter", "export_sizes", "without_threshold")

    @property
    def exporter(self) -> Literal["torchscript", "dynamo"]:
        """The exporter that knows the operators of all networks in the graph."""
        return _exporter(self.settings, self.members)

    def unthresholded(self) -> Self:
        """Of the same model with nothing dropped for a low score."""
        return replace(self, settings=self.settings.unthresholded(), members=tuple(member.unthresholded() for member in self.members))


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


Plan = TrainPlan | ComposePlan | EvaluatePlan | ExportPlan | RegisterPlan
P = TypeVar("P", TrainPlan, ComposePlan, EvaluatePlan, ExportPlan, RegisterPlan)


def write(plan: Plan, file: Path) -> None:
    write_json(file, plan.to_json())


def read(kind: type[P], file: Path) -> P:
    """Raises ParametersError when `plan` has not run, or wrote what this code cannot read."""
    with _reading(file) as values:
        return _sound(kind, values)


def read_train(file: Path) -> TrainPlan | ComposePlan:
    """The plan of a training, or of what is made of other models. Raises as `read`."""
    with _reading(file) as values:
        return _sound(ComposePlan, values) if "members" in values else _sound(TrainPlan, values)


@contextmanager
def _reading(file: Path) -> Iterator[dict[str, Any]]:
    again = "run `dvc repro plan` (or `python pipeline/plan.py`) to make it"
    try:
        with written.reading(file, ParametersError, f"{again} anew"):
            values = written.mapping(file)
            if written.version_of(values) > VERSION:
                raise ParametersError(f"{file} was written by a later version of Segline (its format is {values['version']}); {again} anew.")
            yield values
    except FileNotFoundError:
        raise ParametersError(f"There is no plan {file}; {again}.") from None


def _sound(kind: type[P], values: dict[str, Any]) -> P:
    elsewhere = ("settings", "members") if issubclass(kind, InferencePlan) else ("settings",)
    return written.well_typed(kind.from_json(values), without=elsewhere)


def training_settings(settings: Entry) -> dict[str, Any]:
    """What of an entry of `models:` decides how a training ends. Of tiles only their size counts: crops are cut as large, and validation predicts with them."""
    values = settings.model_dump(mode="json", exclude={"predict"})
    if isinstance(settings, ModelSettings):
        crop = settings.input.training_crop
        values["input"]["crop"] = None if crop is None else list(crop)
        if settings.input.tile is not None and crop is not None:
            values["input"]["tile"] = {"size": list(crop), "overlap": min(crop) // 4}
    return values


def inference_settings(settings: Entry) -> dict[str, Any]:
    """What of an entry of `models:` decides how a trained network predicts."""
    values = settings.model_dump(mode="json", exclude={"train", "augment", "loss"})
    if isinstance(settings, ModelSettings):
        values["input"]["crop"] = None
    return values


def declared(settings: Entry, *names: str) -> dict[str, Any]:
    """What the architecture's class says of its network: no key of params.yaml, but part of what a stage makes. An empty mapping says nothing."""
    values = {name: getattr(settings, name) for name in names if isinstance(settings, ModelSettings)}
    return {name: value for name, value in values.items() if value != {}}


def settings_from(values: dict[str, Any]) -> Entry:
    """The settings of a plan or of a model card. Raises ModelError when its architecture is not there any more or refuses them."""
    try:
        return architectures.settings(values["arch"]).model_validate(values)
    except ParametersError as error:
        raise ModelError(*error.problems) from None


def _trained_settings(values: dict[str, Any]) -> ModelSettings:
    settings = settings_from(values)
    if not isinstance(settings, ModelSettings):
        raise TypeError(f"{settings.arch} is made of other models")
    return settings


def _members_from(values: dict[str, Any]) -> tuple[Member, ...]:
    return tuple(Member.from_json(member) for member in values.get("members", ()))


def _inferring(plan: InferencePlan | Member, settings: Entry, members: tuple[Member, ...], names: tuple[str, ...]) -> dict[str, Any]:
    """What predicts, as JSON; `members` stand there where there are any. names: of what the architectures declare."""
    values = _plain(plan) | {"settings": inference_settings(settings), "declared": declared(settings, *names)}
    return values | {"members": [member.to_json(*names) for member in members]} if members else values


def _exporter(settings: Entry, members: tuple[Member, ...]) -> Literal["torchscript", "dynamo"]:
    if isinstance(settings, ModelSettings):
        return settings.exporter
    return "dynamo" if "dynamo" in {_exporter(member.settings, member.members) for member in members} else "torchscript"


def _parts(values: dict[str, Any]) -> dict[str, str]:
    data = ("training", "steering", "classes", "image")
    parameters = {name: value for name, value in values.items() if name not in (*data, "code")}
    return {"parameters": digest(parameters), "data": digest([values[name] for name in data]), "code": values["code"]}


def geometry_from(values: dict[str, Any]) -> Geometry:
    size, tile = values["size"], values["tile"]
    return Geometry(values["fit"], None if size is None else tuple(size), None if tile is None else Tile(**tile | {"size": tuple(tile["size"])}))


def classes_from(values: list[dict[str, Any]]) -> tuple[ClassInfo, ...]:
    return tuple(ClassInfo(c["id"], c["name"], tuple(c["color"]), c["thing"]) for c in values)


def _plain(plan: Any) -> dict[str, Any]:
    """A plan as JSON has it: tuples become lists."""
    shallow = {name: value for name, value in vars(plan).items() if name != "settings" and not (name == "members" and isinstance(plan, InferencePlan | Member))}
    plain: dict[str, Any] = json.loads(json.dumps(shallow, default=_as_mapping))
    return plain


def _as_mapping(part: Any) -> dict[str, Any]:
    """A dataclass as JSON has it; of a tile, what has a default stands there where it differs, so that files from before its fields say the same."""
    if isinstance(part, Geometry) and part.tile is not None:
        defaults = {field.name: field.default for field in fields(Tile)}
        tile = {name: value for name, value in asdict(part.tile).items() if value != defaults[name]}
        return asdict(part) | {"tile": tile}
    return asdict(part)
