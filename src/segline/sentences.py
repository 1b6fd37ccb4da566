"""Validation's findings as sentences: each names the key, and for an unknown one the nearest right one, however deep it stands."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from segline.choices import nearest
from segline.errors import ParametersError

T = TypeVar("T", bound=BaseModel)


_LONGEST = 80
"""Characters of a given value that a sentence repeats."""

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


def quoted(value: object) -> str:
    """A value as it was given, in one line and no longer than a sentence bears."""
    text = repr(value) if not isinstance(value, str) or len(value) <= _LONGEST else repr(value[: 2 * _LONGEST])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def no_weights(given: str) -> str:
    """Of `weights:` that are no word and no file."""
    near = nearest(given, ("imagenet", "none"))
    return f"'{given}' is neither imagenet nor none, and no such file exists. " + (f"Did you mean '{near}'?" if near else "Give the path of a state-dict file.")


class Problems:
    """All problems of one file, collected and told together."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._sentences: list[str] = []

    def add(self, *sentences: str) -> None:
        self._sentences += sentences

    def raise_if_any(self) -> None:
        """Raises ParametersError with everything that was found."""
        if self._sentences:
            raise ParametersError(*(f"{self._file}: {sentence}" for sentence in dict.fromkeys(self._sentences)))

    def validated(self, section: type[T] | None, value: Any, where: str, *, inner: Sequence[str] = ()) -> T | None:
        """`value` as a `section` that stands at the key `where`; None, and sentences, when it is wrong. Problems within the keys `inner` are told elsewhere."""
        if section is None:
            return None
        # JSON's strict mode refuses "0.1" for 0.1 and true for 1, yet takes a list for a tuple.
        text = json.dumps(value, default=str)
        try:
            return section.model_validate_json(text, strict=True)
        except ValidationError as error:
            for detail in _one_per_key(section, error.errors()):
                path = _path(section, detail["loc"])
                if not (path and path[0] in inner and len(path) > 1):
                    self.add(_sentence(section, detail, path, where, _at(value, path)))
            return None


def _one_per_key(section: type[BaseModel], details: list[ErrorDetails]) -> Iterable[ErrorDetails]:
    """Of a key that may be of several types, pydantic tells a problem for each type; one is enough."""
    seen: dict[tuple[str, ...], ErrorDetails] = {}
    for detail in details:
        path = _path(section, detail["loc"])
        if path not in seen or detail["type"] in ("extra_forbidden", "value_error"):
            seen[path] = detail
    return seen.values()


def _path(section: type[BaseModel], location: tuple[int | str, ...]) -> tuple[str, ...]:
    """The keys of a problem as the user wrote them: pydantic adds the types of a union and `[key]`."""
    path: list[str] = []
    kind: Any = section
    for part in location:
        if part == "[key]":
            continue
        inner = _section_of(kind)
        if inner is not None:
            path.append(str(part))
            field = inner.model_fields.get(str(part))
            kind = None if field is None else field.annotation
        elif _is(kind, dict):
            path.append(str(part))
            kind = get_args(kind)[1] if get_args(kind) else None
        elif _is(kind, list) or _is(kind, tuple):
            if not isinstance(part, int):
                break
            path.append(str(part))
            kind = get_args(kind)[0] if get_args(kind) else None
        elif isinstance(part, int):
            path.append(str(part))
        else:
            break  # a type of a union
    return tuple(path)


def _bare(kind: Any) -> Any:
    """A type without annotations, and without `None`."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        rest = [option for option in get_args(kind) if option is not type(None)]
        return _bare(rest[0]) if len(rest) == 1 else kind
    return kind


def _section_of(kind: Any) -> type[BaseModel] | None:
    bare = _bare(kind)
    return bare if isinstance(bare, type) and issubclass(bare, BaseModel) else None


def _is(kind: Any, container: type) -> bool:
    bare = _bare(kind)
    return bare is container or get_origin(bare) is container


def _around(section: type[BaseModel], path: tuple[str, ...]) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """The section in which the last key of `path` stands, and the field that it is."""
    kind: Any = section
    holder: type[BaseModel] | None = section
    field: FieldInfo | None = None
    for part in path:
        holder = _section_of(kind)
        if holder is not None:
            field = holder.model_fields.get(part)
            kind = None if field is None else field.annotation
        else:
            bare = _bare(kind)
            kind = get_args(bare)[-1] if get_args(bare) else None
            field = None
    return holder, field


def _sentence(section: type[BaseModel], detail: ErrorDetails, path: tuple[str, ...], where: str, whole: Any) -> str:
    key = ".".join(part for part in (where, *path) if part)
    given = detail["input"]
    context = detail.get("ctx", {})
    holder, field = _around(section, path)
    match detail["type"]:
        case "extra_forbidden":
            return _unknown_key(key, path[-1], sorted(holder.model_fields) if holder else [])
        case "missing":
            return f"{key} is missing."
        case "literal_error" if field is None or field.description is None:
            return _wrong_word(key, given, str(context.get("expected")))
        case "float_type" | "int_type" | "float_parsing" | "int_parsing" if isinstance(given, str) and _DECIMAL_COMMA.fullmatch(given.strip()):
            return f"{key} is {quoted(given)}; write decimals with a point and without quotes: {given.strip().replace(',', '.')}."
        case "too_short" if key == "models":
            return "models is empty; at least one model is needed, for example `unet: {arch: unet}`."
        case "value_error":
            return f"{key}: {context['error']}." if key else f"{context['error']}."
    if given is None:
        example = "at least one model, for example `unet: {arch: unet}`" if key == "models" else "a value"
        return f"{key} is empty (null); give it {example}, or remove the line to use the default."
    if field is not None and field.description:
        return f"{key} is {quoted(whole)}; it must be {field.description}."
    return f"{key} is {quoted(given)}: {detail['msg'][0].lower()}{detail['msg'][1:]}."


def _at(value: Any, path: tuple[str, ...]) -> Any:
    """What the user wrote at a key; pydantic may tell of a part of it."""
    for part in path:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _unknown_key(key: str, name: str, known: list[str]) -> str:
    near = nearest(name, known, cutoff=0.5)
    if name.isdigit():
        return f"{key} is no known key; a comma ends a value, so decimals are written with a point (0.{name}), not with a comma."
    return f"{key} is no known key" + (f"; did you mean '{near}'?" if near else f"; known here are {', '.join(known)}.")


def _wrong_word(key: str, given: Any, expected: str) -> str:
    near = nearest(str(given), re.findall(r"'([^']*)'", expected))
    return f"{key} is {quoted(given)}; it must be {expected}." + (f" Did you mean '{near}'?" if near else "")
