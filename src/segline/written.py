"""Reading back what Segline wrote and somebody may have edited, cut off or replaced: damage becomes a sentence that names the file and what makes it anew."""

from __future__ import annotations

import json
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from segline.errors import SeglineError
from segline_runtime.errors import reason

T = TypeVar("T")

_DAMAGE = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error,
    tokenize.TokenError, SyntaxError,
)  # fmt: skip
"""What reading ends in when a file is not what its writer wrote."""


@contextmanager
def reading(file: Path, kind: type[SeglineError], again: str) -> Iterator[None]:
    """What goes wrong in the block is the fault of `file` and raised as `kind`. A missing file stays a FileNotFoundError, a sentence stays as it is.

    again: what makes the file anew, as the end of a sentence: "run `dvc repro -f …` to make it anew".
    """
    try:
        yield
    except (SeglineError, FileNotFoundError):
        raise
    except OSError as error:
        raise kind(f"{file} cannot be read ({error.strerror or error}); check its permissions, and that it is a file, or {again}.") from None
    except _DAMAGE as error:
        raise kind(f"{file} cannot be read ({_reason(error)}); {again}.") from None


def mapping(file: Path) -> dict[str, Any]:
    """The JSON mapping in a file. To be called within `reading`."""
    values = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise TypeError(f"it holds {_kind(values)} in place of a mapping")
    return values


def version_of(values: dict[str, Any], key: str = "version", default: int | None = None) -> int:
    """The version of a file's format. To be called within `reading`."""
    version = values.get(key, default)
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise ValueError(f"its {key} is {str(version)[:40]}")
    return version


def refuse_later(file: Path, version: int, latest: int, kind: type[SeglineError]) -> None:
    """Raises `kind` where a file's version is none that this Segline knows, and says what to do."""
    if version > latest:
        raise kind(f"{file} was written by a later Segline (version {version}, this one reads up to {latest}); update Segline.")


def well_typed(value: T, *, without: Collection[str] = ()) -> T:
    """A dataclass made of what JSON held, when each of its fields is of its declared type and every number is finite. Raises ValueError.

    without: fields that are looked at elsewhere.
    """
    for field in fields(value):  # type: ignore[arg-type]
        if field.name not in without:
            text = json.dumps(getattr(value, field.name), default=asdict, allow_nan=False)
            try:
                _adapter(get_type_hints(type(value))[field.name]).validate_json(text, strict=True)
            except ValidationError as error:
                detail = error.errors()[0]
                key = ".".join(str(part) for part in (field.name, *detail["loc"]))
                raise ValueError(f"{key}: {detail['msg'][0].lower()}{detail['msg'][1:]}") from None
    return value


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"it lacks {str(error)[:80]}"
    if isinstance(error, RecursionError):
        return "its brackets go too deep"
    return reason(error)


def _kind(value: Any) -> str:
    return {"list": "a list", "str": "a text", "NoneType": "null", "bool": "a truth value"}.get(type(value).__name__, "a number")
