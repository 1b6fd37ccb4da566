"""`segline init`: a folder of annotated images → a params.yaml that suits it, with a reason for each choice."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segline import conveyor, params
from segline.data.check import check_root, name_list
from segline.data.formats import catalog
from segline.data.formats.base import Sighting
from segline.data.formats.recognition import Found, recognised, sightings
from segline.data.reading.tree import Tree
from segline.data.sources import SHAPES, Folder
from segline.errors import DataError, ParametersError, SeglineError
from segline.files import whole
from segline.init.choices import Choice, data_choices, model_choices, promote_choices
from segline.init.survey import Survey, survey
from segline.init.writing import written
from segline.layout import Checkout
from segline.plain_yaml import load

_KEPT = "params.before-init"
"""What the file is called that was there before; a second one gets a number."""


@dataclass(frozen=True)
class Written:
    """What was found out, and where it stands now."""

    found: Found
    others: tuple[Found, ...]  # formats that could be meant as well
    survey: Survey
    models: tuple[str, ...]
    kept: Path | None  # the params.yaml that was there before


def init(root: Path, checkout: Checkout, *, word: str | None = None, force: bool = False) -> Written:
    """Write `params.yaml` for the folder `root`. `word`: the format, where it is not to be found out.

    Raises DataError where the folder is in no known layout or has mistakes in its structure, ParametersError where a params.yaml would be lost.
    """
    root = root.resolve()
    check_root(root)
    if not force:
        _nothing_is_lost(checkout)
    tree = Tree(root)
    found, others = recognised(tree) if word is None else (_read_as(word, tree), ())
    settings = found.settings(root)
    source = catalog.get(found.word).FORMAT.read(root, settings)
    looked = survey(root, source, settings)
    models = model_choices(looked)
    text = written(_head(root, found, others, looked), _sections(root, found, looked, models))
    kept = _put(text, checkout)
    return Written(found, others, looked, tuple(model.key for model in models), kept)


def _read_as(word: str, tree: Tree) -> Found:
    """The format that somebody named, as it sees the folder. Raises DataError where it does not see its layout."""
    catalog.get(word)
    if word == catalog.AUTO:
        return recognised(tree)[0]
    seen = catalog.get(word).FORMAT.recognise(tree)
    if seen is not None:
        return Found(word, seen)
    others = name_list(f"{other.word} ({other.sighting.seen})" for other in sightings(tree)[:3])
    hint = f" What it looks like is {others}." if others else ""
    try:
        settings = Found(word, Sighting(0.0, {}, "")).settings(tree.root)
        catalog.get(word).FORMAT.files(tree.root, settings)
    except SeglineError as error:
        raise DataError(*error.problems, *([f"What it looks like:{hint.removeprefix(' What it looks like is')}"] if hint else [])) from None
    return Found(word, Sighting(0.0, {}, f"read as {word}, as you said"))


def _head(root: Path, found: Found, others: Sequence[Found], looked: Survey) -> list[str]:
    lines = [
        f"Written by `segline init` for {_one_line(root)}: {_one_line(found.sighting.seen)}.",
        f"Looked into: {looked.looked_at} of {looked.images} images. Edit, run `dvc repro` (or `make repro`), compare in `make ui`.",
        "Every key with its unit, range and default: docs/parameters.md.",
    ]
    lines += [f"The folder could be of the format {other.word}, too: {_one_line(other.sighting.seen)}." for other in others]
    return lines


def _sections(root: Path, found: Found, looked: Survey, models: list[Choice]) -> dict[str, Any]:
    keys = [Choice(key, value, _one_line(found.sighting.reasons.get(key, ""))) for key, value in found.sighting.keys.items()]
    data = [Choice("source", str(root)), Choice("format", found.word), *keys, *data_choices(looked)]
    return {"seed": 0, "data": data, "models": models, "promote": promote_choices(models)}


def _one_line(text: object) -> str:
    """What may stand in a comment: a name of a file can hold anything."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def _nothing_is_lost(checkout: Checkout) -> None:
    """Raises ParametersError where params.yaml holds what somebody wrote: anything but the shipped one, which generates its data and is in git as it is."""
    if not checkout.params.exists():
        return
    if not _is_the_shipped_one(checkout):
        raise ParametersError(f"{checkout.params} is there already, and would be replaced; add --force to do so. A copy is kept as {_KEPT}.yaml beside it.")


def _is_the_shipped_one(checkout: Checkout) -> bool:
    try:
        data = load(checkout.params).get("data")
    except ParametersError:
        return False
    if not isinstance(data, dict) or data.get("source") != SHAPES:
        return False
    try:
        asked = ["git", "status", "--porcelain", "--ignored", "--", checkout.params.name]
        done = subprocess.run(asked, cwd=checkout.root, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and not done.stdout.strip()


def _put(text: str, checkout: Checkout) -> Path | None:
    """Write params.yaml, once it is known to be valid; keep what was there. Raises ParametersError where the folder is none that the line can read from."""
    kept = None
    with whole(checkout.params) as file:
        file.write_text(text, encoding="utf-8")
        settings = params.read(file)
        assert isinstance(settings.data, Folder)
        conveyor.check_source(settings.data.source, checkout)
        if checkout.params.exists():
            kept = _free(checkout.params.with_name(f"{_KEPT}{checkout.params.suffix}"))
            with whole(kept) as copy:
                copy.write_bytes(checkout.params.read_bytes())
    return kept


def _free(file: Path) -> Path:
    """The path, with a number where it is taken."""
    places = [file, *(file.with_name(f"{file.stem}-{number}{file.suffix}") for number in range(2, 1000))]
    return next(place for place in places if not place.exists())
