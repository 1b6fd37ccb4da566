"""Annotation files read into typed classes: what is not as the class says becomes a sentence that names the file and the place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from segline.data.check import brief, fail, read_bytes
from segline.errors import DataError

Number = Annotated[float, Field(allow_inf_nan=False)]
Point = tuple[Number, Number]
"""x, y."""

Pixel = Annotated[int, Field(ge=-(2**31), lt=2**31)]
"""A coordinate in whole pixels."""

Side = Annotated[int, Field(ge=1, lt=2**31)]
"""Height or width of an image in pixels."""

T = TypeVar("T")


class Part(BaseModel):
    """A part of an annotation file. Keys that nothing here asks for are passed over, and no value is converted."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


def text_of(root: Path, file: PurePosixPath) -> str:
    """The content of a text file in UTF-8, or in UTF-16 where it says so. Raises DataError."""
    content = read_bytes(root / file, file.as_posix())
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{brief(file)} is no text in UTF-8; export it again, or save it as UTF-8.") from None


def parsed(kind: TypeAdapter[T], text: str, where: str) -> T:
    """JSON as a value of a type. Raises DataError with a sentence for each place that is not as it must be."""
    try:
        return kind.validate_json(text, strict=True)
    except ValidationError as error:
        problems = list(_sentences(error, where))
    fail(problems)
    raise AssertionError("a ValidationError has problems")


def checked(kind: TypeAdapter[T], value: Any, where: str) -> T:
    """A value that was read already, as `parsed`."""
    try:
        return kind.validate_python(value, strict=True)
    except ValidationError as error:
        problems = list(_sentences(error, where))
    fail(problems)
    raise AssertionError("a ValidationError has problems")


def _sentences(error: ValidationError, where: str) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_context=False):
        message = detail["msg"]
        if detail["type"] == "json_invalid":
            yield f"{where} is not valid JSON ({brief(message.removeprefix('Invalid JSON: '))}); export the annotations again."
            continue
        said = "is missing" if detail["type"] == "missing" else message.replace("Input should", "must").replace("Field required", "is missing")
        said = said if said.startswith(("must", "is")) else f"is wrong: {said[0].lower()}{said[1:]}"
        yield f"{where}: {brief(_place(detail['loc']))} {brief(said)}; correct it, or export the annotations again."


def _place(location: Sequence[int | str]) -> str:
    """`shapes[3].points`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the whole"
