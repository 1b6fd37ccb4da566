"""YAML 1.2 that holds plain values alone: mappings with names, lists, texts, numbers, true, false, null. Whatever else a file says gets a sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from segline.errors import ParametersError
from segline_runtime.errors import reason

MOST_BYTES = 256 * 1024
"""Of a file. A hundred models fit, and what is read here is read in seconds."""

MOST_VALUES = 100_000
"""Of a file: aliases can make a short text mean billions."""

DEEPEST = 32
"""Levels of mappings and lists within each other."""

_OPENED = re.compile(r"(?:[\[{]\s*){64}")

_LARGEST = 2**63

_BOMB = f"more than {MOST_VALUES:,} values, by aliases (`*name`) of aliases. Write out what you need."


def load(path: Path) -> dict[str, Any]:
    """The mapping in a file. Raises ParametersError when it cannot be read, is no YAML, or holds what is no plain value, with a sentence for each."""
    values = parse(_text(path), path.name)
    if not isinstance(values, dict):
        raise ParametersError(f"{path.name} holds no sections; it must be a mapping with at least `models:`.")
    return values


def parse(text: str, name: str) -> Any:
    """The plain value that a text says. `name`: what the text is, for the sentences. Raises ParametersError as `load`."""
    try:
        if _OPENED.search(text):  # the parser would take seconds to find out
            raise RecursionError
        if "*" in text and _size(YAML(typ="safe", pure=True).compose(text)) > MOST_VALUES:
            raise ParametersError(f"{name}: it means {_BOMB}")
        value = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise ParametersError(f"{name} is not valid YAML at {where}: {error.problem}. Check the indentation, colons and quotes there.") from None
    except RecursionError:
        raise ParametersError(f"{name} is not valid YAML: brackets or indentation go too deep. Close the brackets that are open.") from None
    except (YAMLError, ValueError, TypeError, LookupError, AttributeError, AssertionError, OverflowError) as error:
        # ruamel.yaml has no kind of error for a date of the 45th day or a number of 5,000 digits.
        why = "a number of thousands of digits" if "integer string conversion" in str(error) else reason(error)
        raise ParametersError(f"{name} is not valid YAML: {why}. Check for numbers, dates and `!tags` that cannot be.") from None
    problems = list(_not_plain(value))
    if problems:
        raise ParametersError(*(f"{name}: {problem}" for problem in dict.fromkeys(problems)))
    return value


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ParametersError(f"{path.name} has {size:,} bytes; at most {MOST_BYTES:,} are read. Restore it with `git checkout {path.name}`.")
        content = path.read_bytes()
    except FileNotFoundError:
        raise ParametersError(f"{path} does not exist; restore it with `git checkout {path.name}`.") from None
    except OSError as error:
        raise ParametersError(f"{path} cannot be read ({error.strerror}); check its permissions, and that it is a file.") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ParametersError(f"{path.name} is not UTF-8 text at line {line}. Save it as UTF-8, without special characters if in doubt.") from None


def _size(node: Any, known: dict[int, int] | None = None) -> int:
    """How many values a node of YAML stands for when every alias and merge in it is written out; one within itself counts once."""
    known = {} if known is None else known
    if id(node) not in known:
        known[id(node)] = 1
        value = getattr(node, "value", None)
        inner = [part for pair in value for part in (pair if isinstance(pair, tuple) else (pair,))] if isinstance(value, list) else []
        known[id(node)] += sum(_size(part, known) for part in inner)
    return known[id(node)]


def _not_plain(whole: Any) -> Iterator[str]:
    """A sentence for each value that is not plain; of endless ones, for the first alone."""
    waiting: list[tuple[str, Any, tuple[int, ...]]] = [("", whole, ())]
    seen = 0
    while waiting:
        key, value, around = waiting.pop()
        seen += 1
        if seen > MOST_VALUES:
            yield f"it means {_BOMB}"
            return
        if isinstance(value, dict | list):
            if id(value) in around:
                yield f"{_shown(key)} contains itself, by the alias (`*name`) in it. Write out what you need."
                return
            if len(around) >= DEEPEST:
                yield f"{_shown(key)} lies more than {DEEPEST} levels deep. Close the brackets that are open."
                return
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            found = []
            for name, part in inner:
                if isinstance(value, dict) and (problem := _about_name(name, key)):
                    yield problem
                else:
                    found.append((f"{key}.{name}" if key else str(name), part, (*around, id(value))))
            waiting += reversed(found)
        elif problem := _about_value(value):
            yield f"{_shown(key)} {problem}"


def _about_name(name: Any, key: str) -> str | None:
    """What is wrong with a key of the mapping that stands at `key`. A number is a name, too: of a class, say."""
    where = f"{_shown(key)} has the key" if key else "there is the key"
    if isinstance(name, str):
        problem = _about_value(name)
        return None if problem is None else f"{where} {name[:40]!r}, which {problem}"
    if isinstance(name, int) and not isinstance(name, bool) and abs(name) < _LARGEST:
        return None
    kind = "a number that is no whole one" if isinstance(name, float | int) and not isinstance(name, bool) else f"a {_kind(name)}"
    return f"{where} `{str(name)[:40] if not isinstance(name, int) else '…'}`, which is {kind}; keys are names. Put it into quotes if it is meant as one."


def _about_value(value: Any) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {'.nan' if math.isnan(value) else '.inf' if value > 0 else '-.inf'}, which is no finite number; give it one, or remove the line."
    if isinstance(value, bool | float) or value is None:
        return None
    if isinstance(value, int):
        return None if abs(value) < _LARGEST else "is a number of too many digits; nothing here is that large."
    if not isinstance(value, str):
        return f"is a {_kind(value)}, which nothing here is; put it into quotes if it is meant as text."
    if any((ord(character) < 32 and character not in "\t\n\r") or ord(character) == 127 for character in value):
        return "holds a control character (NUL, say); write it anew by hand."
    if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
        return "holds half of a character (a lone surrogate); write it anew by hand."
    return None


def _kind(value: Any) -> str:
    """The kind of a value in YAML's words."""
    kinds = {"datetime": "date", "date": "date", "TimeStamp": "date", "time": "time", "bytes": "binary value", "NoneType": "null", "bool": "truth value"}
    return kinds.get(type(value).__name__, f"value of the kind {type(value).__name__}")


def _shown(key: str) -> str:
    """A key as far as it can be read: a hostile one may be long."""
    if not key:
        return "it"
    return key if len(key) <= 120 else f"{key[:60]} … {key[-40:]}"
