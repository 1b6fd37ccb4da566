"""A folder of annotated images as it is named on the command line: its format, and the keys of that format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segline.errors import DataError, ParametersError

if TYPE_CHECKING:
    from segline.data.sources import Folder


def given(pairs: Sequence[str]) -> dict[str, Any]:
    """The keys of `--set KEY=VALUE`, their values read as YAML."""
    from segline import plain_yaml

    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise DataError(f"--set {pair} has no '='; write KEY=VALUE, for example --set images=grey.")
        try:
            found[key.strip()] = plain_yaml.parse(value, pair)
        except ParametersError:
            raise DataError(f"--set {pair}: '{value}' is no value that params.yaml could hold; check its brackets and quotes.") from None
    return found


def settings(root: Path, data_format: str, keys: Mapping[str, Any], *, without: Sequence[str] = ()) -> Folder:
    """The settings of the folder in its format. `without`: keys that cannot be given here.

    Raises DataError for keys that the format does not have, ParametersError for wrong values.
    """
    from segline.data.formats import catalog
    from segline.sentences import Problems

    kind = catalog.get(data_format).Settings
    known = [key for key in kind.model_fields if key not in ("source", "format", "mirror", *without)]
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise DataError(*(f"The format '{data_format}' has no setting '{key}' to give on the command line; it has {', '.join(known)}." for key in unknown))
    problems = Problems(f"--format {data_format}")
    found = problems.validated(kind, {"source": str(root.resolve()), "format": data_format, **keys}, "")
    problems.raise_if_any()
    assert found is not None
    return found
