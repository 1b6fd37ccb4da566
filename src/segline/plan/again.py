"""A model that was trained once more by the same plan, and ended in other weights: then what is made of it must be made anew.

Plans hold the keys of the members' plans, so a changed member changes what is made of it. Where a training is forced and the machine does not compute the
same twice, weights change and no plan does. The stage `train` then leaves a note in the folder that the stage `plan` depends on, `data/weights`: DVC sees it,
and `plan` puts it into the plans of what is made of that model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from segline.card import ModelCard
from segline.errors import ModelError
from segline.files import whole
from segline.layout import ModelFolder
from segline.provenance import file_digest

SUFFIX = ".again"


@dataclass(frozen=True)
class Note:
    """`<model>.again`: the key of a plan, and the digest of the weights that it was last trained to."""

    key: str
    weights: str


def tell(trained: ModelFolder, composed: Iterable[ModelFolder], notes: Path) -> None:
    """Leave a note about `trained` in the folder `notes` if one of `composed` was made of other weights by the same plan."""
    now = Note(ModelCard.read(trained.card).key, file_digest(trained.weights))
    for folder in composed:
        if not folder.card.is_file():
            continue
        try:
            members = ModelCard.read(folder.card).members
        except ModelError:
            continue  # it is made anew anyway
        for member in members:
            if member.name == trained.name and member.key == now.key and member.weights != now.weights:
                notes.mkdir(parents=True, exist_ok=True)
                with whole(notes / f"{trained.name}{SUFFIX}") as file:
                    file.write_text(f"{now.key} {now.weights}\n")
                return


def read(notes: Path) -> dict[str, Note]:
    """The notes by model; a file that is none is left aside."""
    found = {}
    for file in sorted(notes.glob(f"*{SUFFIX}")):
        words = file.read_text(encoding="utf-8", errors="replace").split()
        if len(words) == 2:
            found[file.name.removesuffix(SUFFIX)] = Note(*words)
    return found


def forget(notes: Path, models: Collection[str]) -> None:
    """Remove the notes about others than `models`. Those about earlier plans stay: who goes back to one finds what was made of its last weights."""
    for name in read(notes):
        if name not in models:
            (notes / f"{name}{SUFFIX}").unlink(missing_ok=True)
