"""The stages `params` and `plan`: write the plans."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path

from segline.data import extents
from segline.data.class_masks import with_label_pixels
from segline.data.sources import is_public
from segline.data.store import PreparedDataset
from segline.errors import ParametersError, SeglineError
from segline.files import whole, write_json
from segline.layout import Checkout, PlanFolder
from segline.models.semantic_settings import SemanticSettings
from segline.models.settings import Entry, ModelSettings
from segline.params import Params
from segline.plan import again, plans
from segline.plan.code import Code
from segline.plan.data import data_plans
from segline.plan.resolve import ModelPlans, resolve, weights_path
from segline.tasks import catalog as tasks

_FOR_OBJECTS = (
    "Remove `multilabel: true` from it; or, where each class or object has a mask file of its own (data.format masks), set data.instances: true, which makes "
    "objects of them."
)


def write_data_plans(params: Params, checkout: Checkout) -> None:
    """Write `data/params/`."""
    download, prepare = data_plans(params, Code(checkout.root / "src"))
    if is_public(params.data.source):
        checkout.public(params.data.source).path.parent.mkdir(parents=True, exist_ok=True)  # DVC watches it, and knows no missing folder
    with whole(checkout.data_plan.path) as folder:
        folder.mkdir()
        download.write(folder / checkout.data_plan.download.name)
        prepare.write(folder / checkout.data_plan.prepare.name)


def write_plans(params: Params, checkout: Checkout) -> None:
    """Write `data/plan/`, a folder per model, and a link in `data/weights/` for each weight file. Raises a SeglineError with the problems of all models.

    Through the links DVC sees when the content behind a path changes; the stage depends on the folder in which it makes them.
    """
    dataset = PreparedDataset(checkout.prepared)
    code = Code(checkout.root / "src")
    found: dict[str, ModelPlans] = {}
    problems: list[str] = []
    notes, counted, labels = again.read(checkout.weights), extents.read(checkout.prepared), cache(partial(with_label_pixels, dataset))
    for name, settings in params.models.items():
        if not found.keys() >= set(settings.members):
            continue  # the sentences are of its members
        try:
            for truth in tasks.get(settings.task).truths:
                dataset.require(truth, name, _FOR_OBJECTS if settings.task == "multilabel" else None)
            roots = (checkout.root, checkout.main)
            found[name] = resolve(
                name,
                settings,
                params=params,
                info=labels() if _counts_labels(settings) else dataset.info,
                code=code,
                roots=roots,
                extents=counted,
                above=found,
                again=notes,
            )
        except SeglineError as error:
            problems += error.problems
    if problems:
        raise ParametersError(*dict.fromkeys(problems))
    _link_weights(params, checkout)
    again.forget(checkout.weights, found)
    with whole(checkout.plans) as folder:
        for name, model in found.items():
            _write(model, PlanFolder(folder / name))


def _counts_labels(settings: Entry) -> bool:
    """Whether a multi-label model wants weights of classes by their pixels."""
    if not isinstance(settings, SemanticSettings) or not settings.multilabel:
        return False
    return any(isinstance(term.wanted_class_weights, str) and term.wanted_class_weights != "none" for term in settings.loss.terms().values())


def _write(model: ModelPlans, folder: PlanFolder) -> None:
    folder.path.mkdir(parents=True)
    plans.write(model.train, folder.train)
    plans.write(model.evaluate, folder.evaluate)
    plans.write(model.export, folder.export)
    plans.write(model.register, folder.register)
    write_json(folder.decisions, [asdict(decision) for decision in model.decisions])


def _link_weights(params: Params, checkout: Checkout) -> None:
    wanted: dict[str, Path] = {}
    for name, settings in params.models.items():
        if isinstance(settings, ModelSettings) and settings.weights_file is not None:
            wanted[name] = weights_path(settings.weights_file, checkout.root, checkout.main).resolve()
    checkout.weights.mkdir(parents=True, exist_ok=True)
    for link in checkout.weights.iterdir():
        # Only links are the line's own: who keeps weight files here keeps them.
        if link.is_symlink() and link.readlink() != wanted.get(link.name):
            link.unlink()
    for name, file in wanted.items():
        link = checkout.weights / name
        if file.is_file() and not link.is_symlink() and not link.exists():
            # Windows lets not everybody make links; then a changed content is seen when the plan is made for another reason.
            with suppress(OSError):
                link.symlink_to(file)
