"""What DVC needs of params.yaml beyond its being valid: DVC knows no defaults, expands no `~`, and watches the folder of the images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from segline import params
from segline.data.sources import Shapes
from segline.errors import ParametersError
from segline.layout import Checkout


def check(checkout: Checkout) -> params.Params:
    """Validate params.yaml for a run under DVC. Raises ParametersError with one sentence per problem."""
    settings = params.read(checkout.params)
    problems = list(_not_written(YAML(typ="safe", pure=True).load(checkout.params)))
    if not isinstance(settings.data, Shapes):
        problems += _about_source(settings.data.source, checkout)
    if problems:
        raise ParametersError(*(f"{checkout.params.name}: {problem}" for problem in problems))
    return settings


def _not_written(values: Any) -> Iterator[str]:
    """dvc.yaml names `models` and `data.source`; without a model there is no valid file."""
    if "data" not in values:
        yield "data is missing; DVC knows no defaults, so write it out: `data: {source: shapes}`."


def _about_source(source: str, checkout: Checkout) -> Iterator[str]:
    if source.startswith("~"):
        yield f"data.source: DVC does not expand '~'; write '{Path(source).expanduser()}'."
        return
    root, data = checkout.root.resolve(), checkout.root.resolve() / "data"
    folder = (data / source).resolve()
    outputs: Iterable[Path] = (checkout.raw, checkout.prepared, checkout.plans, checkout.data_plan.path, checkout.models)
    clash = next((output for output in outputs if output.resolve().is_relative_to(folder) or folder.is_relative_to(output.resolve())), None)
    if not source or clash:
        where = f" ({clash.relative_to(checkout.root)})" if clash else ""
        yield f"data.source is '{source}', which is or holds a folder that the line writes{where}. Keep your images in a folder of their own."
    elif root != checkout.main and not Path(source).is_absolute() and not folder.is_relative_to(root):
        yield (
            f"data.source is '{source}', which points elsewhere from the copy that DVC made of the checkout for this experiment. "
            f"For `--temp` and `--queue` write it as an absolute path: '{(checkout.main / 'data' / source).resolve()}'."
        )
