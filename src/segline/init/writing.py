"""params.yaml as text: each choice with its reason as a comment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from segline.init.choices import Choice

_WIDE = 150
"""Columns up to which a reason stands behind its value."""

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"})
"""Texts that YAML, of one version or another, takes for something else."""


def written(head: Sequence[str], sections: Mapping[str, Any]) -> str:
    """`sections`: values, or lists of choices. `head`: lines of the comment at the top."""
    lines = [f"# {line}" for line in head]
    for key, value in sections.items():
        lines += ["", *_lines(Choice(key, value), 0)]
    return "\n".join(lines) + "\n"


def _lines(choice: Choice, depth: int) -> Iterator[str]:
    indent = "  " * depth
    if isinstance(choice.value, list) and choice.value and all(isinstance(inner, Choice) for inner in choice.value):
        yield f"{indent}{plain(choice.key)}:" + (f"  # {choice.reason}" if choice.reason else "")
        for inner in choice.value:
            yield from _lines(inner, depth + 1)
        return
    line = f"{indent}{plain(choice.key)}: {flow(choice.value)}"
    if isinstance(choice.value, list) and choice.value and all(isinstance(inner, dict) for inner in choice.value):
        yield from _commented(f"{indent}{plain(choice.key)}:", choice.reason, indent)
        yield from (f"{indent}  - {flow(inner)}" for inner in choice.value)
        return
    yield from _commented(line, choice.reason, indent)


def _commented(line: str, reason: str, indent: str) -> Iterator[str]:
    if reason and len(line) + len(reason) + 4 > _WIDE:
        yield from (f"{indent}# {part}" for part in _wrapped(reason, _WIDE - len(indent) - 2))
        yield line
    else:
        yield f"{line}  # {reason}" if reason else line


def _wrapped(text: str, width: int) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line


def flow(value: Any) -> str:
    """A value in YAML's flow style: `{size: [256, 320], fit: stretch}`."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{plain(key)}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(inner) for inner in value) + "]"
    return plain(value)


def plain(value: Any) -> str:
    """A single value; texts in quotes where YAML would take them for something else."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)
