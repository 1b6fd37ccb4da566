"""The plans of `download` and `prepare`: the section `data` as resolved, the seed of generated images, and the digest of the code that reads this source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segline import written
from segline.data.formats import catalog as formats
from segline.data.public import catalog as public
from segline.data.sources import Folder, Shapes, is_public, name_of
from segline.errors import ParametersError
from segline.files import write_json
from segline.params import Params, Source
from segline.plan.code import Code

VERSION = 1


@dataclass(frozen=True)
class DataPlan:
    """`download.json` or `prepare.json`."""

    stage: str
    settings: Source
    name: str  # of the data set
    seed: int
    code: str
    fetched: str | None = None  # of `download`: the version of the public data set
    version: int = VERSION

    def write(self, file: Path) -> None:
        values = vars(self) | {"settings": self._used()}
        if self.fetched is None:
            del values["fetched"]
        write_json(file, values)

    def _used(self) -> dict[str, Any]:
        """What of the section this stage uses: how images are divided and named does not concern the download."""
        values: dict[str, Any] = self.settings.model_dump(mode="json", exclude={"mirror"})  # which says where, and changes no result
        if self.stage == "download":
            for key in ("splits", "name", "orientation", "on_error", "most_skipped", "on_leak"):
                values.pop(key, None)
            if isinstance(self.settings, Folder) and self.settings.splits.group_file is not None:
                values["splits"] = {"group": self.settings.splits.group}  # a file of the source
        return values


def data_plans(params: Params, code: Code) -> tuple[DataPlan, DataPlan]:
    """Of `download` and of `prepare`."""
    settings = params.data
    if isinstance(settings, Shapes):
        readers, maker, seed = formats.readers(formats.DEFAULT), ["segline.data.shapes"], params.seed
    else:
        readers, maker, seed = formats.readers(settings.format), [], 0
    fetched = None
    if is_public(settings.source):
        maker, fetched = ["segline.data.public.fetch"], public.get(settings.source).version
    download = DataPlan("download", settings, "", seed, code.digest(["segline.data.download", *readers, *maker]), fetched)
    prepare = DataPlan("prepare", settings, name_of(settings), 0, code.digest(["segline.data.prepare", *readers]))
    return download, prepare


def read(file: Path) -> DataPlan:
    """Raises ParametersError when `params` has not run, or wrote what this code cannot read."""
    again = "run `dvc repro params` (or `python pipeline/params.py`) to make it"
    try:
        with written.reading(file, ParametersError, f"{again} anew"):
            values = written.mapping(file)
            if written.version_of(values) > VERSION:
                raise ParametersError(f"{file} was written by a later version of Segline; {again} anew.")
            return written.well_typed(DataPlan(**{**values, "settings": source_from(values["settings"])}), without=("settings",))
    except FileNotFoundError:
        raise ParametersError(f"There is no plan {file}; {again}.") from None


def source_from(values: dict[str, Any]) -> Shapes | Folder:
    """The section `data` as a plan holds it."""
    if values["source"] == "shapes":
        return Shapes.model_validate(values)
    return formats.get(values["format"]).Settings.model_validate(values)
