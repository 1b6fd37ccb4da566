"""All trained models of a workspace in order: those that were scored by the same figure on the same images stand in one table, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from segline.choices import hint
from segline.comparison import verdict
from segline.comparison.common import common
from segline.comparison.compare import metric_of
from segline.comparison.scored import Scored, of_folder
from segline.errors import DataError, ModelError
from segline.layout import ModelFolder
from segline.leaderboard.standing import Standing, standing
from segline.metrics import catalog
from segline.metrics.intervals import Resampling
from segline.metrics.paired import Comparison, paired
from segline.tracking.contents import mapping

VERSION = 1
"""Of what `to_json` gives."""


@dataclass(frozen=True)
class Place:
    """A model in its table."""

    standing: Standing
    behind: Comparison | None  # the first of the table minus this one, on the same images; None for the first, and where it cannot be told

    @property
    def shown(self) -> bool:
        """Whether the images show that it is not as good as the first."""
        return verdict.shown(self.behind) != 0


@dataclass(frozen=True)
class Group:
    """Models that can be put in an order; last those without a figure."""

    metric: str
    split: str | None
    images: int | None
    places: tuple[Place, ...]

    @property
    def title(self) -> str:
        if self.split is None:
            return f"{self.metric}: not scored yet"
        return f"{self.metric} on {self.images:,} images of {self.split}" if self.images is not None else f"{self.metric} on {self.split}"


@dataclass(frozen=True)
class Board:
    """All tables, the largest first, and sentences on what is missing or does not go together."""

    groups: tuple[Group, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]  # of folders that cannot be read

    def to_json(self) -> dict[str, Any]:
        """For programs. `behind`: what the first of the table is ahead by, with its 95 % interval."""
        groups = [
            {"metric": group.metric, "split": group.split, "images": group.images, "models": [_to_json(place) for place in group.places]}
            for group in self.groups
        ]
        return {"version": VERSION, "groups": groups, "notes": list(self.notes), "problems": list(self.problems)}


def board(folders: Sequence[ModelFolder], *, metric: str | None = None, resampling: Resampling) -> Board:
    """The leaderboard of model folders; metric: the key that counts, default each task's own. Raises ModelError for a key that no model has."""
    standings: list[Standing] = []
    by_name = {}
    problems: list[str] = []
    for folder in folders:
        try:
            standings.append(standing(folder, metric))
            by_name[folder.name] = folder
        except ModelError as error:
            problems += error.problems
    if metric is not None and standings and all(one.value is None for one in standings):
        there = {key for folder in by_name.values() for key, value in mapping(folder.metrics, "evaluate").items() if isinstance(value, float)}
        raise ModelError(f"No model here has a figure '{metric[:80]}'. {hint(metric, there)}" if there else "No model here was evaluated; run `dvc repro`.")
    without = [one.model for one in standings if metric is not None and one.value is None and "evaluate" not in one.lacking]
    standings = [one for one in standings if one.model not in without]
    together: dict[tuple[str, str | None, str | None], list[Standing]] = {}
    for one in standings:
        together.setdefault((one.metric, one.split, one.split_hash), []).append(one)
    groups = [_group(members, by_name, resampling) for members in together.values()]
    groups.sort(key=lambda group: -len(group.places))
    left_out = [f"Left out, as there is no {metric} of {'it' if len(without) == 1 else 'them'}: {_listed(without)}."] if without else []
    return Board(tuple(groups), (*left_out, *_notes(standings, groups)), tuple(problems))


def _group(members: list[Standing], folders: dict[str, ModelFolder], resampling: Resampling) -> Group:
    better = 1.0 if members[0].metric in catalog.LESS_IS_BETTER else -1.0
    ordered = sorted(members, key=lambda one: (one.value is None, better * (one.value or 0.0), one.model))
    first = ordered[0]
    leader = _scored(folders[first.model]) if first.value is not None and len(ordered) > 1 else None
    places = [Place(first, None)]
    for one in ordered[1:]:
        other = None if leader is None or one.value is None else _scored(folders[one.model])
        places.append(Place(one, None if leader is None or other is None else _behind(leader, other, first.metric, resampling)))
    return Group(first.metric, first.split, first.images, tuple(places))


def _scored(folder: ModelFolder) -> Scored | None:
    try:
        return of_folder(folder)
    except ModelError:
        return None  # metrics.json tells its figure; the counts are gone


def _behind(first: Scored, other: Scored, key: str, resampling: Resampling) -> Comparison | None:
    """None for counts that do not belong together, such as those of another evaluation than metrics.json, and for a figure that no counts give."""
    try:
        both = common(first, other, some=True)
        metric = metric_of(key, both.first, first.classes)
    except DataError:
        return None
    return paired(both.first, both.second, metric, resampling, key=key, classes=first.classes)


def _notes(standings: Sequence[Standing], groups: Sequence[Group]) -> list[str]:
    notes = []
    for stage in ("evaluate", "export"):
        names = [one.model for one in standings if stage in one.lacking]
        if names:
            what = "has no figures" if stage == "evaluate" else "lacks costs or licences"
            commands = " ".join(f"{stage}@{name}" for name in names)
            notes.append(f"{_listed(names)} {what if len(names) == 1 else what.replace('has', 'have').replace('lacks', 'lack')}: run `dvc repro {commands}`.")
    if len({(group.metric, group.split) for group in groups}) < len(groups):
        notes.append("Models that were scored on different images stand in different tables; `dvc repro` scores all on the data of today.")
    for group in groups:
        timed = [place.standing for place in group.places if place.standing.onnx_ms is not None]
        if len({(one.image_size, one.threads) for one in timed}) > 1:
            names = [one.model for one in timed]
            again = " ".join(f"export@{name}" for name in names)
            notes.append(f"Times of {_listed(names)} were taken with different numbers of threads or image sizes; `dvc repro -f -s {again}` takes them alike.")
    return notes


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _to_json(place: Place) -> dict[str, Any]:
    found = place.behind
    behind = None if found is None else {"value": found.difference, "low": found.low, "high": found.high, "shown": place.shown}
    return {name: value for name, value in asdict(place.standing).items() if name not in ("metric", "split", "images")} | {"behind": behind}
