"""What DVC needs of params.yaml beyond its being valid: DVC expands no `~`, and watches the folder of the images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from segline import params
from segline.choices import nearest
from segline.data.public.catalog import PUBLIC
from segline.data.sources import DATA, SHAPES, Folder, is_address, is_public
from segline.errors import ParametersError
from segline.layout import Checkout, expanded
from segline.plain_yaml import load


def check(checkout: Checkout) -> params.Params:
    """Validate params.yaml for a run under DVC. Raises ParametersError with one sentence per problem, those of `params.read` among them."""
    problems: list[str] = []
    settings = None
    try:
        settings = params.read(checkout.params)
    except ParametersError as error:
        problems += error.problems
    values = load(checkout.params)
    source = values["data"].get("source") if isinstance(values.get("data"), dict) else None
    if isinstance(source, str) and source != SHAPES and not is_public(source):
        problems += [f"{checkout.params.name}: {problem}" for problem in _reachable(source, checkout)]
    if settings is not None:
        problems += [f"{checkout.params.name}: {problem}" for problem in _about_mirror(settings, checkout)]
    if problems:
        raise ParametersError(*problems)
    assert settings is not None
    return settings


def check_source(source: str, checkout: Checkout) -> None:
    """Raises ParametersError where a folder cannot be `data.source` of this checkout."""
    problems = list(_reachable(source, checkout))
    if problems:
        raise ParametersError(*problems)


def mirror(checkout: Checkout) -> str | None:
    """`data.mirror` of params.yaml: an address, or a folder in full. It is in no plan, as no result depends on it. Raises ParametersError."""
    return _mirror_of(params.read(checkout.params), checkout)


def _mirror_of(settings: params.Params, checkout: Checkout) -> str | None:
    given = settings.data.mirror if isinstance(settings.data, Folder) else None
    return given if given is None or is_address(given) else str((checkout.main / DATA / expanded(given)).resolve())


def _about_mirror(settings: params.Params, checkout: Checkout) -> Iterator[str]:
    place = _mirror_of(settings, checkout)
    if place is not None and not is_address(place) and not os.path.isdir(place):  # noqa: PTH112 - an odd name is no folder, and no error
        yield f"data.mirror: the folder '{place[:200]}' does not exist. Give a folder, absolute or relative to {DATA}/, or an address that begins with http."


def _reachable(source: str, checkout: Checkout) -> Iterator[str]:
    """As `_about_source`; what the system itself says of a path becomes a sentence, too."""
    try:
        yield from _about_source(source, checkout)
    except ParametersError as error:
        yield from (f"data.source: {problem}" for problem in error.problems)
    except (OSError, RuntimeError) as error:  # a name that is too long, a link to itself, a folder above it that may not be entered
        reason = error.strerror if isinstance(error, OSError) else str(error)
        yield f"data.source: '{source[:80]}' cannot be looked at ({reason}). Give the path of the folder that holds your images."


def _about_source(source: str, checkout: Checkout) -> Iterator[str]:
    if source.startswith("~"):
        yield f"data.source: DVC does not expand '~'; write '{expanded(source)}'."
        return
    root = checkout.root.resolve()
    folder = (root / DATA / source).resolve()
    outputs: Iterable[Path] = (checkout.raw, checkout.prepared, checkout.check.path, checkout.plans, checkout.data_plan.path, checkout.models)
    clash = next((output for output in outputs if output.resolve().is_relative_to(folder) or folder.is_relative_to(output.resolve())), None)
    if not source or clash:
        where = f" ({clash.relative_to(checkout.root)})" if clash else ""
        yield f"data.source is '{source}', which is or holds a folder that the line writes{where}. Keep your images in a folder of their own."
    elif root != checkout.main and not Path(source).is_absolute() and _lacks(folder, root, checkout.main / DATA / source):
        yield (
            f"data.source is '{source}', which is not in or points elsewhere from the copy that DVC made of the checkout for this experiment. "
            f"For `--temp` and `--queue` write it as an absolute path: '{(checkout.main / DATA / source).resolve()}'."
        )
    else:
        yield from _about_folder(source, folder, root)


def _lacks(folder: Path, copy: Path, original: Path) -> bool:
    """Whether a copy of the checkout has another folder, or none, in the place of the main checkout's: DVC copies what git tracks."""
    return not folder.is_relative_to(copy) or (original.is_dir() and not folder.is_dir())


def _about_folder(source: str, folder: Path, root: Path) -> Iterator[str]:
    if folder.is_dir():
        if not os.access(folder, os.R_OK | os.X_OK):
            yield f"data.source: the folder '{source}' cannot be read. Check its permissions."
    elif (root / source).is_dir():
        yield f"data.source: relative folders count from {DATA}/; write '{os.path.relpath(root / source, root / DATA)}'."
    else:
        near = nearest(source, [SHAPES, *PUBLIC])
        hint = f" Generated images are `source: {SHAPES}`." if near == SHAPES else f" Did you mean the public data set '{near}'?" if near else ""
        yield f"data.source: the folder '{source}' does not exist. Give the path of the folder that holds your images.{hint}"
