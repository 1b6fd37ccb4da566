"""The section `data` of params.yaml: what the line is fed with, by the value of `source`: `shapes`, a public data set, or a folder of annotated images.

source: shapes      → Shapes: images made by the line itself
source: <name>      → of the catalogue of public data sets (`segline.data.public.catalog`): as a folder, in the format and with the keys that the catalogue says
source: <folder>    → the chosen format's `Settings`, a Folder with that format's own keys (see `segline.data.formats.catalog`)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from segline.data.public.catalog import PUBLIC
from segline.errors import DataError
from segline.layout import expanded
from segline.settings import Count, Fraction, Section, Size

SHAPES = "shapes"
"""The value of data.source that is no folder; a folder of this name is written `./shapes`."""

DATA = "data"
"""The folder of a checkout that sources are relative to."""

AUTO = "auto"
"""The value of data.splits.group by which images that show the same belong together."""

FOLDERS = "folder"
"""The value of data.splits.group by which the images of a folder belong together."""

Images = Literal["auto", "rgb", "grey", "as_is"]
Method = Literal["random", "every"]
Drawn = Literal["auto", "displayed", "stored"]
OnError = Literal["fail", "skip"]
OnLeak = Literal["report", "group", "drop"]


def _registry_safe(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", value):
        raise ValueError(f"'{value}' must be lower-case letters, digits and '_', as it becomes part of the registered model's name")
    return value


Name = Annotated[str, AfterValidator(_registry_safe)]


class Shapes(Section):
    """The generated data set."""

    source: Literal["shapes"] = "shapes"  # a folder of this name is written ./shapes
    # of the data set, in the registry: a lower-case letter or digit, then also _; default: shapes
    name: Name | None = None
    train: Count = 400  # images to train on
    val: Count = 40  # images that steer the training
    test: Count = 60  # images that are scored
    size: Size = (96, 128)  # height, width of the generated images, pixels


class Splits(Section):
    """How a folder without official splits is divided; what is left is `train`."""

    # random: each image by a hash of its content, so that added images move no other; every: each n-th name in sorted order, n = 1 / share, for data that stays
    # as it is: an added image moves those behind it
    method: Method = "random"
    val: Fraction = 0.15  # share of the images, on average
    test: Fraction = 0.15  # share of the images, on average
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0  # of `random`: another one draws other splits
    # of `random`: a class that would be missing from a split gets its nearest image there; all others stay where they are
    stratify: bool = False
    # of `random`: what belongs together stays together: `auto` (images that show the same: copies, parts, frames of one scene); `folder`; a CSV file below
    # source with the columns image and group (`patients.csv`, or with another column `patients.csv:hospital`); or a regular
    # expression on the image's path, whose first bracket is the group: `(patient\d+)_`
    group: str | None = None
    # of `random`: for cross-validation, `test` is one of so many equal parts of all images, whatever its share is said to be
    folds: Annotated[int, Field(ge=2, le=100)] | None = None
    fold: Annotated[int, Field(ge=0)] = 0  # which of the folds is `test`, from 0 on
    official: bool = True  # false: the data's own splits are not kept

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> Splits:
        if self.folds is None and self.val + self.test >= 1:
            raise ValueError(f"val + test is {self.val + self.test:g}; it must stay below 1, the rest is for training")
        return self

    @model_validator(mode="after")
    def _belongs_together(self) -> Splits:
        if self.method == "every":
            wrong = [key for key, given in (("stratify", self.stratify), ("group", self.group), ("folds", self.folds)) if given]
            if wrong:
                raise ValueError(f"{wrong[0]} needs `method: random`; `every` looks at the order of names alone")
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold is {self.fold}, and the {self.folds} folds are counted from 0 to {self.folds - 1}")
        if self.folds is not None and self.stratify:
            raise ValueError("stratify moves images between splits, and an image is tested in one of the folds; remove one of the two")
        if self.group not in (None, AUTO, FOLDERS) and self.group_file is None:
            try:
                brackets = re.compile(str(self.group)).groups
            except re.error as error:
                raise ValueError(
                    f"group '{self.group}' is no regular expression ({error}); write `folder`, a CSV file, or an expression with a bracket"
                ) from None
            if not brackets:
                raise ValueError(f"group '{self.group}' has no bracket around what tells the group, as in `(patient\\d+)_`")
        return self

    @property
    def group_file(self) -> str | None:
        """The CSV file that `group` names, relative to the source."""
        file = (self.group or "").partition(":")[0]
        return file if file.lower().endswith(".csv") else None


class Folder(Section):
    """A folder of annotated images. Each format adds its own keys."""

    source: str  # absolute, or relative to the folder data/ of the checkout; DVC watches it, and nothing is changed in it
    # of a public data set: a folder that holds its archives or its unpacked files, absolute or relative to data/, or an http address below which its archives
    # are; default: the catalogue's addresses. No result depends on it
    mirror: str | None = None
    format: str  # the layout in which it is annotated
    # of the data set, in the registry: a lower-case letter or digit, then also _; default: the name of the folder
    name: Name | None = None
    # auto: 8 bits per channel become RGB (grey is repeated), all else stays as it is; rgb: 8-bit RGB alone; grey: one channel; as_is: nothing is converted
    images: Images = "auto"
    # what the truth of images with an EXIF orientation is drawn on: displayed (as viewers turn them), stored (as the files hold them); auto: its size tells
    orientation: Drawn = "auto"
    splits: Splits = Splits()  # where the data has no official splits
    # what an image with an error does: fail (`prepare` stops, and tells all of them) or skip (it is left out, told, and listed in check.json)
    on_error: OnError = "fail"
    most_skipped: Fraction = 0.05  # share of the images that `skip` may leave out; beyond it `prepare` stops
    # what becomes of images that show what an image of another split shows (copies, parts, frames of one scene): report (nothing is changed), group (splits are
    # drawn so that they are in one, as by splits.group: auto) or drop (they are left out of train, and out of val where they show what test shows)
    on_leak: OnLeak = "report"

    @model_validator(mode="after")
    def _can_be_grouped(self) -> Self:
        if self.on_leak == "group" and self.splits.group not in (None, AUTO):
            raise ValueError(f"on_leak: group is splits.group: auto, and splits.group is '{self.splits.group}'; remove one of the two")
        if self.on_leak == "group" and self.splits.method == "every":
            raise ValueError("on_leak: group needs `splits.method: random`; `every` looks at the order of names alone")
        return self

    @property
    def drawn_by(self) -> Splits:
        """How splits are drawn: with what `on_leak` asks for."""
        return self.splits.model_copy(update={"group": AUTO}) if self.on_leak == "group" else self.splits

    @model_validator(mode="after")
    def _mirrors_something(self) -> Self:
        if self.mirror is not None and not is_public(self.source):
            raise ValueError(f"mirror says where the files of a public data set are, and '{self.source}' is none; remove it")
        return self

    def for_model(self, names: Sequence[str]) -> Self:  # noqa: ARG002
        """These settings, to score a model whose classes have these names: they are meant where neither the data nor the settings name any."""
        return self


def is_public(source: object) -> bool:
    """Whether `data.source` names a public data set; a folder of such a name is written `./<name>`."""
    return isinstance(source, str) and source in PUBLIC


def is_address(mirror: str) -> bool:
    """Whether `data.mirror` is asked over the network; else it is a folder."""
    return mirror.startswith(("http://", "https://"))


def locate(source: str, *checkouts: Path) -> Path:
    """`data.source` as a path: absolute, with ~, or relative to the folder `data/` of a checkout, of which the first that has it counts.

    Raises DataError when it is nowhere.
    """
    given = expanded(source)
    places = [given] if given.is_absolute() else [checkout / DATA / given for checkout in checkouts]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise DataError(
            f"data.source: the folder '{source}' does not exist. Give the path of the folder that holds your images, absolute or relative to {DATA}/."
        )
    return found.resolve()


def root_of(settings: Shapes | Folder, raw: Path, *checkouts: Path) -> Path:
    """Where the images of a source are: `raw` (`data/raw`) for generated ones, else as `locate` finds them."""
    return raw if isinstance(settings, Shapes) else locate(settings.source, *checkouts)


def name_of(settings: Shapes | Folder) -> str:
    """The data set's name, the first half of the registered models' names."""
    if settings.name is not None:
        return settings.name
    if isinstance(settings, Shapes):
        return SHAPES
    folder = (DATA / expanded(settings.source)).resolve()
    return re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_") or "folder"
