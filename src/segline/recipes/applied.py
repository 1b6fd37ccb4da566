"""An entry of `models:` with what its recipe adds: the recipe's keys are defaults, and what the entry says itself counts.

Sections are merged key by key, lists are replaced. Two sections are choices as a whole: the losses that an entry names are all of its losses (those that the
recipe has, too, keep their other keys), and who gives an input's size, or tiles, has decided about the recipe's geometry that does not go with them.
A multi-label entry gets the twins of the recipe's losses.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from segline.errors import ParametersError
from segline.recipes import catalog
from segline.recipes.base import ForBatch, OfEpochs, Recipe
from segline.sentences import quoted
from segline.training.settings import Train

_TWINS = {"cross_entropy": "binary_cross_entropy", "focal": "binary_focal"}
"""Of losses that take each pixel for one of a single class: those that do not."""


@dataclass(frozen=True)
class Taken:
    """One key that an entry has from its recipe."""

    key: str  # dotted, within the entry
    value: Any  # plain
    reason: str
    of: OfEpochs | ForBatch | None = None  # what the value was found by, where the number of epochs or images has a part in it


@dataclass(frozen=True)
class Applied:
    """What an entry became."""

    entry: dict[str, Any]  # plain, with all keys
    taken: tuple[Taken, ...]


def applied(entry: Mapping[str, Any]) -> Applied:
    """`entry` as params.yaml has it, with an `arch`. Raises ParametersError, one sentence that begins with `recipe`, where the recipe does not fit it."""
    name = entry.get("recipe")
    if name is None:
        return Applied(dict(entry), ())
    if not isinstance(name, str):
        raise ParametersError(f"recipe is {quoted(name)}; it must be one of {', '.join(catalog.RECIPES)}.")
    try:
        recipe = catalog.get(name)
    except ParametersError as error:
        raise ParametersError(*(f"recipe: {problem}" for problem in error.problems)) from None
    _require_sense(name, recipe, entry)
    merged = copy.deepcopy(dict(entry))
    if isinstance(merged.get("loss"), dict):
        merged["loss"] = {word: {"weight": term} if _is_number(term) else term for word, term in merged["loss"].items()}
    taken = []
    for key, value in _leaves(_yielding(recipe.values, entry)):
        section = merged
        *around, last = key
        for part in around:
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                break
        if not isinstance(section, dict) or last in section:
            continue  # the entry says it, or something else in its place
        one = Taken(".".join(key), copy.deepcopy(value), f"the recipe {name}")
        if isinstance(value, OfEpochs | ForBatch):
            images = _number(entry, "batch_size", Train().batch_size) * _number(entry, "accumulate", Train().accumulate)
            one = again(replace(one, of=value), epochs=_number(entry, "epochs", Train().epochs), images=images)
        section[last] = one.value
        taken.append(one)
    return Applied(merged, tuple(taken))


def again(taken: Taken, *, epochs: int, images: int) -> Taken:
    """The same for a training of so many epochs, with so many images between two moves of the optimiser."""
    if taken.of is None:
        return taken
    recipe = taken.reason.partition(":")[0]
    if isinstance(taken.of, OfEpochs):
        return replace(taken, value=round(taken.of.share * epochs, 3), reason=f"{recipe}: {taken.of.share:g} of {epochs:g} epochs")
    rate = float(f"{taken.of.lr * images / taken.of.images:.4g}")
    return replace(taken, value=rate, reason=f"{recipe}: {taken.of.lr:g} for {taken.of.images} images per step, in proportion for {images:g}")


def _require_sense(name: str, recipe: Recipe, entry: Mapping[str, Any]) -> None:
    arch = entry["arch"]
    if arch not in recipe.architectures:
        others = catalog.of_architecture(str(arch))
        instead = f"; for {arch} there {'are' if len(others) > 1 else 'is'} {', '.join(others)}" if others else f"; {arch} has none"
        raise ParametersError(f"recipe: {name} is for {', '.join(recipe.architectures)}, and arch is {arch}{instead}. Name another, or remove the line.")
    if recipe.pretrained and entry.get("weights", "") == "none":
        raise ParametersError(f"recipe: {name} goes on from pre-trained weights, and weights is none. Set `weights: imagenet` or a file, or another recipe.")


def _yielding(values: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's values that go with the entry's choices."""
    found = dict(values)
    geometry, losses = entry.get("input"), entry.get("loss")
    if isinstance(geometry, Mapping):
        beside = {"fit", "crop"} if geometry.get("size", "auto") != "auto" else {"crop"} if geometry.get("tile") else set()
        found["input"] = {key: value for key, value in found.get("input", {}).items() if key not in beside}
    if entry.get("multilabel") is True and "loss" in found:
        found["loss"] = {_TWINS.get(word, word): term for word, term in found["loss"].items()}
    if isinstance(losses, Mapping):
        found["loss"] = {word: term for word, term in found.get("loss", {}).items() if word in losses}
    return found


def _leaves(values: Mapping[str, Any], around: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*around, key))
        else:
            yield (*around, key), value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(entry: Mapping[str, Any], key: str, default: int) -> int:
    """A whole number of the entry's section `train`; where that has none that can be, its default: the entry's validation says so, or the plan decides."""
    train = entry.get("train")
    given = train.get(key, default) if isinstance(train, Mapping) else default
    return given if isinstance(given, int) and not isinstance(given, bool) and given > 0 else default
