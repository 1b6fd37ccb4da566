"""All that an entry of `models:` leaves to the data, decided in the order in which one decision needs another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from segline import machine
from segline.data.extents import Extents
from segline.data.store import DatasetInfo
from segline.errors import ParametersError
from segline.losses.settings import LossSum
from segline.models.maskrcnn.settings import Anchors
from segline.models.settings import ModelSettings, Tile
from segline.plan.decisions import geometry
from segline.plan.decisions.anchors import anchors
from segline.plan.decisions.batch_size import batch_size, kept_bytes_per_pixel
from segline.plan.decisions.class_weights import class_weights
from segline.plan.decisions.decision import Decision
from segline.plan.decisions.epochs import epochs
from segline.plan.decisions.normalisation import unlike_photographs
from segline.recipes.applied import Taken, again
from segline.settings import AUTO, Undecided
from segline.tasks.base import Task


class Statistics(NamedTuple):
    """Per channel, of values scaled to 0…1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Decided:
    """An entry with nothing left to decide."""

    settings: ModelSettings
    size: tuple[int, int] | None  # height and width that the network sees; None with `fit: native`
    statistics: Statistics | None  # None where the pre-trained weights' own are to be used, which their library knows
    decisions: tuple[Decision, ...]


def decide(name: str, settings: ModelSettings, info: DatasetInfo, extents: Extents | None, *, held: float, by_recipe: Iterable[Taken] = ()) -> Decided:
    """The model `name`. held: share of the training images that is not trained on; by_recipe: the keys that the entry has from its recipe.

    Raises ParametersError where the prepared data is too old to say what a decision needs.
    """
    deciding = _Deciding(name, settings, info, extents, held)
    size = deciding.geometry()
    deciding.crop(size)
    statistics = deciding.normalisation()
    deciding.class_weights()
    deciding.anchors(size)
    deciding.batch_size(size)
    deciding.epochs()
    taken = deciding.recipe(by_recipe)
    return Decided(deciding.settings, size, statistics, (*taken, *deciding.taken))


def metrics(chosen: str | list[str], task: Task) -> tuple[tuple[str, ...], Decision | None]:
    """Words of the metrics' catalogue that a model of `task` is scored by."""
    if isinstance(chosen, list):
        return tuple(chosen), None
    return task.metrics, Decision("evaluate.metrics", list(task.metrics), f"those of the task {task.name}")


class _Deciding:
    """The settings as they become, and the decisions so far."""

    def __init__(self, name: str, settings: ModelSettings, info: DatasetInfo, extents: Extents | None, held: float) -> None:
        self.settings = settings
        self.taken: list[Decision] = []
        self._name, self._info, self._extents = name, info, extents
        self._trained = 1 - held
        self._names = [one.name for one in info.classes]
        self._undecided = {key: isinstance(getattr(settings.train, key), Undecided) for key in ("epochs", "batch_size")}

    def geometry(self) -> tuple[int, int] | None:
        given, stride = self.settings.input, self.settings.stride
        asked = None if given.size == AUTO else given.size
        if given.fit != AUTO:
            if given.fit == "native" or asked is not None:
                return None if given.fit == "native" else asked
            size, reason = geometry.median_size(self._median(), stride)
            self._set("input", {"size": size})
            self._tell("input.size", list(size), reason)
            return size
        counted = self._counted("input.fit")
        fits = self.settings.fits_for_auto
        seen = geometry.decided(counted, self._median(), self._names, fits=fits, stride=stride, size=asked, tiled=given.tile is not None)
        self._tell("input.fit", seen.fit, seen.fit_reason)
        changes: dict[str, Any] = {"fit": seen.fit}
        if seen.tile is not None:
            changes["tile"] = _tile(self.settings, *seen.tile)
            self._tell("input.tile", {"size": list(seen.tile[0]), "overlap": seen.tile[1]}, "in place of shrinking")
        elif seen.size is not None and asked is None:
            changes["size"] = seen.size
            self._tell("input.size", list(seen.size), seen.size_reason)
        self._set("input", changes)
        return seen.size

    def crop(self, size: tuple[int, int] | None) -> None:
        if self.settings.input.crop == AUTO:
            chosen, reason = geometry.crop(size, self._median(), self.settings.stride)
            self._set("input", {"crop": chosen})
            self._tell("input.crop", list(chosen), reason)

    def normalisation(self) -> Statistics | None:
        key, given, info = "input.mean, input.std", self.settings.input, self._info
        if isinstance(given.mean, list) and isinstance(given.std, list):
            return Statistics(tuple(given.mean), tuple(given.std))
        own = Statistics(info.mean, info.std)
        if self.settings.pretrained and info.image.channels == 3:
            unlike = unlike_photographs(*own) if given.mean == AUTO else None
            if unlike is None:
                self._unset_statistics()
                self._tell(key, "of the pre-trained weights", "weights expect the statistics that they were trained with")
                return None
            reason = f"the training images' own: {unlike}"
        else:
            reason = "the training images' own, as nothing is pre-trained for them"
        self._unset_statistics()
        self._tell(key, [list(own.mean), list(own.std)], reason)
        return own

    def class_weights(self) -> None:
        loss = getattr(self.settings, "loss", None)
        terms = loss.terms() if isinstance(loss, LossSum) else {}
        asked = [word for word, term in terms.items() if term.wanted_class_weights == AUTO]
        if not asked:
            return
        chosen, reason = class_weights(self._info.class_pixels, self._names)
        changed = {word: terms[word].model_copy(update={"class_weights": chosen}) for word in asked}
        self._set("loss", changed)
        for word in asked:
            self._tell(f"loss.{word}.class_weights", chosen, reason)

    def anchors(self, size: tuple[int, int] | None) -> None:
        given = getattr(self.settings, "anchors", None)
        if not (isinstance(given, Anchors) and isinstance(given, Undecided)):
            return
        fit = self.settings.input.fit
        assert fit != AUTO, "it is decided before"
        found = anchors(self._counted("anchors"), self._median(), fit=fit, size=size, levels=len(given.sizes))
        if found is None:
            chosen, reason = Anchors(), "the defaults, as the training images show no object"
        else:
            sizes, ratios, reason = found
            chosen = Anchors(sizes=sizes, ratios=ratios)
        self.settings = self.settings.model_copy(update={"anchors": chosen})
        self._tell("anchors", chosen.model_dump(mode="json"), reason)

    def batch_size(self, size: tuple[int, int] | None) -> None:
        if not self._undecided["batch_size"]:
            return
        train = self.settings.train
        height, width = self.settings.input.training_crop or size or self._median()
        memory = machine.memory_gb() if train.memory_gb == AUTO else train.memory_gb
        images, most, kept = self._images(), self.settings.largest_batch, kept_bytes_per_pixel(self.settings)
        chosen = batch_size(height * width, images, most=most, kept=kept, memory_gb=memory)
        self._set("train", {"batch_size": chosen.images})
        self._tell("train.batch_size", chosen.images, chosen.reason)

    def epochs(self) -> None:
        if not self._undecided["epochs"]:
            return
        info = self._info
        chosen, reason = epochs(
            self.settings.lessons,
            images=self._images(),
            objects=info.instance_counts.get("train", 0) * self._trained,
            classes=sum(pixels > 0 for pixels in info.class_pixels) or len(info.classes),
            pretrained=self.settings.pretrained,
        )
        self._set("train", {"epochs": chosen})
        self._tell("train.epochs", chosen, reason)

    def recipe(self, taken: Iterable[Taken]) -> list[Decision]:
        """What the recipe has set; shares of epochs and batches that were left to the data are of what was decided."""
        told = []
        for one in taken:
            now = one
            if any(self._undecided.values()):
                now = again(one, epochs=self.settings.train.epochs, images=self.settings.train.batch_size * self.settings.train.accumulate)
            if now != one:
                section, _, key = one.key.partition(".")
                self._set(section, {key: now.value})
            told.append(Decision(now.key, now.value, now.reason))
        return told

    def _images(self) -> int:
        return max(1, int(self._info.counts["train"] * self._trained))

    def _median(self) -> tuple[int, int]:
        assert self._info.image_size is not None, "prepared data without training images has no plan"
        return self._info.image_size.median

    def _counted(self, key: str) -> Extents:
        if self._extents is None or not self._extents.shapes.count:
            raise ParametersError(
                f"models.{self._name}.{key} is auto, and the data was prepared by an earlier Segline, which did not count how large images and objects are. "
                "Run `dvc repro -f prepare` to prepare it anew, or give a value."
            )
        return self._extents

    def _unset_statistics(self) -> None:
        """The plan's own hold the numbers: who writes auto and who writes nothing has the same plan where they are the same."""
        if self.settings.input.mean == AUTO:
            self._set("input", {"mean": None, "std": None})

    def _set(self, section: str, changes: dict[str, Any]) -> None:
        changed = getattr(self.settings, section).model_copy(update=changes)
        self.settings = self.settings.model_copy(update={section: changed})

    def _tell(self, key: str, value: object, reason: str) -> None:
        self.taken.append(Decision(key, value, reason))


def _tile(settings: ModelSettings, size: tuple[int, int], overlap: int) -> Tile:
    """As the architecture has tiles."""
    kind = next((part for part in _options(type(settings.input).model_fields["tile"].annotation) if issubclass(part, Tile)), Tile)
    return kind(size=size, overlap=overlap)


def _options(annotation: Any) -> Iterable[type]:
    return (part for part in getattr(annotation, "__args__", ()) if isinstance(part, type))
