"""The keys of `arch: soup`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from segline.models.composed_settings import ComposedSettings
from segline.models.settings import Entry, ModelSettings


class Settings(ComposedSettings):
    """A model soup (Wortsman 2022): one network with the mean of the weights of several, which began with the same weights and were trained differently."""

    task_of_arch: ClassVar[str] = "semantic"
    averages: ClassVar[str] = "averaged"
    one_network: ClassVar[bool] = True

    arch: Literal["soup"] = "soup"
    of: Annotated[list[str], Field(min_length=2)]  # names of models of one architecture that stand above this entry
    # true: the members in the order of their validation metric, each only where the soup's metric does not fall by it; false: the plain mean of all
    greedy: bool = False

    @model_validator(mode="after")
    def _each_once(self) -> Settings:
        twice = sorted({name for name in self.of if self.of.count(name) > 1})
        if twice:
            raise ValueError(f"of names {twice[0]} more than once")
        return self

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self.of)

    def network(self, models: Mapping[str, Entry]) -> Entry:
        return models[self.of[0]].network(models)

    def misfits(self, members: Mapping[str, Entry], models: Mapping[str, Entry]) -> Iterator[str]:
        networks = {name: member.network(models) for name, member in members.items()}
        for name, network in networks.items():
            if not isinstance(network, ModelSettings):
                yield f"'{name}' is no single network, so its weights cannot be averaged. Name models that are trained, or write `arch: ensemble`."
            elif network.task != self.task:
                yield f"'{name}' is a model of the task {network.task}; only semantic models can be averaged."
        [(first, leading), *others] = networks.items()
        for name, network in others:
            if isinstance(leading, ModelSettings) and isinstance(network, ModelSettings) and leading.task == network.task == self.task:
                yield from _differences(first, leading, name, network, steering=self.greedy)


def _differences(first: str, one: ModelSettings, second: str, other: ModelSettings, *, steering: bool) -> Iterator[str]:
    """The first key in which two networks differ. How they are trained, and in which crops, may differ: that is what soups are made of."""
    before, after = _decisive(one, steering=steering), _decisive(other, steering=steering)
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            yield (
                f"'{first}' and '{second}' differ in {key} ({_said(before, key)} and {_said(after, key)}); only weights of the same network, "
                "which sees its images alike, can be averaged."
            )
            return


def _decisive(settings: ModelSettings, *, steering: bool) -> dict[str, Any]:
    """What of an entry makes the network, and what it sees; with `steering`, also which images were held out to choose by."""
    values = settings.model_dump(mode="json", exclude={"augment", "loss", "predict", "train"})
    seen = values.pop("input")
    values |= {f"input.{key}": value for key, value in seen.items() if key != "crop"}
    if steering:
        values["train.holdout"] = settings.train.holdout
    return values


def _said(values: Mapping[str, Any], key: str) -> str:
    return str(values[key]) if key in values else "not there"
