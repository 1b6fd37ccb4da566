"""The layout of Mapillary Vistas (Neuhold 2017), v1.2 and v2.0: `training/images/`, and `training/v2.0/labels/`, `…/instances/` (v1.2 also without its folder).

`config_v2.0.json` (or `config_v1.2.json`, `config.json`) says which labels there are. `labels/` holds palette masks whose index is the label's place in that
list; `instances/`, 16 bits deep, label · 256 + the object's number. The classes are the labels that the file says are evaluated; the others are ignored.
`testing/` has no public truth and is not read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segline.data.check import Frame, Refused, check_size, fail, read_bytes, read_labels
from segline.data.formats.base import Record, Sighting, SourceData, SourceTruth, image_files
from segline.data.reading.labels import Label, chosen, class_ids, numbered, source_classes
from segline.data.reading.tree import Tree
from segline.data.sources import Folder
from segline.data.store import Truth
from segline.errors import DataError

_SPLITS = {"training": "train", "validation": "val"}
_CONFIGS = {"v2.0": ("config_v2.0.json",), "v1.2": ("config_v1.2.json", "config.json")}
_LICENCE = "Mapillary Vistas: CC BY-NC-SA"
_PER_CLASS = 256


class Settings(Folder):
    """Street scenes in the layout of Mapillary Vistas."""

    format: Literal["mapillary"] = "mapillary"
    classes: list[str] | None = None  # readable names of labels that are classes, by id; default: all that are evaluated; all others are ignored
    annotations: Literal["auto", "v2.0", "v1.2"] = "auto"  # which of the two truths; auto: the later one that is there


@dataclass(frozen=True)
class _Layout:
    """Where everything is, relative to the root."""

    version: str
    config: Path
    truth: dict[str, Path]  # by split's folder: what holds labels/ and instances/


@dataclass(frozen=True)
class _Entry:
    """An image and its masks, relative to the root."""

    split: str
    image: Path
    labels: Path
    instances: Path | None


class Mapillary:
    """See the module's docstring."""

    def files(self, root: Path, settings: Settings) -> list[Path]:
        layout = _layout(root, settings)
        entries, _, _ = _entries(root, layout)
        return _files(layout, entries)

    def read(self, root: Path, settings: Settings) -> SourceData:
        layout = _layout(root, settings)
        labels, evaluated = _labels(root, layout.config)
        classes = chosen(labels, settings.classes, evaluated)
        entries, refused, truths = _entries(root, layout)
        known = frozenset(label.value for label in labels)
        records = tuple(Record(entry.image, entry.split, _Truth(root, entry, classes, known)) for entry in entries)
        return SourceData(source_classes(classes), truths, records, _LICENCE, tuple(_files(layout, entries)), tuple(refused))

    def recognise(self, tree: Tree) -> Sighting | None:
        for names in _CONFIGS.values():
            for file in tree.of_type(".json"):
                if len(file.parts) > 1 or file.name not in names:
                    continue
                content = tree.json(file)
                listed = content.get("labels") if isinstance(content, dict) else None
                images = [f for f in tree.images if f.parts[:2] in (("training", "images"), ("validation", "images"))]
                if isinstance(listed, list) and listed and images:
                    return Sighting(1.0, {}, f"{file.name} with {len(listed)} labels, and training/images/ and validation/images/ with {len(images)} images")
        return None


FORMAT = Mapillary()


def _layout(root: Path, settings: Settings) -> _Layout:
    """Raises DataError when the layout is not there."""
    versions = list(_CONFIGS) if settings.annotations == "auto" else [settings.annotations]
    for version in versions:
        config = next((Path(name) for name in _CONFIGS[version] if (root / name).is_file()), None)
        truth = {}
        for folder in _SPLITS:
            places = [Path(folder, version), *([Path(folder)] if version == "v1.2" else [])]
            place = next((place for place in places if (root / place / "labels").is_dir()), None)
            if place is not None:
                truth[folder] = place
        if config is not None and truth:
            return _Layout(version, config, truth)
    configs = " or ".join(name for version in versions for name in _CONFIGS[version])
    raise DataError(
        f"{root} is not in the mapillary layout: it needs {configs}, and training/ with images/ and labels/ (v2.0: v2.0/labels/). "
        "Correct data.source or data.format."
    )


def _labels(root: Path, config: Path) -> tuple[list[Label], list[str]]:
    """All labels by their place in the file, and the names of those that are evaluated. Raises DataError."""
    try:
        listed: Any = json.loads(read_bytes(root / config, config.name))["labels"]
        entries = [(str(one.get("readable") or one["name"]), bool(one.get("instances")), bool(one.get("evaluate", True))) for one in listed]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise DataError(
            f"{config.name} holds no list `labels` of Mapillary (name, readable, instances, evaluate); copy the file from the download again."
        ) from None
    names = [name for name, _, _ in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    fail([f"{config.name}: two labels are called '{name}'; names must differ." for name in twice])
    labels = [Label(value, name, thing) for value, (name, thing, _) in enumerate(entries)]
    return labels, [name for name, _, evaluated in entries if evaluated]


def _entries(root: Path, layout: _Layout) -> tuple[list[_Entry], list[Refused], tuple[Truth, ...]]:
    objects = all((root / place / "instances").is_dir() for place in layout.truth.values())
    entries, refused = [], []
    for folder, place in layout.truth.items():
        for file in image_files(root / folder / "images"):
            image = file.relative_to(root)
            wanted = [place / kind / f"{file.stem}.png" for kind in (("labels", "instances") if objects else ("labels",))]
            missing = [mask for mask in wanted if not (root / mask).is_file()]
            if missing:
                refused.append(Refused(image.as_posix(), f"there is no mask {missing[0].as_posix()}"))
                continue
            entries.append(_Entry(_SPLITS[folder], image, wanted[0], wanted[1] if objects else None))
    return entries, refused, ("index", "instances") if objects else ("index",)


def _files(layout: _Layout, entries: list[_Entry]) -> list[Path]:
    return sorted({layout.config, *(file for entry in entries for file in (entry.image, entry.labels, entry.instances) if file is not None)})


@dataclass(frozen=True)
class _Truth:
    """Loads the masks of one image."""

    root: Path
    entry: _Entry
    classes: tuple[Label, ...]
    known: frozenset[int]

    def __call__(self, frame: Frame) -> SourceTruth:
        read = {}
        for file in (self.entry.labels, self.entry.instances):
            if file is None:
                continue
            values = read_labels(self.root / file, file.as_posix())
            check_size((values.shape[0], values.shape[1]), frame, f"The mask {file.as_posix()}", self.entry.image.as_posix())
            read[file] = values.astype(np.int32)
        mask = class_ids(read[self.entry.labels], self.classes, self.known, self.entry.labels.as_posix())
        if self.entry.instances is None:
            return SourceTruth(mask)
        numbers = read[self.entry.instances]
        things = {label.value: i for i, label in enumerate(self.classes) if label.thing}
        objects = {n: (things[n // _PER_CLASS], False) for n in np.unique(numbers).tolist() if n // _PER_CLASS in things}
        return SourceTruth(mask, numbered(numbers, objects))
