"""From params.yaml and what `prepare` found to the plans of one model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from segline.data.extents import Extents
from segline.data.store import DatasetInfo
from segline.errors import ParametersError
from segline.layout import expanded
from segline.losses.class_weights import class_weights
from segline.losses.settings import LossSum
from segline.losses.truth_maps import Closeness
from segline.metrics import catalog as metrics_catalog
from segline.metrics.details import Particular
from segline.models.catalog import ARCHITECTURES, COMPOSITIONS
from segline.models.composed_settings import ComposedSettings
from segline.models.semantic_settings import SemanticSettings
from segline.models.settings import Entry, ModelSettings
from segline.params import Params
from segline.plan.again import Note
from segline.plan.code import Code
from segline.plan.decisions.decide import decide, metrics
from segline.plan.decisions.decision import Decision
from segline.plan.plans import ComposePlan, EvaluatePlan, ExportPlan, Ingredient, Member, Part, RegisterPlan, TrainPlan, training_settings
from segline.provenance import file_digest
from segline.sentences import no_weights
from segline.tasks import catalog as tasks
from segline.tasks.base import Task
from segline.training.settings import COPY_PASTE
from segline_runtime.specification import Geometry

_ONLY_SEEN = ("segline.drawing*", "segline.tasks.*.drawing", "segline.tasks.*.results", "segline.tasks.*.task")
"""What a training never shows, and its result does not depend on."""

_SCORING = ("segline.metrics*", "segline.evaluation*", "segline.tasks.*.disagreement", "segline.tasks.*.task")
"""Training picks its best epoch by a metric whose definition is settled; mending how figures are made must not train everything again."""

_REFINING = ("segline_runtime.crf", "segline_runtime.permutohedral")
"""What no training does, and of trained models those alone whose settings ask for it."""

_LEARNING_ALONE = ("segline.training*", "segline.losses*")


@dataclass(frozen=True)
class ModelPlans:
    """All plans of one model."""

    train: TrainPlan | ComposePlan
    evaluate: EvaluatePlan
    export: ExportPlan
    register: RegisterPlan
    decisions: tuple[Decision, ...]


def resolve(
    name: str,
    settings: Entry,
    *,
    params: Params,
    info: DatasetInfo,
    code: Code,
    roots: tuple[Path, ...],
    extents: Extents | None = None,
    above: Mapping[str, ModelPlans] | None = None,
    again: Mapping[str, Note] | None = None,
) -> ModelPlans:
    """The plans of the model `name`.

    code: the source that the stages will run. roots: of the checkouts from which a relative weight file counts. extents: of the training images; None where
    the data was prepared before they were counted. above: the plans of the models that stand above it in params.yaml, its members among them; again: see
    `segline.plan.again`.
    Raises ParametersError for values that do not fit the data.
    """
    if isinstance(settings, ComposedSettings):
        return _composed(name, settings, above or {}, again or {}, params=params, info=info, code=code)
    assert isinstance(settings, ModelSettings)
    task = tasks.get(settings.task)
    training, steering = _parts(info, settings.train.holdout)
    decided = decide(name, settings, info, extents, held=training.holdout or 0.0, by_recipe=params.taken.get(name, ()))
    settings, size, statistics = decided.settings, decided.size, decided.statistics
    words, scored_by = metrics(params.evaluate.metrics, task)
    _require_scorable(words, info)
    if statistics is not None and len(statistics.mean) != info.image.channels:
        raise ParametersError(f"models.{name}.input.mean has {len(statistics.mean)} values, and the images have {info.image.channels} channels.")
    _require_truths(name, settings, info)
    _goes_together(name, settings, info)
    modules = _Modules(settings, task, _of_task(words, task))
    resolved = type(settings).model_validate(training_settings(settings))
    train = TrainPlan(
        model=name,
        task=task.name,
        dataset=info.name,
        seed=params.seed,
        settings=resolved,
        geometry=resolved.geometry(size),
        image=info.image,
        classes=info.classes,
        mean=None if statistics is None else statistics.mean,
        std=None if statistics is None else statistics.std,
        class_weights=_class_weights(name, settings, info),
        weights_digest=_weights_digest(name, settings, roots),
        training=training,
        steering=steering,
        metric=task.metric,
        code=code.digest(modules.train, without=(*_ONLY_SEEN, *_SCORING, *_REFINING)),
    )
    taken = (*decided.decisions, scored_by)
    return _with_inference(train, settings, settings.geometry(size), (), modules, params=params, info=info, code=code, taken=taken)


def _composed(
    name: str,
    settings: ComposedSettings,
    above: Mapping[str, ModelPlans],
    again: Mapping[str, Note],
    *,
    params: Params,
    info: DatasetInfo,
    code: Code,
) -> ModelPlans:
    """The plans of what is made of other models. Its members hold the keys of their trainings, so it is made anew when one of them is trained anew."""
    task = tasks.get(settings.task)
    words, scored_by = metrics(params.evaluate.metrics, task)
    members = tuple(_member(member, above[member].evaluate) for member in settings.members)
    first = above[settings.members[0]]
    if settings.one_network:
        entry, geometry, inside = first.evaluate.settings, first.evaluate.geometry, first.evaluate.members
    else:
        entry, geometry, inside = settings, settings.geometry([member.geometry for member in members]), members
    modules = _Modules(entry, task, _of_task(words, task), inside)
    making = ["segline.composition.compose", f"{COMPOSITIONS[settings.arch]}.making", *modules.networks(members)]
    train = ComposePlan(
        model=name,
        task=task.name,
        dataset=info.name,
        seed=params.seed,
        settings=type(settings).model_validate(training_settings(settings)),
        image=info.image,
        classes=info.classes,
        members=tuple(_ingredient(member, above[member].train.key, again) for member in settings.members),
        training=first.train.training,
        steering=first.train.steering,
        metric=task.metric,
        code=code.digest(making, without=(*_ONLY_SEEN, *_SCORING)),
    )
    return _with_inference(train, entry, geometry, inside, modules, params=params, info=info, code=code, taken=(scored_by,))


def _member(name: str, plan: EvaluatePlan) -> Member:
    return Member(name, plan.settings, plan.geometry, plan.members)


def _ingredient(name: str, key: str, again: Mapping[str, Note]) -> Ingredient:
    note = again.get(name)
    return Ingredient(name, key, note.weights if note is not None and note.key == key else None)


def _with_inference(
    train: TrainPlan | ComposePlan,
    settings: Entry,
    geometry: Geometry,
    members: tuple[Member, ...],
    modules: _Modules,
    *,
    params: Params,
    info: DatasetInfo,
    code: Code,
    taken: tuple[Decision | None, ...],
) -> ModelPlans:
    """The plans of training, evaluation, export and registration. settings: of what predicts."""
    scored = Part(info.scored, info.split_hashes[info.scored])
    refining = () if _refines(settings, members) else _REFINING
    evaluate = EvaluatePlan(
        model=train.model,
        task=train.task,
        settings=settings,
        geometry=geometry,
        members=members,
        classes=info.classes,
        scored=scored,
        metrics=modules.metrics,
        resamples=params.evaluate.resamples,
        overlays=params.evaluate.overlays,
        code=code.digest(modules.evaluate, without=(*_LEARNING_ALONE, *refining)),
    )
    export = ExportPlan(
        model=train.model,
        task=train.task,
        settings=settings,
        geometry=geometry,
        members=members,
        classes=info.classes,
        scored=scored,
        opset=params.export.opset,
        tolerance=params.export.tolerance,
        latency_runs=params.export.latency_runs,
        code=code.digest(modules.export, without=(*_LEARNING_ALONE, *_ONLY_SEEN[:3], *refining)),
    )
    register = RegisterPlan(model=train.model, code=code.digest(modules.register))
    return ModelPlans(train, evaluate, export, register, tuple(decision for decision in taken if decision is not None))


class _Modules:
    """The modules that the stages of one model begin with."""

    def __init__(self, settings: Entry, task: Task, metrics: tuple[str, ...], members: tuple[Member, ...] = ()) -> None:
        """settings, members: of what predicts."""
        self.metrics = metrics
        learning = f"{tasks.TASKS[task.name]}.learning"
        scoring = f"{tasks.TASKS[task.name]}.task"
        figures = [metrics_catalog.METRICS[word] for word in metrics]
        compared = [metrics_catalog.METRICS[word] for word in task.metrics]
        runtime = [f"segline_runtime.{task.name}"]
        predicting = [learning, *_graphs(settings, members)]
        if isinstance(settings, ComposedSettings):
            runtime += settings.runtime
        views = _views(settings, members)
        self.train = ["segline.training.train", *predicting, *runtime, *_losses(settings)]
        self.evaluate = ["segline.evaluation.stage", *predicting, *views, scoring, *runtime, *figures]
        self.export = ["segline.export.stage", *predicting, *views, scoring, *runtime, *compared]
        self.register = ["segline_runtime.pyfunc", *runtime]

    @staticmethod
    def networks(members: tuple[Member, ...]) -> list[str]:
        """What members are built and predict with."""
        return list(dict.fromkeys(module for member in members for module in _graphs(member.settings, member.members)))


def _graphs(settings: Entry, members: tuple[Member, ...]) -> Iterator[str]:
    """The modules that build what predicts: its network, or how it is made of its members, and theirs."""
    if isinstance(settings, ModelSettings):
        yield f"{ARCHITECTURES[settings.arch]}.network"
        return
    yield f"{COMPOSITIONS[settings.arch]}.making"
    for member in members:
        yield f"{tasks.TASKS[member.settings.task]}.learning"
        yield f"segline_runtime.{member.settings.task}"
        yield from _graphs(member.settings, member.members)


def _views(settings: Entry, members: tuple[Member, ...]) -> list[str]:
    """What shows a network an image in several views, where one of the graph's networks wants that."""
    if isinstance(settings, ModelSettings):
        return [f"{tasks.TASKS[settings.task]}.views"] if settings.predict.views else []
    return list(dict.fromkeys(module for member in members for module in _views(member.settings, member.members)))


def _refines(settings: Entry, members: tuple[Member, ...]) -> bool:
    """Whether predictions are refined by the image."""
    if isinstance(settings, ModelSettings):
        return settings.predict.refinement is not None
    return any(_refines(member.settings, member.members) for member in members)


def _losses(settings: Entry) -> list[str]:
    return list(settings.loss_modules) if isinstance(settings, SemanticSettings) else []


def _of_task(words: tuple[str, ...], task: Task) -> tuple[str, ...]:
    """Those of the chosen metrics that score the task, which always is scored by its own."""
    chosen = [word for word in words if metrics_catalog.get(word).counts == task.counts]
    return tuple(dict.fromkeys([*chosen, task.metrics[0]]))


def _require_scorable(words: tuple[str, ...], info: DatasetInfo) -> None:
    """Raises ParametersError for metrics that have no figures of these classes."""
    problems = []
    for word in words:
        metric = metrics_catalog.get(word)
        why = metric.misfit(info.classes) if isinstance(metric, Particular) else None
        if why is not None:
            problems.append(f"evaluate.metrics: {word} {why}. Remove it.")
    if problems:
        raise ParametersError(*problems)


def _parts(info: DatasetInfo, holdout: float) -> tuple[Part, Part]:
    """What is trained on, and what steers the training: never the images that are scored at the end."""
    train = Part("train", info.split_hashes["train"])
    if info.scored != "val" and info.counts.get("val"):
        return train, Part("val", info.split_hashes["val"])
    held = Part("train", info.split_hashes["train"], holdout)
    return held, held


def _require_truths(name: str, settings: ModelSettings, info: DatasetInfo) -> None:
    """Raises ParametersError where a loss asks for truth that the data lacks."""
    loss = getattr(settings, "loss", None)
    for word, term in loss.terms().items() if isinstance(loss, LossSum) else ():
        if term.weight and isinstance(term.wanted_map, Closeness) and not info.has(term.wanted_map.truth):
            raise ParametersError(
                f"models.{name}.loss.{word}.border.of is instances, and the data set '{info.name}' has no object masks; set it to components, "
                "which takes connected pixels of one class for an object."
            )


def _goes_together(name: str, settings: ModelSettings, info: DatasetInfo) -> None:
    """Raises ParametersError where the data cannot be augmented as it should be, or a loss could not follow it."""
    pasted = any(transform.name == COPY_PASTE for transform in settings.augment)
    problems = []
    if pasted and not info.has("instances"):
        problems.append(f"models.{name}.augment: {COPY_PASTE} pastes objects by their masks, and the data set '{info.name}' has none. Remove it.")
    if pasted and any(isinstance(one, Closeness) for one in settings.wanted_maps):
        problems.append(f"models.{name}.augment: {COPY_PASTE} puts objects where the map of `border` knows of none. Remove one of the two.")
    if settings.train.augment_on == "device" and settings.wanted_maps:
        problems.append(
            f"models.{name}.train.augment_on is device, and its loss reads maps that are made in the loader, of pictures as the network sees them. "
            "Set it to loader, or to auto."
        )
    if problems:
        raise ParametersError(*problems)


def _class_weights(name: str, settings: ModelSettings, info: DatasetInfo) -> dict[str, tuple[float, ...]]:
    loss = getattr(settings, "loss", None)
    found: dict[str, tuple[float, ...]] = {}
    for word, term in loss.terms().items() if isinstance(loss, LossSum) else ():
        wanted = term.wanted_class_weights
        if isinstance(wanted, str) and wanted != "none" and not info.has("index"):
            raise ParametersError(
                f"models.{name}.loss.{word}.class_weights is {wanted}, which counts the pixels of class masks, and the data set '{info.name}' has none. "
                "Give one number per class, or remove it."
            )
        try:
            weights = class_weights(wanted, info.class_pixels, info.class_image_pixels)
        except ParametersError as error:
            raise ParametersError(*(f"models.{name}.loss.{word}: {problem}" for problem in error.problems)) from None
        if weights is not None:
            found[word] = weights
    return found


def _weights_digest(name: str, settings: ModelSettings, roots: tuple[Path, ...]) -> str | None:
    if settings.weights_file is None:
        return None
    file = weights_path(settings.weights_file, *roots)
    if not file.is_file():
        raise ParametersError(f"models.{name}.weights: {no_weights(settings.weights_file)}")
    return file_digest(file)


def weights_path(given: str, *roots: Path) -> Path:
    """The weight file that params.yaml names: absolute, with ~, or relative to the checkout; of several checkouts, the first that has it."""
    path = expanded(given)
    places = [path] if path.is_absolute() else [root / path for root in roots]
    return next((place for place in places if place.is_file()), places[0])
