"""Tables of names: one literal dict per family, word → module. What a word means is imported when it is asked for, so that light modules stay light."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import import_module
from types import ModuleType

from segline.errors import ParametersError


def module(table: Mapping[str, str], kind: str, name: str, part: str | None = None) -> ModuleType:
    """The module that a word of a catalogue stands for, or its sub-module `part`. Raises ParametersError for an unknown word, with the nearest right ones."""
    if name not in table:
        raise ParametersError(f"There is no {kind} '{name[:80]}'. {hint(name, table)}")
    return import_module(table[name] if part is None else f"{table[name]}.{part}")


def hint(name: str, known: Iterable[str], most: int = 3) -> str:
    """The nearest right names, or all of them."""
    choices = sorted(set(known) - {name})
    near = difflib.get_close_matches(name[:80], choices, n=most)
    return f"Did you mean {' or '.join(near)}?" if near else f"Known are {', '.join(choices)}."
