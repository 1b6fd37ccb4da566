"""`segline`: promote, serve and use what the line made. Each command imports what it needs when it runs, so that help and prediction start quickly."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segline import environment
from segline.errors import DataError, ModelError, ParametersError, RegistryError, told_in_sentences
from segline.layout import Checkout, ModelFolder, find_checkout

if TYPE_CHECKING:
    from rich.console import Console

    from segline.params import Params
    from segline.promotion import Outcome

REFUSED = 1
"""Exit code when a gate failed, or when `segline status` found something."""

_WIDE = 160  # columns of a table that goes into a pipe or a file
_SHOWN_METRICS = 3

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Promote, serve and use the models of a Segline checkout.")


class Target(StrEnum):
    """Aliases that are given by promotion."""

    staging = "staging"
    production = "production"


Name = Annotated[str, typer.Argument(help="A model of params.yaml, or a registered name (<dataset>-<model>).")]
Model = Annotated[str, typer.Option("--model", "-m", help="models:/<name>@<alias>, models:/<name>/<version>, a model folder, its name, or a model.onnx.")]


def main() -> None:
    """Entry point: a user's mistake is a sentence and exit code 2."""
    with told_in_sentences():
        app()


def _version(wanted: bool) -> None:
    if wanted:
        print(f"segline {metadata.version('segline')}")
        raise typer.Exit


@app.callback()
def segline(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")] = False) -> None:
    """Promote, serve and use the models of a Segline checkout."""


@app.command()
def promote(
    name: Name,
    to: Annotated[Target, typer.Option("--to", help="staging takes the candidate, production the staged version.")],
    version: Annotated[int | None, typer.Option("--version", min=1, help="Take this version instead.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote though a gate fails; needs --reason.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; recorded with the version.")] = None,
) -> None:
    """Move an alias when the gates of params.yaml (promote.<model>) hold; else say which failed, and exit 1."""
    from segline import promotion
    from segline.data.store import PreparedDataset

    checkout = find_checkout(Path.cwd())
    settings = _settings(checkout)
    registered = _registered_name(name, settings)
    gates = settings.gates(registered.partition("-")[2])
    outcome = promotion.promote(
        store=_store(),
        name=registered,
        to=to.value,
        dataset=PreparedDataset(checkout.prepared),
        number=version,
        **gates.model_dump(),
        force=force,
        reason=reason,
        progress=_console(sys.stderr).is_terminal,
    )
    _tell(outcome)
    if outcome.failed and not outcome.forced:
        raise typer.Exit(REFUSED)


@app.command()
def rollback(
    name: Name,
    alias: Annotated[Target, typer.Option("--from", help="The alias that is taken back.")],
    reason: Annotated[str | None, typer.Option("--reason", help="Why; recorded with the version.")] = None,
) -> None:
    """Give an alias back to the version that held it before; done again, to the one before that."""
    from segline import promotion

    registered = _registered_name(name, _settings_if_any())
    current, previous = promotion.rollback(store=_store(), name=registered, alias=alias.value, reason=reason)
    print(f"{registered}: '{alias.value}' goes back from version {current.number} to version {previous.number}.")


@app.command()
def models(name: Annotated[str | None, typer.Argument(help="Only this one.")] = None) -> None:
    """All versions in the registry: aliases, metrics, parity, latency, date."""
    from rich.table import Table

    from segline import registry
    from segline.tracking.store import shown

    store = _store()
    there = registry.names(store=store)
    if name is not None:
        chosen = [_registered_name(name, _settings_if_any())]
        registry.require(store=store, name=chosen[0])
    else:
        chosen = there
    if not chosen:
        print("The registry is empty. Run `dvc repro`, whose last stage registers each model.")
        return
    print(shown(store))
    table = Table("model", "version", "aliases", "metrics", "parity", "latency", "registered")
    for registered in chosen:
        for version in registry.versions(store=store, name=registered):
            figures = "  ".join(f"{key} {value:.4f}" for key, value in list(version.metrics.items())[:_SHOWN_METRICS])
            latency = "" if version.latency_ms is None else f"{version.latency_ms:.1f} ms"
            date = version.created.astimezone().strftime("%Y-%m-%d %H:%M")
            table.add_row(registered, str(version.number), ", ".join(version.aliases), figures, "passed" if version.parity else "not proved", latency, date)
    _console().print(table)


@app.command()
def status() -> None:
    """Compare the model folders with the tracking store and the registry; exit 1 when something is off, with the remedy."""
    from rich.table import Table

    from segline import status as comparison
    from segline.tracking.store import shown

    store = _store()
    folders = comparison.model_folders(find_checkout(Path.cwd()).models)
    if not folders:
        print("There is no trained model yet; run `dvc repro`.")
        return
    findings = comparison.compare(store=store, folders=folders)
    print(shown(store))
    table = Table("model", "registered as", "version", "candidate", "state", "remedy")
    for found in findings:
        state, remedy = ("\n".join(column) for column in zip(*found.problems, strict=True)) if found.problems else ("in order", "")
        table.add_row(found.model, found.name or "", str(found.version or ""), str(found.candidate or ""), state, remedy)
    _console().print(table)
    if any(found.problems for found in findings):
        raise typer.Exit(REFUSED)


@app.command()
def sync() -> None:
    """Rebuild the runs and registrations that the tracking store lacks from the model folders."""
    from segline import registry, tracking
    from segline.status import model_folders
    from segline.tracking.store import shown

    checkout = find_checkout(Path.cwd())
    store = _store()
    folders = model_folders(checkout.models)
    for recorded in tracking.sync(store, checkout.models):
        print(recorded)
    for receipt in registry.fill(store=store, folders=folders):
        print(f"{receipt.name} version {receipt.version} is registered, and candidate.")
    print(f"{len(folders)} model folder{'' if len(folders) == 1 else 's'} compared with {shown(store)}.")


@app.command()
def predict(
    source: Annotated[Path, typer.Argument(help="An image, or a folder of images.")],
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for masks, overlays and results.")],
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Class probabilities too (semantic), as .npy files.")] = False,
) -> None:
    """Write index masks, COCO results and coloured overlays for images."""
    from segline.inference.predict import load_predictor, predict_folder

    with _onnx(model) as file:
        try:
            count = predict_folder(load_predictor(file), source, out, probabilities=probabilities, progress=_console(sys.stderr).is_terminal)
        except (NotADirectoryError, FileExistsError, PermissionError) as error:
            raise DataError(f"{out} cannot be written to ({error}); give --out a folder of your own.") from None
    print(f"{count} image{'' if count == 1 else 's'} predicted into {out}.")


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="models:/<name>@<alias>, models:/<name>/<version>, a model folder, its name, or a model.onnx.")],
    root: Annotated[Path, typer.Option("--root", help="The folder of annotated images.")],
    data_format: Annotated[str, typer.Option("--format", help="How it is annotated: camvid, pennfudan, coco.")],
    classes: Annotated[str | None, typer.Option("--classes", help="Class names by id, with commas between, where the format does not know them.")] = None,
    ignore: Annotated[list[int] | None, typer.Option("--ignore", help="A label value that is not scored; may be given several times.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the figures to this JSON file, too.")] = None,
) -> None:
    """Score an exported model on any annotated folder."""
    from rich.table import Table

    from segline.evaluation.folder import evaluate_folder
    from segline.files import write_json

    names = None if classes is None else [name.strip() for name in classes.split(",")]
    with _onnx(model) as file:
        metrics, images, split_hash = evaluate_folder(
            file, root=root, data_format=data_format, classes=names, ignore=ignore, progress=_console(sys.stderr).is_terminal
        )
    print(f"{model} on {images} image{'' if images == 1 else 's'} of {root}")
    table = Table("metric", "value")
    for key, value in metrics.items():
        table.add_row(key, str(value) if isinstance(value, int) else f"{value:.4f}")
    _console().print(table)
    if out is not None:
        try:
            write_json(out, {"model": model, "root": str(root), "split_hash": split_hash, "images": images, **metrics})
        except (IsADirectoryError, NotADirectoryError, FileExistsError, PermissionError) as error:
            raise DataError(f"{out} cannot be written ({error}); give --out a file of your own.") from None


@contextmanager
def _onnx(model: str) -> Iterator[Path]:
    """The ONNX file that an address, a folder, the name of a folder or a path means, for as long as the block lasts."""
    if model.startswith(("models:", "runs:")):
        from segline import registry

        store = _store()
        with registry.onnx_file(store=store, version=registry.resolve(store=store, uri=model)) as file:
            yield file
        return
    path = Path(model).expanduser()
    if path.is_file():
        yield path
        return
    folder = ModelFolder(path) if path.is_dir() else _folder_named(model)
    if not folder.onnx.is_file():
        raise ModelError(f"{folder.path} holds no {folder.onnx.name}; run `dvc repro export@{folder.name}` first.")
    yield folder.onnx


def _folder_named(model: str) -> ModelFolder:
    try:
        models = find_checkout(Path.cwd()).models
    except ParametersError:
        models = None
    there = sorted(path.name for path in models.iterdir() if path.is_dir()) if models is not None and models.is_dir() else []
    if models is None or model not in there:
        known = f" The folders in {models} are {', '.join(there)}." if there else ""
        raise ModelError(f"There is no model '{model}': give models:/<name>@<alias>, a model folder or a model.onnx.{known}")
    return ModelFolder(models / model)


def _settings(checkout: Checkout) -> Params:
    from segline import params

    return params.read(checkout.params)


def _settings_if_any() -> Params | None:
    """params.yaml of the checkout around, where there is one: outside, registered names are given in full."""
    try:
        checkout = find_checkout(Path.cwd())
    except ParametersError:
        return None
    return _settings(checkout)


def _registered_name(name: str, settings: Params | None) -> str:
    return f"{settings.data_name()}-{name}" if settings is not None and name in settings.models else name


def _store() -> str:
    """The tracking store: `MLFLOW_TRACKING_URI`, or that of the checkout around."""
    from segline import tracking

    if environment.tracking_uri() is not None:
        try:
            checkout = find_checkout(Path.cwd())
        except ParametersError:
            checkout = Checkout(Path.cwd())
        return tracking.store_uri(checkout, None)
    try:
        checkout = find_checkout(Path.cwd())
    except ParametersError:
        raise RegistryError(
            f"{Path.cwd()} is not inside a Segline checkout, so there is no registry to ask. Change into the checkout, or set MLFLOW_TRACKING_URI."
        ) from None
    return tracking.store_uri(checkout, _settings(checkout).runtime.tracking_uri)


def _tell(outcome: Outcome) -> None:
    from rich.table import Table

    version, alias = outcome.version, outcome.alias
    if outcome.already:
        print(f"{version.name} version {version.number} holds '{alias}' already; nothing was changed.")
        return
    print(f"{version.name} version {version.number} → {alias}")
    table = Table("gate", "wanted", "found", "")
    for check in outcome.checks:
        table.add_row(check.gate, check.wanted, check.found, "holds" if check.passed else "FAILS")
    _console().print(table)
    failed = "; ".join(f"{check.gate}: wanted {check.wanted}, found {check.found}" for check in outcome.failed)
    if not outcome.moved:
        print(f"Not promoted, nothing was changed. {failed}.", file=sys.stderr)
        return
    instead = "" if outcome.replaced is None else f" in place of version {outcome.replaced.number}"
    print(f"{version.name} version {version.number} is {alias} now{instead}." + (f" Forced, though {failed}." if outcome.forced else ""))


def _console(file: Any = None) -> Console:
    from rich.console import Console

    console = Console(file=file)
    return console if console.is_terminal else Console(file=file, width=_WIDE)
