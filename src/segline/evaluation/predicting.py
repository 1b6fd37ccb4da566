"""What a model predicts with: one network, or the networks of the models that it is made of, each with its settings and its specification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from segline import card as cards
from segline.card import ModelCard
from segline.errors import ModelError
from segline.models import catalog as architectures
from segline.models.composed_settings import ComposedSettings
from segline.models.settings import Entry, ModelSettings
from segline.plan.plans import InferencePlan, settings_from
from segline.plan.plans import Member as PlannedMember
from segline.tasks import catalog as tasks
from segline.tasks.graph import EvalGraph
from segline_runtime.specification import Specification

State = dict[str, Tensor]
"""Weights by name. Those of what is made of others stand below the members' names: `<member>.<name>`."""


@dataclass(frozen=True)
class Predicting:
    """A model without its weights."""

    name: str
    settings: Entry
    specification: Specification
    members: tuple[Predicting, ...] = ()


def as_planned(plan: InferencePlan, card: ModelCard) -> Predicting:
    """How a trained model predicts by a plan. Raises ModelError where it was made of others than the plan says."""
    return _planned(plan.model, plan, card.specification, card.members)


def as_trained(card: ModelCard) -> Predicting:
    """How a model predicted when it was validated."""
    settings = settings_from(card.plan["settings"])
    if isinstance(settings, ComposedSettings) and settings.one_network:
        first = _as_made_of(card.members[0])
        return replace(first, name=card.model, specification=card.specification)
    return Predicting(card.model, settings, card.specification, tuple(_as_made_of(member) for member in card.members))


def put_together(name: str, settings: ComposedSettings, members: Sequence[Predicting]) -> Predicting:
    """What is made of these members."""
    specified = [member.specification for member in members]
    specification: Specification = architectures.making(settings.arch).specification(settings, name, specified)
    if settings.one_network:
        return replace(members[0], name=name, specification=specification)
    return Predicting(name, settings, specification, tuple(members))


def graph(predicting: Predicting, state: State) -> EvalGraph:
    """The graph with its weights, in eval mode. Raises ModelError for settings that no network can be built of, and ValueError for weights that do not fit."""
    settings, specification = predicting.settings, predicting.specification
    if isinstance(settings, ModelSettings):
        # The given weights replace whatever the training started from, so nothing is fetched.
        plain = settings.model_copy(update={"weights": "none"}) if settings.pretrained else settings
        network = architectures.build(plain, channels=specification.image.channels, classes=len(specification.classes))
        fit = network.load_state_dict(state, strict=False)
        # Frozen batch norm counts no batches; in eval mode it is batch norm.
        missing = [name for name in fit.missing_keys if not name.endswith("num_batches_tracked")]
        if missing or fit.unexpected_keys:
            raise ValueError(f"{len(missing)} weights missing, {len(fit.unexpected_keys)} unknown")
        network.eval()
        return tasks.with_views(settings.task, tasks.learning(settings.task).graph(network, specification), settings.predict.views)
    members = [graph(member, _below(state, member.name)) for member in predicting.members]
    found: EvalGraph = architectures.making(settings.arch).graph(settings, members, specification)
    return found


def gathered(states: Sequence[tuple[str, State]]) -> State:
    """The weights of members, by name, as one."""
    return {f"{name}.{weight}": value for name, state in states for weight, value in state.items()}


def _below(state: State, name: str) -> State:
    """A member's own weights."""
    return {weight.removeprefix(f"{name}."): value for weight, value in state.items() if weight.startswith(f"{name}.")}


def _planned(model: str, plan: InferencePlan | PlannedMember, specification: Specification, made_of: Sequence[cards.Member]) -> Predicting:
    if isinstance(plan.settings, ModelSettings):
        # How it predicts is the plan's; what it was trained with stays the card's.
        return Predicting(model, plan.settings, replace(specification, geometry=plan.geometry, crf=plan.settings.predict.refinement))
    assert isinstance(plan.settings, ComposedSettings)
    wanted, there = [member.name for member in plan.members], [member.name for member in made_of]
    if wanted != there:
        raise ModelError(f"'{model}' was made of {', '.join(there) or 'nothing'}, and the plan says {', '.join(wanted)}. Run `dvc repro train@{model}`.")
    members = [_planned(one.name, one, other.specification, other.members) for one, other in zip(plan.members, made_of, strict=True)]
    return put_together(model, plan.settings, members)


def _as_made_of(member: cards.Member) -> Predicting:
    return Predicting(member.name, settings_from(member.settings), member.specification, tuple(_as_made_of(inner) for inner in member.members))
