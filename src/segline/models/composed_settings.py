"""What every entry has that is made of other entries: it learns nothing by gradient, and is evaluated, exported and registered like any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from segline.choices import hint
from segline.models.settings import Entry, ModelSettings, Tile
from segline.settings import Positive
from segline_runtime.specification import Geometry


class ComposedSettings(Entry):
    """An entry that names others. They stand above it in params.yaml: in that order the line trains its models."""

    averages: ClassVar[str]
    """What it makes of its members, for a sentence."""
    others: ClassVar[str] = ""
    """What members of another task are for, as a sentence."""
    task_of_members: ClassVar[str] = "semantic"
    """Of which task its members are."""
    one_network: ClassVar[bool] = False
    """Whether what it makes is one network of its members' kind, which predicts as the first of them does."""
    runtime: ClassVar[tuple[str, ...]] = ()
    """Modules of the runtime that predict with it, beyond its task's."""

    def geometry(self, members: Sequence[Geometry]) -> Geometry:
        """How an image comes into what is made of members with these geometries."""
        return members[0]

    def misfits(self, members: Mapping[str, Entry], models: Mapping[str, Entry]) -> Iterator[str]:
        """Why these members cannot be put together: sentences that go behind the key `of`. `models`: every entry that stands above."""
        for name, member in members.items():
            if member.task != self.task_of_members:
                yield f"'{name}' is a model of the task {member.task}; only {self.task_of_members} models can be {self.averages}. {self.others}".rstrip()
        tiles = {name: _tile(member, models) for name, member in members.items() if member.task == self.task_of_members}
        first = next(iter(tiles), None)
        for name, tile in tiles.items():
            if first is not None and _cut(tile) != _cut(tiles[first]):
                yield (
                    f"'{first}' is predicted {_cut(tiles[first])}, and '{name}' {_cut(tile)}; an image is cut for all members alike. "
                    "Give them the same input.tile, or none."
                )


class WeightedSettings(ComposedSettings):
    """What is said of several models that predict side by side in one ONNX file, each of which sees the image as its own specification says."""

    of: Annotated[list[str], Field(min_length=2)]  # names of models that stand above this entry
    weights: list[Positive] | None = None  # how much each member counts, in the order of `of`; default: all the same

    @model_validator(mode="after")
    def _belong_together(self) -> WeightedSettings:
        twice = sorted({name for name in self.of if self.of.count(name) > 1})
        if twice:
            raise ValueError(f"of names {twice[0]} more than once; give it a larger share in `weights`")
        if self.weights is not None and len(self.weights) != len(self.of):
            raise ValueError(f"weights has {len(self.weights)} numbers, and of names {len(self.of)} models; give one for each")
        return self

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self.of)

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each member in the mean; they add up to 1."""
        weights = self.weights or [1.0] * len(self.of)
        return tuple(weight / sum(weights) for weight in weights)

    def geometry(self, members: Sequence[Geometry]) -> Geometry:
        """The graph takes the image, or a tile of it, as it is; within it each member resizes as its own specification says."""
        tiles = [member.tile for member in members if member.tile is not None]
        return Geometry("native", None, max(tiles, key=lambda tile: tile.context, default=None))  # of tiles alike, the context that is enough for all


def check(name: str, entry: Entry, above: Mapping[str, Entry], every: Mapping[str, object]) -> Iterator[str]:
    """What is wrong with the members of the entry `models.<name>`, as sentences without the file's name.

    above: the sound entries above it. every: all entries of the file by name, as they were written.
    """
    known = True
    for member in entry.members:
        if member not in above:
            known = False
            yield from (f"models.{name}.of: {sentence}" for sentence in _unknown(name, member, every))
    if known and isinstance(entry, ComposedSettings):
        members = {member: above[member] for member in entry.members}
        yield from (f"models.{name}.of: {sentence}" for sentence in entry.misfits(members, above))


def _unknown(name: str, member: str, every: Mapping[str, object]) -> Iterator[str]:
    """Why a member is none of the sound entries above; nothing where it stands there and has sentences of its own."""
    circle = _circle(name, member, every)
    places = list(every)
    if member == name:
        yield f"'{name}' cannot be made of itself. Name the models that it is to be made of."
    elif member not in every:
        yield f"there is no model '{member[:80]}'. {hint(member, [other for other in every if other != name])}"
    elif circle:
        yield f"'{name}' is made of {', which is made of '.join(repr(other) for other in circle)}. One of them must do without the next."
    elif places.index(member) > places.index(name):
        yield f"'{member}' stands below '{name}', and models are trained in the order of params.yaml. Move '{member}' above '{name}'."


def _circle(name: str, member: str, every: Mapping[str, object]) -> list[str]:
    """The entries by which `member` is made of `name`, both ends among them; none where it is not."""
    ways = [[member]]
    seen = {member}
    for way in ways:
        for inner in _of(every.get(way[-1])):
            if inner == name:
                return [*way, name]
            if inner not in seen:
                seen.add(inner)
                ways.append([*way, inner])
    return []


def _of(entry: object) -> list[str]:
    """What an entry, as it was written, names as its members."""
    of = entry.get("of") if isinstance(entry, dict) else None
    return [str(name) for name in of] if isinstance(of, list) else [of] if isinstance(of, str) else []


def _tile(entry: Entry, models: Mapping[str, Entry]) -> Tile | None:
    """By which windows an entry is predicted; of a composed one, its first member's."""
    if isinstance(entry, ModelSettings):
        return entry.input.tile
    return _tile(models[entry.members[0]], models)


def _cut(tile: Tile | None) -> str:
    if tile is None:
        return "whole"
    share = "what an exact overlap takes" if tile.overlap == "exact" else f"{tile.overlap} pixels"
    return f"by tiles of {tile.size[0]}×{tile.size[1]} that share {share}"
