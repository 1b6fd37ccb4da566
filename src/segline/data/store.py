"""The prepared data set on disk: what `prepare` writes and everything after it reads.

    data/prepared/
      dataset.json            DatasetInfo
      extents.json            sizes of the training images, their objects and the parts of their classes (see `segline.data.extents`)
      check.json              what was refused and why; which images viewers turn, and what their truth was drawn on; how many boxes were drawn anew
      {train,val,test}/       all three, also where one has no images; a few large files each, in Arrow's IPC format (see `segline.data.packs`)
        split.json            number, hash, and the files
        index-000.arrow       the images in their order: name, hash, size, number of objects
        images-000.arrow …    encoded, at their own size; JPEG or PNG, and .npy `(H, W, C)` for what these cannot hold
        masks-000.arrow …     index PNG, 255 = ignore                                           (truth `index`)
        objects-000.arrow …   class, box, area, crowd, RLE mask                                 (truth `instances`); without masks (truth `boxes`)

Class ids are contiguous from 0 and serve as mask values and as labels of objects alike. Ids of images are 1, 2, … in their order.
`segline convert` writes the images and their truth as files that other tools open.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle

from segline import written
from segline.data import run_lengths
from segline.errors import DataError
from segline_runtime.errors import InputError
from segline_runtime.images import RGB, to_array
from segline_runtime.specification import ClassInfo, ImageKind

if TYPE_CHECKING:
    from segline.data.contents import Contents

VERSION = 3
"""Of `dataset.json`. Version 1 has no key `version`."""

_PACKED = 3
"""The first version whose images lie in few files."""

_AGAIN = "run `dvc repro -f prepare` to write it anew"

IGNORE = 255
"""Mask value of pixels that take no part in loss or metrics."""

BACKDROP = (0, 0, 0)
"""The colour of a background: pictures leave its pixels as they are."""

SPLITS = ("train", "val", "test")
Truth = Literal["index", "instances", "boxes"]

TRUTHS: dict[Truth, str] = {
    "index": "class masks (semantic truth)",
    "instances": "object masks (instance truth)",
    "boxes": "object boxes (detection truth)",
}
"""The kinds of truth, in words."""


@dataclass(frozen=True)
class ImageSizes:
    """Height, width in pixels; each side for itself."""

    median: tuple[int, int]
    min: tuple[int, int]
    max: tuple[int, int]


@dataclass(frozen=True)
class DatasetInfo:
    """`dataset.json`. Pixel counts are of the train split, by class id; ignored pixels are not counted."""

    name: str
    classes: tuple[ClassInfo, ...]
    image: ImageKind
    mean: tuple[float, ...]  # per channel over train, values divided by image.scale
    std: tuple[float, ...]
    class_pixels: tuple[int, ...]  # pixels of each class; all 0 without masks
    class_image_pixels: tuple[int, ...]  # pixels of the images that contain the class (for median-frequency weights)
    counts: dict[str, int]  # images per split that has some
    instance_counts: dict[str, int]  # objects per split (crowds left out); empty without objects
    truths: tuple[Truth, ...]  # `instances` has boxes too, without saying so
    fingerprint: str  # hash of the source; empty for a folder that is only scored
    split_hashes: dict[str, str]  # hash of each split's images and truth, of splits that have some
    licence: str
    ignore: int = IGNORE
    image_size: ImageSizes | None = None  # over train; None where there is none, and in version 1
    version: int = VERSION

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DatasetInfo:
        """From what JSON gives back, of any version up to this one. Raises DataError for a later one, KeyError and TypeError for what is none."""
        values = dict(values)
        version = values.pop("version", 1)
        if version > VERSION:
            raise DataError(
                f"The data set was prepared by a later Segline (version {version} of dataset.json, this one reads up to {VERSION}); update Segline."
            )
        if version == 1:
            dtype = values.pop("dtype")
            values["image"] = {"axes": values.pop("axes"), "channels": values.pop("channels"), "dtype": dtype}
        classes = tuple(ClassInfo(c["id"], c["name"], tuple(c["color"]), c["thing"]) for c in values["classes"])
        tuples = {k: tuple(values[k]) for k in ("mean", "std", "class_pixels", "class_image_pixels", "truths")}
        sizes = values.get("image_size")
        image_size = None if sizes is None else ImageSizes(*((int(sizes[k][0]), int(sizes[k][1])) for k in ("median", "min", "max")))
        return cls(**{**values, **tuples, "classes": classes, "image": ImageKind(**values["image"]), "image_size": image_size})

    @property
    def scored(self) -> str:
        """The split that models are scored on: `test`, or `val` where there is no test split."""
        return "test" if self.counts.get("test") else "val"

    @property
    def data_hash(self) -> str:
        """One hash of all splits."""
        return "-".join(self.split_hashes[s][:12] for s in SPLITS if s in self.split_hashes)

    def has(self, truth: Truth) -> bool:
        """Whether a kind of truth can be read; outlined objects have boxes."""
        return truth in self.truths or (truth == "boxes" and "instances" in self.truths)


class EncodedMasks(Sequence[NDArray[np.bool_]]):
    """Object masks of one image as COCO's compressed RLE; each is decoded to `(H, W)` when it is asked for."""

    def __init__(self, rles: Sequence[dict[str, Any]], size: tuple[int, int]) -> None:
        """`rles` as pycocotools takes them, all of `size` (height, width)."""
        self.rles = tuple(rles)
        self.size = size

    def __len__(self) -> int:
        return len(self.rles)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return EncodedMasks(self.rles[index], self.size)
        try:
            return rle.decode(self.rles[index]).view(np.bool_)
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"An object's mask of the prepared data cannot be decoded ({error}); {_AGAIN}.") from None

    def stacked(self) -> NDArray[np.bool_]:
        """All of them, `(N, H, W)`."""
        masks = np.zeros((len(self), *self.size), dtype=np.bool_)
        for i, mask in enumerate(self):
            masks[i] = mask
        return masks


class Instances:
    """The annotated objects of one image, in its own pixels. Objects may overlap; masks keep holes.

    boxes    (N, 4) float32, xyxy; the source's own where it has some, which need not fit the masks to the pixel
    areas    (N,) float64, square pixels; the source's own likewise. They decide what counts as small, medium or large
    labels   (N,) int64, class ids
    crowd    (N,) bool: a group that is neither to be found nor to be counted as wrong
    masks    (N, H, W) bool; decoded all at once when they are first asked for, `mask(i)` decodes one
    """

    def __init__(
        self,
        masks: NDArray[np.bool_] | EncodedMasks | None,
        boxes: NDArray[np.float32],
        labels: NDArray[np.int64],
        crowd: NDArray[np.bool_],
        areas: NDArray[np.float64] | None = None,
    ) -> None:
        """`masks` is None where there are boxes alone; `areas` where they are those of the masks, or of the boxes."""
        self._masks = masks
        self._areas = areas
        self.boxes = boxes
        self.labels = labels
        self.crowd = crowd

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def outlined(self) -> bool:
        """Whether there are masks."""
        return self._masks is not None

    @property
    def areas(self) -> NDArray[np.float64]:
        if self._areas is None:
            sides = (self.boxes[:, 2:] - self.boxes[:, :2]).astype(np.float64)
            self._areas = np.array([rle.area(one) for one in self.rles()], dtype=np.float64) if self.outlined else sides.prod(axis=1)
        return self._areas

    @property
    def masks(self) -> NDArray[np.bool_]:
        assert self._masks is not None, "these objects have boxes alone"
        if isinstance(self._masks, EncodedMasks):
            self._masks = self._masks.stacked()
        return self._masks

    def mask(self, index: int) -> NDArray[np.bool_]:
        """One mask `(H, W)`."""
        assert self._masks is not None, "these objects have boxes alone"
        mask: NDArray[np.bool_] = self._masks[index]
        return mask

    def rles(self) -> list[dict[str, Any]]:
        """The masks as pycocotools takes them: {`size`, `counts`} each; nothing is decoded where they are kept so."""
        assert self._masks is not None, "these objects have boxes alone"
        if isinstance(self._masks, EncodedMasks):
            return list(self._masks.rles)
        return [run_lengths.encode(mask) for mask in self._masks]


@dataclass(frozen=True)
class Sample:
    """One image with its truth, untouched. Truth that was not asked for is None."""

    image_id: int  # COCO image id, unique within the split
    name: str  # file stem
    image: NDArray[Any]  # (H, W, C) of the data set's ImageKind
    mask: NDArray[np.uint8] | None  # (H, W) class ids, 255 = ignore
    instances: Instances | None
    maps: Mapping[str, NDArray[np.floating]] | None = None  # of an augmented sample: what losses read beside the mask, by name (see `training.truth_maps`)


class Split(Sequence[Sample]):
    """The images of one split, read on demand, in the order of their names, with the kinds of truth that were asked for and no other.

    `part` makes a view of some of them. Nothing is opened before it is needed, and a copy in another process opens its own files.
    """

    def __init__(
        self, folder: Path, truths: Sequence[Truth], image: ImageKind = RGB, *, indices: Sequence[int] | None = None, contents: Contents | None = None
    ) -> None:
        """`indices` and `contents` are `part`'s."""
        from segline.data.contents import Contents  # Arrow takes a while to import, and most of what imports this module reads no split

        self.folder = folder
        self.name = folder.name
        self.truths = tuple(truths)
        self.image = image
        self._contents = Contents(folder) if contents is None else contents
        self._indices = indices

    @property
    def _positions(self) -> Sequence[int]:
        return range(len(self._contents)) if self._indices is None else self._indices

    def names(self) -> list[str]:
        """The images' file names."""
        names = self._contents.names()
        return [names[i] for i in self._positions]

    def hashes(self) -> list[str]:
        """A hash of each image's content, in the order of `names`; equal images have equal ones, in whatever split or data set."""
        hashes = self._contents.hashes()
        return [hashes[i] for i in self._positions]

    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of each image, in the order of `names`."""
        sizes = self._contents.sizes()
        return [sizes[i] for i in self._positions]

    def content(self, index: int) -> bytes:
        """An image's encoded file."""
        return self._contents.content("images", self._positions[index])

    def require(self) -> None:
        """Raises DataError when a file of the images, or of the truth that is asked for, is no longer what `prepare` wrote."""
        self._contents.pack("images")
        if "index" in self.truths:
            self._contents.pack("masks")
        if {"instances", "boxes"} & set(self.truths):
            self._contents.pack("objects")

    def part(self, indices: Sequence[int]) -> Split:
        positions = self._positions
        return Split(self.folder, self.truths, self.image, indices=[positions[i] for i in indices], contents=self._contents)

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        assert isinstance(index, int | np.integer), "a split is read image by image; use part() for several"
        position = self._positions[int(index)]
        name = self._contents.name(position)
        image = _read_image(self._contents.content("images", position), f"{self.folder}: {name}", self.image)
        mask = _read_mask(self._contents.content("masks", position), f"{self.folder}: the mask of {name}") if "index" in self.truths else None
        if self._contents.size(position) != image.shape[:2]:
            raise DataError(f"{self.folder}: {name} is not of the size that is said of it; {_AGAIN}.")
        return self.around(int(index), image, mask)

    def around(self, index: int, image: NDArray[Any], mask: NDArray[np.uint8] | None) -> Sample:
        """What else there is to an image that has been decoded, with its index mask where the split is read with one."""
        position = self._positions[index]
        name = self._contents.name(position)
        objects = "instances" in self.truths or "boxes" in self.truths
        instances = self._objects(position, name) if objects else None
        return Sample(position + 1, Path(name).stem, image, mask, instances)

    def objects(self, index: int) -> Instances:
        """Those of an image, which is not decoded."""
        position = self._positions[index]
        return self._objects(position, self._contents.name(position))

    def _objects(self, position: int, name: str) -> Instances:
        found = self._contents.objects(position)
        height, width = self._contents.size(position)
        boxes = np.concatenate([found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]], axis=1).astype(np.float32)
        masks = None
        if None not in found.counts:
            masks = EncodedMasks([{"size": [height, width], "counts": counts} for counts in found.counts], (height, width))
        elif "instances" in self.truths:
            raise DataError(f"{self.folder}: an object of {name} lacks its mask; {_AGAIN}.")
        return Instances(masks, boxes, found.labels.astype(np.int64), found.crowd, found.areas)


class PreparedDataset:
    """`data/prepared/`. Raises DataError when there is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            with written.reading(folder / "dataset.json", DataError, _AGAIN):
                values = written.mapping(folder / "dataset.json")
                self.info = _sound(DatasetInfo.from_dict(values))
                version = written.version_of(values, default=1)
        except FileNotFoundError:
            raise DataError(f"{folder} holds no prepared data set; run `dvc repro prepare` (or `python pipeline/prepare.py`) first.") from None
        if version < _PACKED:
            raise DataError(f"{folder} was prepared by an earlier Segline, whose images lay in files of their own; run `dvc repro` to write it anew.")

    def split(self, name: str, truths: Sequence[Truth]) -> Split:
        """The images of one split with these kinds of truth. Raises DataError when the data set lacks the split or a truth."""
        if not self.info.counts.get(name):
            present = ", ".join(s for s in SPLITS if self.info.counts.get(s))
            raise DataError(f"The data set '{self.info.name}' has no {name} split; it has {present}.")
        for truth in truths:
            if not self.info.has(truth):
                raise DataError(f"The data set '{self.info.name}' has no {TRUTHS[truth]}; it has {self._truths()}.")
        split = Split(self.folder / name, truths, self.info.image)
        if len(split) != self.info.counts[name]:
            raise DataError(
                f"{self.folder / name} holds {len(split)} images, and dataset.json says {self.info.counts[name]}; "
                "run `dvc repro -f prepare` to write the prepared data anew."
            )
        split.require()
        return split

    def require(self, truth: Truth, model: str, remedy: str | None = None) -> None:
        """Raises DataError when the truth that a model learns from is missing. remedy: a sentence, in place of one that says to remove the model."""
        if not self.info.has(truth):
            raise DataError(
                f"The model '{model}' learns from {TRUTHS[truth]}, and the data set '{self.info.name}' has only {self._truths()}. "
                + (remedy or f"Remove models.{model} from params.yaml, or choose data that has it.")
            )

    def _truths(self) -> str:
        return " and ".join(TRUTHS[truth] for truth in self.info.truths)


def _read_image(content: bytes, name: str, kind: ImageKind) -> NDArray[Any]:
    """A stored image `(H, W, C)`. Raises DataError when it cannot be read."""
    try:
        return to_array(content, kind)
    except InputError as error:
        raise DataError(f"{name}: {error} Run `dvc repro -f prepare` to write the prepared data anew.") from None


def content_hash(content: bytes) -> str:
    """By which an image is known again."""
    return hashlib.sha256(content).hexdigest()[:16]


def _sound(info: DatasetInfo) -> DatasetInfo:
    """The description of a data set when its parts fit each other. Raises ValueError."""
    written.well_typed(info)
    if [one.id for one in info.classes] != list(range(len(info.classes))) or not info.classes:
        raise ValueError("its classes are not numbered from 0 on")
    if not len(info.mean) == len(info.std) == info.image.channels or min(*info.std, info.image.scale) <= 0:
        raise ValueError(f"its mean and std are not of {info.image.channels} channels, or not above 0")
    if not len(info.class_pixels) == len(info.class_image_pixels) == len(info.classes):
        raise ValueError("its counts of pixels are not those of its classes")
    present = {split for split, number in info.counts.items() if number > 0}
    if not {info.scored} <= present <= info.split_hashes.keys() or not info.counts.keys() | info.split_hashes.keys() <= set(SPLITS):
        raise ValueError("it lacks the count or the hash of a split")
    if info.image_size is not None and min(*info.image_size.median, *info.image_size.min) < 1:
        raise ValueError("its images have no size")
    return info


def _read_mask(content: bytes, name: str) -> NDArray[np.uint8]:
    """An index mask `(H, W)`. Raises DataError when it cannot be read."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            labels = np.asarray(image)
    except Exception as error:  # Pillow's decoders have no common kind of error
        raise DataError(f"{name} cannot be decoded ({error}); {_AGAIN}.") from None
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise DataError(f"{name} is no 8-bit mask of labels; {_AGAIN}.")
    return labels
