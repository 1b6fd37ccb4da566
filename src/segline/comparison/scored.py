"""What a word on the command line names, as what was counted of it on test images: a model of the workspace, a model folder, a registered version, a run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from segline import registry
from segline.card import ModelCard
from segline.choices import hint
from segline.data.store import PreparedDataset
from segline.errors import ModelError, RegistryError
from segline.evaluation import gated
from segline.layout import Checkout, ModelFolder, expanded
from segline.metrics import counts_file
from segline.metrics.base import Counts
from segline.promotion.measure import candidate_counts
from segline.registry import Version
from segline.registry.runs import of_run
from segline.status import model_folders
from segline.tracking.contents import mapping
from segline_runtime.specification import ClassInfo

_RUN = re.compile(r"(?:runs:/+)?([0-9a-f]{32})/?")


@dataclass(frozen=True)
class Scored:
    """One side of a comparison."""

    name: str  # as it is told
    task: str
    counts: Counts
    classes: tuple[ClassInfo, ...]
    split: str | None  # that was scored, and the hash of its images and truth; None where nothing says so
    split_hash: str | None
    trained_on: frozenset[str] | None  # content hashes of the images that it learnt from or was steered by; None where that was not kept


@dataclass(frozen=True)
class Surroundings:
    """Where words are looked up. `store` is asked for the address of the tracking store only where a word needs it."""

    checkout: Checkout | None
    store: Callable[[], str]
    progress: bool = False


def scored(word: str, where: Surroundings, *, key: str | None = None) -> Scored:
    """What `word` names: `models:/<name>@<alias>`, `models:/<name>/<version>`, `runs:/<id>` or the id alone, a model folder, or the name of one.

    key: of the figure that is asked for, which may need more to be counted of a registered version than always is.
    Raises ModelError for a name that there is not and for a model that was not evaluated, RegistryError and TrackingError as the registry does.
    """
    if word.startswith("models:"):
        return _of_version(registry.resolve(store=where.store(), uri=word), where, key)
    if word.startswith("runs:") or _RUN.fullmatch(word):
        return _of_run(word, where, key)
    path = expanded(word)
    there = [] if where.checkout is None else [folder.name for folder in model_folders(where.checkout.models)]
    if where.checkout is not None and word in there and not ModelFolder(path).card.is_file():
        return of_folder(where.checkout.model(word))
    if path.is_dir():
        return of_folder(ModelFolder(path.resolve()))
    if not there:
        raise ModelError(f"There is no model '{word[:80]}', nor any trained one here: run `dvc repro`, or give a model folder or models:/<name>@<alias>.")
    raise ModelError(f"There is no model '{word[:80]}'. {hint(word, there)} A model folder, models:/<name>@<alias> and the id of a run can be given as well.")


def of_folder(folder: ModelFolder) -> Scored:
    """A model as its folder has it. Raises ModelError where it was not evaluated, or a file cannot be read."""
    card = ModelCard.read(folder.card)
    counts = counts_file.load(folder.counts)
    measured = mapping(folder.metrics, "evaluate")
    learnt = mapping(folder.trained_on, "train").get("images")
    return Scored(
        name=folder.name,
        task=card.task,
        counts=counts,
        classes=card.specification.classes,
        split=_text(measured.get("split")),
        split_hash=_text(measured.get("split_hash")),
        trained_on=frozenset(map(str, learnt)) if isinstance(learnt, list) else None,
    )


def _of_version(version: Version, where: Surroundings, key: str | None) -> Scored:
    """Its ONNX model is run on the prepared images; what it counts is kept, as promotion keeps it."""
    if where.checkout is None:
        raise RegistryError(
            f"To count what {version.uri} finds, prepared data is needed, and no checkout is around. Change into one, and run `dvc repro prepare`."
        )
    dataset = PreparedDataset(where.checkout.prepared)
    store = where.store()
    details = () if key is None else gated.details(key, version.task)
    counts = candidate_counts(store, version, dataset, where.checkout.counts, details=details, progress=where.progress)
    if isinstance(counts, str):
        sentence = counts[0].upper() + counts[1:].rstrip(".")
        raise RegistryError(f"{version.uri} cannot be compared on this data. {sentence}. Choose another version, or prepare the data that it is for.")
    split = dataset.info.scored
    learnt = registry.trained_on(store=store, version=version)
    return Scored(f"{version.name} version {version.number}", version.task, counts, dataset.info.classes, split, dataset.info.split_hashes.get(split), learnt)


def _of_run(word: str, where: Surroundings, key: str | None) -> Scored:
    """The model folder of the run's key where the workspace has it, as it was evaluated; else the run's registered version."""
    matched = _RUN.fullmatch(word)
    if matched is None:
        raise ModelError(f"'{word[:80]}' is no id of a run: these have 32 hexadecimal digits, as MLflow shows them. Write runs:/<id>, or the id alone.")
    run = of_run(store=where.store(), run_id=matched[1])
    folders = [] if where.checkout is None else model_folders(where.checkout.models)
    for folder in folders:
        if run.key is not None and folder.counts.is_file() and ModelCard.read(folder.card).key == run.key:
            return of_folder(folder)
    if run.version is None:
        raise RegistryError(
            f"The run {matched[1]} ('{run.name}') has no registered version, and no model folder here is its own, so nothing counts what it finds. "
            "Check out its commit and run `dvc repro`, or name a registered version (`segline models`)."
        )
    return _of_version(run.version, where, key)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
