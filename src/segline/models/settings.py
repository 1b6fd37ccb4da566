"""An entry of `models:` in params.yaml: what every model has. The keys of one architecture stand beside its network, in `models/<architecture>/settings.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from segline.losses.truth_maps import TruthMap
from segline.models.views import View
from segline.settings import AUTO, Count, Positive, Section, Size
from segline.training.settings import Train, Transform
from segline_runtime.specification import Crf, Fit, Geometry
from segline_runtime.specification import Tile as TileGeometry

FitOrAuto = Literal["stretch", "shorter_side", "letterbox", "native", "auto"]

Scale = Annotated[float, Field(ge=0.25, le=4)]
"""Multiple of a size."""


_OF_FIXED_SIZE: tuple[Fit, ...] = ("stretch", "letterbox")
_OF_DYNAMO: tuple[Fit, ...] = ("stretch", "native")


class Tile(Section):
    """Windows of one size, in pixels of the image: large images are predicted window by window, and trained on in crops of that size."""

    size: Size  # height, width
    # pixels that neighbours share, in which they are blended; exact (unet_2015): as many as it takes that each pixel is predicted from all that the network
    # sees around it, as in one pass over the image (with predict.flips too, where the sides of image and tile are multiples of the network's stride)
    overlap: Count | Literal["exact"] = 64

    @model_validator(mode="after")
    def _moves_on(self) -> Tile:
        if self.overlap != "exact" and 2 * self.overlap >= min(self.size):
            raise ValueError(f"overlap is {self.overlap} and size {list(self.size)}; the overlap must stay below half of the smaller side")
        return self

    def geometry(self, reach: int | None, stride: int) -> TileGeometry:
        """As the specification carries it. reach, stride: of the network, see `ModelSettings`."""
        if self.overlap != "exact":
            return TileGeometry(self.size, self.overlap)
        assert reach is not None, "settings without it are refused"
        return TileGeometry(self.size, 2 * reach, context=reach, step=stride)


class Input(Section):
    """How an image becomes the network's input: resized (antialiased when it shrinks), padded, cropped for training, cut into tiles for prediction."""

    size: Size | Literal["auto"] = Field(
        default="auto", description="[height, width] in pixels (each 32 to 8192), or auto: the data's median image, at most 512 long"
    )
    # stretch: to exactly `size`; shorter_side: shorter side to min(size), longer at most max(size); letterbox: into `size`, padded; native: as it is;
    # auto: as the images' shapes ask for; then `size: auto` is no larger than their narrow classes and small objects ask for, and very large images get tiles
    fit: FitOrAuto = "stretch"
    crop: Size | Literal["auto"] | None = Field(
        default=None,
        description="[height, width] in pixels (each 32 to 8192): training sees random crops of this size, cut out after augmentation; "
        "auto: the data's median image, each side at most 512",
    )
    tile: Tile | None = None  # for large images; needs `fit: native`
    # mean per channel, of values scaled to 0…1; default: what the weights were trained with, or the data's own;
    # auto: the same, but the data's own where the weights' would leave values that no photograph has, as of dark 16-bit images
    mean: list[float] | Literal["auto"] | None = None
    std: list[Positive] | Literal["auto"] | None = None  # standard deviation, likewise

    for_auto: ClassVar[tuple[Fit, ...]] = ("stretch", "letterbox", "native")
    """Among which `fit: auto` decides."""

    @model_validator(mode="after")
    def _belongs_together(self) -> Input:
        if self.tile is not None and self.fit not in ("native", AUTO):
            raise ValueError(f"tile needs `fit: native`, and fit is {self.fit}: tiles are cut from the image at its own size")
        if self.fit == "native" and self.size != "auto":
            raise ValueError("`fit: native` keeps each image's own size, so `size` has no meaning; remove it, or set `crop` for training")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std belong together; give both, or neither")
        if (self.mean == AUTO) != (self.std == AUTO):
            raise ValueError("mean and std belong together; write auto for both, or numbers for both")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} values and std {len(self.std)}; both have one per channel")
        return self

    @property
    def training_crop(self) -> tuple[int, int] | None:
        """Height, width of what training cuts out of an image; None, too, while nobody has decided what `auto` is."""
        if self.crop == "auto":
            return None
        return self.crop or (self.tile.size if self.tile else None)

    def geometry(self, size: tuple[int, int] | None, *, reach: int | None, stride: int) -> Geometry:
        """As the specification carries it; `size` is what `auto` stands for, `reach` and `stride` are the network's (see `ModelSettings`)."""
        # What is asked before the data is known, whether networks run and transforms exist, needs some geometry.
        untold: Fit = self.for_auto[0] if self.tile is None else "native"
        fit = untold if self.fit == AUTO else self.fit
        chosen = None if fit == "native" else size if self.size == AUTO else self.size
        return Geometry(fit, chosen, None if self.tile is None else self.tile.geometry(reach, stride))


class Predict(Section):
    """What an architecture lets one choose when it predicts: a change reruns evaluation and export, not training. Training validates without it."""

    # test-time augmentation: the image is also shown mirrored left to right (horizontal), upside down (vertical), or in all four ways (both)
    flips: Literal["none", "horizontal", "vertical", "both"] = "none"
    scales: list[Scale] = Field(default=[1.0], min_length=1, max_length=8)  # and in these sizes, each a multiple of the one that `input` says

    @model_validator(mode="after")
    def _no_scale_twice(self) -> Predict:
        if len(set(self.scales)) < len(self.scales):
            raise ValueError(f"scales are {self.scales}: the same size twice changes nothing but the time it takes; name each once")
        return self

    @property
    def views(self) -> tuple[View, ...]:
        """In which a network is shown each image; none where there is the image as it is alone."""
        upside_down = (False, True) if self.flips in ("vertical", "both") else (False,)
        mirrored = (False, True) if self.flips in ("horizontal", "both") else (False,)
        factors = [Fraction(str(scale)).limit_denominator(1000) for scale in self.scales]
        views = tuple(View(*ways) for ways in product(factors, upside_down, mirrored))
        return () if views == (View(),) else views

    @property
    def refinement(self) -> Crf | None:
        """What refines the network's predictions by the image, if anything does."""
        return None

    # Values of the keys with which nothing is dropped for a low score: so parity compares a model that finds nothing otherwise.
    without_threshold: ClassVar[dict[str, float]] = {}

    def unthresholded(self) -> Predict:
        """With nothing dropped for a low score."""
        return self.model_copy(update=self.without_threshold)


class Entry(Section):
    """An entry of `models:`, whether it is trained or made of others."""

    task_of_arch: ClassVar[str]
    """A word of the tasks' catalogue: what `arch` implies."""

    arch: str  # the architecture; it decides which further keys there are

    @property
    def task(self) -> str:
        """A word of the tasks' catalogue: what `arch` implies, unless a key says more."""
        return self.task_of_arch

    @property
    def members(self) -> tuple[str, ...]:
        """The entries that it is made of."""
        return ()

    def network(self, models: Mapping[str, Entry]) -> Entry:
        """The entry among `models` whose network it has; itself, where that is its own."""
        del models
        return self

    def unthresholded(self) -> Self:
        """With nothing dropped for a low score: so parity compares a model that finds nothing otherwise."""
        return self


@dataclass(frozen=True)
class Lessons:
    """How much a network of one kind is shown, from scratch, until it learns little more: what the shipped examples are trained for."""

    images: int = 0
    images_per_class: int = 0  # and so many more for each class that it tells apart
    objects: int = 0
    most_epochs: int = 150  # of few images: the same ones again teach less and less


class ModelSettings(Entry):
    """What every model that is trained has. An architecture adds its own keys, and declares by class variables what is true of its network."""

    stride: ClassVar[int] = 32
    """Sides of the network's input are padded to multiples of it."""
    exporter: ClassVar[Literal["torchscript", "dynamo"]] = "torchscript"
    """Which of torch's ONNX exporters knows the network's operators."""
    export_sizes: ClassVar[Literal["any", "fixed"]] = "any"
    """Whether the exported network takes inputs of any size; `fixed` needs `input.fit` stretch or letterbox."""
    lessons: ClassVar[Lessons] = Lessons(images=3_000, images_per_class=400)
    """By which `train.epochs: auto` is decided."""
    largest_batch: ClassVar[int] = 8
    """Of `train.batch_size: auto`: more would be fewer steps."""
    kept_bytes: ClassVar[int] = 4_000
    """About how much a training keeps for the backward pass for each pixel of the network's input, in fp32, with ResNet-18 where an encoder can be chosen.
    By it `train.batch_size: auto` fits into memory."""

    @property
    def reach(self) -> int | None:
        """How far from a pixel, in pixels of the network's input, that lies which can change its scores; None where it is not known, or the whole image."""
        return None

    # a set of defaults by which the field trains this family (`segline recipes` lists them); what the entry says itself counts. The name is in no plan
    recipe: str | None = Field(default=None, exclude=True)
    input: Input = Input()
    # random transforms of albumentations, and `CopyPaste`, in order, before the crop: `[{HorizontalFlip: {p: 0.5}}]`; fills teach nothing, sizes are cropped
    # or padded back
    augment: list[Transform] = []
    train: Train = Train()
    predict: Predict = Predict()

    @model_validator(mode="after")
    def _exports(self) -> ModelSettings:
        if self.export_sizes == "fixed" and self.input.fit not in (*_OF_FIXED_SIZE, AUTO):
            raise ValueError(f"{self.arch} exports at one size only, so input.fit must be stretch or letterbox, not {self.input.fit}")
        if self.exporter == "dynamo" and self.input.fit not in (*_OF_DYNAMO, AUTO):
            raise ValueError(f"{self.arch} exports with input.fit stretch or native, not {self.input.fit}")
        if self.export_sizes == "fixed" and self.train.multi_scale is not None:
            raise ValueError(f"{self.arch} takes images of one size only; remove train.multi_scale")
        return self

    @property
    def fits_for_auto(self) -> tuple[Fit, ...]:
        """Among which `input.fit: auto` decides: those that the network can be exported with."""
        exportable = [fit for fit in self.input.for_auto if self.export_sizes == "any" or fit in _OF_FIXED_SIZE]
        return tuple(fit for fit in exportable if self.exporter != "dynamo" or fit in _OF_DYNAMO)

    @model_validator(mode="after")
    def _tiles_without_seams(self) -> ModelSettings:
        tile = self.input.tile
        if tile is None or tile.overlap != "exact":
            return self
        if self.reach is None:
            raise ValueError(
                "input.tile.overlap is exact, and what this network says of a pixel may depend on all of the image; give the overlap in pixels, "
                "or choose unet_2015 without group norm"
            )
        if min(tile.size) < 2 * self.reach + self.stride + 1:
            raise ValueError(
                f"input.tile.size is {list(tile.size)}, and with `overlap: exact` {self.reach} pixels on each side of a tile are context alone; "
                f"give sides of more than {2 * self.reach + self.stride}, or the overlap in pixels"
            )
        if self.predict.scales != [1.0]:
            raise ValueError(
                f"predict.scales are {self.predict.scales}: enlarged or reduced, windows do not fit together without seams; "
                "remove predict.scales, or give input.tile.overlap in pixels"
            )
        return self

    def geometry(self, size: tuple[int, int] | None) -> Geometry:
        """As the specification carries it; `size` is what `auto` stands for."""
        return self.input.geometry(size, reach=self.reach, stride=self.stride)

    def unthresholded(self) -> Self:
        return self.model_copy(update={"predict": self.predict.unthresholded()})

    @property
    def without_threshold(self) -> Mapping[str, float]:
        """What parity falls back to; most architectures have no threshold."""
        return self.predict.without_threshold

    @property
    def wanted_maps(self) -> tuple[TruthMap, ...]:
        """What its losses read of each image beside the truth itself."""
        return ()

    @property
    def weights_file(self) -> str | None:
        """The file that `weights` names, if it names one: its content is part of the plan."""
        weights = getattr(self, "weights", "none")
        return None if weights in ("none", "imagenet") else str(weights)

    @property
    def pretrained(self) -> bool:
        """Whether the training starts from weights that were trained before."""
        return getattr(self, "weights", "none") != "none"
