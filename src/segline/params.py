"""`params.yaml`: the control desk. Typed, documented, validated as a whole.

Every key stands here once, with its default, unit and range. `read` collects all problems of the file and raises them together.
YAML is read as YAML 1.2 (ruamel.yaml), because DVC writes it so: `1e-05` is a number.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from segline.errors import ParametersError

MODEL_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""Safe in DVC stage names, paths, shell words and the MLflow registry."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Size = tuple[Annotated[int, Field(ge=32, le=8192)], Annotated[int, Field(ge=32, le=8192)]]


class Section(BaseModel):
    """A section of params.yaml: unknown keys are mistakes, values are not silently converted."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shapes(Section):
    """The generated data set."""

    train: Count = 400
    val: Count = 40
    test: Count = 60
    size: Size = (96, 128)  # height, width of the generated images, pixels


class Splits(Section):
    """How a folder without official splits is divided; what is left is `train`."""

    method: Literal["random", "every"] = "random"  # random: seeded shuffle; every: each n-th name in sorted order, n = 1 / fraction
    val: Fraction = 0.15
    test: Fraction = 0.15

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> Splits:
        if self.val + self.test >= 1:
            raise ValueError(f"val + test is {self.val + self.test:g}; it must stay below 1, the rest is for training")
        return self


class Data(Section):
    """What the line is fed with."""

    dataset: Literal["shapes", "folder"] = "shapes"
    root: str = "data/own"  # the folder of the user's images; watched by DVC, never copied
    format: Literal["camvid", "pennfudan", "coco"] = "coco"
    name: str | None = None  # used in the registry; default: `shapes`, or the name of the root folder
    classes: list[str] | None = None  # class names by id, where the format does not know them
    ignore: list[int] | None = None  # label values that are not scored, where the format does not know them
    image_size: Size = (96, 128)  # height, width that the networks see, pixels
    splits: Splits = Splits()
    shapes: Shapes = Shapes()

    @field_validator("name")
    @classmethod
    def _registry_safe(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[a-z0-9][a-z0-9_]*", value):
            raise ValueError(f"'{value}' must be lower-case letters, digits and '_', as it becomes part of the registered model's name")
        return value


class Train(Section):
    """How one model is trained."""

    epochs: Count = 30
    batch_size: Count = 8  # images per step and process
    accumulate: Count = 1  # steps whose gradients are added before the optimiser moves
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Positive = 1e-3  # peak learning rate
    momentum: Fraction = 0.9  # sgd only
    weight_decay: NotNegative = 1e-4
    schedule: Literal["cosine", "poly", "constant"] = "cosine"  # decay after the warm-up, by optimiser step
    warmup: NotNegative = 1.0  # epochs of linear warm-up
    clip: NotNegative | None = None  # largest gradient norm
    early_stopping: Count | None = None  # validations without a better metric before the training stops
    validate_every: Count = 1  # epochs
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None  # decay of an exponential moving average of the weights, per optimiser step
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # auto: bf16 where the hardware has it, else fp32
    channels_last: bool = True
    holdout: Annotated[float, Field(gt=0, lt=0.5)] = 0.1  # share of train that steers the training where `val` is what is scored at the end

    @model_validator(mode="after")
    def _validates_at_least_once(self) -> Train:
        if self.validate_every > self.epochs:
            raise ValueError(f"validate_every is {self.validate_every} and epochs {self.epochs}; at least one epoch must be validated")
        return self


class _Model(Section):
    """What every model has."""

    weights: str = "none"  # imagenet, none, or the path of a state-dict file for the encoder
    augment: list[dict[str, dict[str, Any] | None]] = []  # albumentations transforms in order: [{HorizontalFlip: {p: 0.5}}]
    train: Train = Train()


class SemanticModel(_Model):
    """A network that gives each pixel a class."""

    task: Literal["semantic"]
    arch: Literal["unet"] = "unet"
    encoder: str = "resnet18"  # any encoder of segmentation_models_pytorch, or tu-<name> for one of timm
    loss: dict[Literal["cross_entropy", "dice"], NotNegative] = {"cross_entropy": 1.0}  # weighted sum

    @field_validator("loss")
    @classmethod
    def _some_loss(cls, value: dict[str, float]) -> dict[str, float]:
        if not any(value.values()):
            raise ValueError("at least one loss needs a weight above 0")
        return value


class Anchors(Section):
    """Anchor boxes: one size and the same ratios per pyramid level, finest level first."""

    sizes: list[Count] = [16, 32, 64, 128, 256]  # side of a square anchor, pixels of the network's input
    ratios: list[Positive] = [0.5, 1.0, 2.0]  # height / width


class Proposals(Section):
    """Sizes of the region proposal network and of the box head (torchvision's names in brackets)."""

    train_before_nms: Count = 1000  # per pyramid level [rpn_pre_nms_top_n_train]
    train_after_nms: Count = 200  # per image [rpn_post_nms_top_n_train]
    test_before_nms: Count = 500  # [rpn_pre_nms_top_n_test]
    test_after_nms: Count = 100  # [rpn_post_nms_top_n_test]
    rpn_batch: Count = 128  # anchors sampled per image for the loss [rpn_batch_size_per_image]
    box_batch: Count = 64  # proposals sampled per image for the loss [box_batch_size_per_image]


class InstanceModel(_Model):
    """A network that finds objects and gives each a mask."""

    task: Literal["instance"]
    arch: Literal["maskrcnn"] = "maskrcnn"
    encoder: str = "resnet18"  # resnet18 … resnet152, mobilenet_v3_large, mobilenet_v3_small; with a feature pyramid
    anchors: Anchors = Anchors()
    proposals: Proposals = Proposals()
    score_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.05  # detections below it are dropped
    nms_threshold: Annotated[float, Field(gt=0, le=1)] = 0.5  # box IoU above which the weaker of two detections is dropped
    max_detections: Count = 100  # per image

    @model_validator(mode="after")
    def _five_levels(self) -> InstanceModel:
        if len(self.anchors.sizes) != 5:
            raise ValueError(f"anchors.sizes has {len(self.anchors.sizes)} entries; the feature pyramid has 5 levels")
        return self


Model = Annotated[SemanticModel | InstanceModel, Field(discriminator="task")]


class Evaluate(Section):
    """What is drawn beside the figures."""

    overlays: Annotated[int, Field(ge=0, le=50)] = 4  # best and worst images each


class Export(Section):
    """ONNX."""

    opset: Annotated[int, Field(ge=17, le=22)] = 18
    tolerance: Positive = 0.001  # largest difference between the metric of the ONNX model and that of the trained model
    latency_runs: Count = 20  # images timed for the latency, batch 1


class Gates(Section):
    """What a version must reach to be promoted. Parity is always asked for."""

    metric: str | None = None  # key of metrics.json; default: the task's own (miou, mask_ap)
    at_least: float | None = None
    not_worse_by: NotNegative = 0.0  # how far below the incumbent it may stay, both run on the same data
    latency_ms: Positive | None = None  # median per image, as measured by export


class Runtime(Section):
    """Where a training runs. No result depends on it, so it is no DVC dependency and no part of any key."""

    accelerator: str = "auto"  # auto, cpu, gpu, mps, …: Lightning's names
    devices: int | Literal["auto"] = "auto"
    nodes: Count = 1
    strategy: str = "auto"  # auto, ddp, …: Lightning's names
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"  # loader processes per training process
    tracking_uri: str | None = None  # default: sqlite:///mlflow.db in the main checkout; MLFLOW_TRACKING_URI overrides
    lightning: dict[str, Any] = {}  # further arguments of lightning.Trainer


class Params(Section):
    """The whole file."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: Data = Data()
    models: Annotated[dict[str, Model], Field(min_length=1)]
    evaluate: Evaluate = Evaluate()
    export: Export = Export()
    promote: dict[str, Gates] = {}  # by model
    runtime: Runtime = Runtime()

    def gates(self, model: str) -> Gates:
        """The promotion gates of one model; where params.yaml has none, parity alone is asked for."""
        return self.promote.get(model, Gates())

    def data_name(self) -> str:
        """First half of the registered model's name."""
        if self.data.name is not None:
            return self.data.name
        if self.data.dataset == "shapes":
            return "shapes"
        return re.sub(r"[^a-z0-9]+", "_", Path(self.data.root).resolve().name.lower()).strip("_") or "folder"


def read(path: Path) -> Params:
    """Read and validate a params.yaml.

    Raises ParametersError with one sentence per problem of the file, each naming the key and, for an unknown key, the nearest right one.
    """
    values = _load(path)
    # JSON's strict mode refuses "0.1" for 0.1 and true for 1, yet takes a list for a tuple.
    text = json.dumps(values, default=str)
    try:
        params = Params.model_validate_json(text, strict=True)
    except ValidationError as error:
        problems = [_sentence(detail) for detail in error.errors()]
    else:
        problems = list(_across_sections(params, path.parent))
    names = values.get("models")
    if isinstance(names, dict):
        problems += [
            f"models: '{name}' is no valid model name; use a lower-case letter followed by lower-case letters, digits or '_', at most 63 in all."
            for name in names
            if not (isinstance(name, str) and MODEL_NAME.fullmatch(name))
        ]
    if problems:
        raise ParametersError(*(f"{path.name}: {problem}" for problem in problems))
    return params


def select(params: Params, name: str) -> SemanticModel | InstanceModel:
    """The entry `models.<name>`. Raises ParametersError, naming the models there are."""
    if name not in params.models:
        near = difflib.get_close_matches(name, params.models, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ParametersError(f"params.yaml has no model '{name}'; it has {', '.join(params.models)}.{hint}")
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


def _load(path: Path) -> dict[str, Any]:
    try:
        values = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise ParametersError(f"{path} does not exist; restore it with `git checkout params.yaml`.") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise ParametersError(f"{path.name} is not valid YAML at {where}: {error.problem}. Check the indentation, colons and quotes there.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParametersError(f"{path.name} is not valid YAML: {error}.") from None
    if not isinstance(values, dict):
        raise ParametersError(f"{path.name} holds no sections; it must be a mapping with at least `models:`.")
    return values


def _across_sections(params: Params, folder: Path) -> Iterator[str]:
    if params.data.dataset == "folder":
        root = folder / Path(params.data.root).expanduser()
        if not root.is_dir():
            yield f"data.root: the folder '{params.data.root}' does not exist. Give the path of the folder that holds your images."
        elif not os.access(root, os.R_OK | os.X_OK):
            yield f"data.root: the folder '{params.data.root}' cannot be read. Check its permissions."
    for name in params.promote:
        if name not in params.models:
            yield f"promote.{name}: there is no model '{name}'; the models are {', '.join(params.models)}."


_TASKS: dict[int | str, type[Section]] = {"semantic": SemanticModel, "instance": InstanceModel}


def _sentence(detail: ErrorDetails) -> str:
    # pydantic puts the chosen task between a model's name and its keys, and [key] behind a wrong key of a mapping.
    where = [part for i, part in enumerate(detail["loc"]) if part != "[key]" and not (i == 2 and detail["loc"][0] == "models" and part in _TASKS)]
    key = ".".join(str(part) for part in where)
    given = detail["input"]
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            known = _keys_beside(detail["loc"])
            near = difflib.get_close_matches(str(where[-1]), known, n=1, cutoff=0.5)
            return f"{key} is no known key" + (f"; did you mean '{near[0]}'?" if near else f"; known here are {', '.join(known)}.")
        case "missing":
            return f"{key or 'models'} is missing."
        case "union_tag_not_found":
            return f"{key}.task is missing; it is semantic or instance."
        case "union_tag_invalid":
            return f"{key}.task is '{context.get('tag')}'; it must be semantic or instance."
        case "literal_error":
            choices = str(context.get("expected"))
            near = difflib.get_close_matches(str(given), re.findall(r"'([^']*)'", choices), n=1)
            return f"{key} is {given!r}; it must be {choices}." + (f" Did you mean '{near[0]}'?" if near else "")
        case "too_short" if key == "models":
            return "models is empty; at least one model is needed, for example `unet: {task: semantic}`."
        case "value_error":
            return f"{key}: {context['error']}." if key else f"{context['error']}."
    if given is None:
        hint = "at least one model, for example `unet: {task: semantic}`" if key == "models" else "a value"
        return f"{key} is empty (null); give it {hint}, or remove the line to use the default."
    return f"{key} is {given!r}: {detail['msg'][0].lower()}{detail['msg'][1:]}."


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    """The keys that params.yaml knows in the section of an unknown key."""
    section: type[BaseModel] = Params
    rest = list(location[:-1])
    if rest[:1] == ["models"]:
        section, rest = _TASKS[rest[2]], rest[3:]
    elif rest[:1] == ["promote"]:
        section, rest = Gates, rest[2:]
    for part in rest:
        inner = section.model_fields[str(part)].annotation
        assert isinstance(inner, type) and issubclass(inner, BaseModel)
        section = inner
    return sorted(section.model_fields)
