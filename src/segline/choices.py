"""Tables of names: one literal dict per family, word → module. What a word means is imported when it is asked for, so that light modules stay light."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import import_module
from types import ModuleType

from segline.errors import ParametersError

_LONGEST = 80
"""Characters of a given word that count."""


def module(table: Mapping[str, str], kind: str, name: str, part: str | None = None) -> ModuleType:
    """The module that a word of a catalogue stands for, or its sub-module `part`. Raises ParametersError for an unknown word, with the nearest right ones."""
    if name not in table:
        raise ParametersError(f"There is no {kind} '{name[:_LONGEST]}'. {hint(name, table)}")
    return import_module(table[name] if part is None else f"{table[name]}.{part}")


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that `word` is most like, if one is; never the word itself."""
    return next(iter(_near(word, known, 1, cutoff)), None)


def hint(name: str, known: Iterable[str], most: int = 3) -> str:
    """The nearest right names, or all of them."""
    known = sorted(set(known))
    near = _near(name, known, most)
    return f"Did you mean {' or '.join(near)}?" if near else f"Known are {', '.join(other for other in known if other != name)}."


def _near(word: str, known: Iterable[str], most: int, cutoff: float = 0.6) -> list[str]:
    """The known words that `word` is most like, the nearest first."""
    return difflib.get_close_matches(word[:_LONGEST], [other for other in known if other != word], n=most, cutoff=cutoff)
