"""What DVC needs of params.yaml beyond its being valid: DVC knows no defaults, expands no `~`, and watches the data folder in every case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from segline import params
from segline.errors import ParametersError


def check(path: Path, *, named: Iterable[str], outputs: Iterable[Path], main: Path) -> None:
    """Validate a params.yaml for a run under DVC.

    named: dotted keys that dvc.yaml names. outputs: what the line writes. main: the main checkout; `path` may be in a temporary copy of it.
    Raises ParametersError with one sentence per problem.
    """
    settings = params.read(path)
    values = YAML(typ="safe", pure=True).load(path)
    problems = [f"{key} is missing; DVC knows no defaults, so write it out: {_default(settings, key)}." for key in named if not _written(values, key)]
    problems += _about_root(settings.data.root, path.parent.resolve(), [output.resolve() for output in outputs], main)
    if problems:
        raise ParametersError(*(f"{path.name}: {problem}" for problem in problems))


def _written(values: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


def _default(settings: params.Params, key: str) -> str:
    value: Any = settings.model_dump(mode="json")
    for part in key.split("."):
        value = value[part]
    return f"`{key.split('.')[-1]}: {value}`"


def _about_root(root: str, checkout: Path, outputs: list[Path], main: Path) -> Iterator[str]:
    if root.startswith("~"):
        yield f"data.root: DVC does not expand '~'; write '{Path(root).expanduser()}'."
        return
    folder = (checkout / root).resolve()
    clash = next((output for output in outputs if output.is_relative_to(folder) or folder.is_relative_to(output)), None)
    if not root or clash:
        where = f" ({clash.relative_to(checkout)})" if clash else ""
        yield f"data.root is '{root}', which is or holds a folder that the line writes{where}. Keep your images in a folder of their own."
    elif checkout != main and not Path(root).is_absolute() and not folder.is_relative_to(checkout):
        yield (
            f"data.root is '{root}', which points elsewhere from the copy that DVC made of the checkout for this experiment. "
            f"For `--temp` and `--queue` write it as an absolute path: '{(main / root).resolve()}'."
        )
    elif not folder.is_dir():
        yield f"data.root: the folder '{root}' does not exist. DVC watches it with every `data.dataset`; give the folder of your images, or data/own."
