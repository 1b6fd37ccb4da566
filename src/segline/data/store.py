"""The prepared data set on disk: what `prepare` writes and everything after it reads.

    data/prepared/
      dataset.json            DatasetInfo
      check.json              what was refused and why
      {train,val,test}/
        images/<name>.<ext>   at their own size
        masks/<name>.png      index PNG, 255 = ignore         (truth `index`)
        instances.json        COCO: RLE masks, boxes xywh     (truth `instances`)

Class ids are contiguous from 0 and serve as mask values and as COCO category ids alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle

from segline.errors import DataError
from segline_runtime.specification import ClassInfo

IGNORE = 255
"""Mask value of pixels that take no part in loss or metrics."""

SPLITS = ("train", "val", "test")
Truth = Literal["index", "instances"]


@dataclass(frozen=True)
class DatasetInfo:
    """`dataset.json`. Pixel counts are of the train split, by class id; ignored pixels are not counted."""

    name: str
    classes: tuple[ClassInfo, ...]
    axes: str  # of an image array: "HWC"
    channels: int
    dtype: str  # "uint8"
    mean: tuple[float, ...]  # per channel over train, values scaled to 0…1
    std: tuple[float, ...]
    class_pixels: tuple[int, ...]  # pixels of each class
    class_image_pixels: tuple[int, ...]  # pixels of the images that contain the class (for median-frequency weights)
    counts: dict[str, int]  # images per split
    instance_counts: dict[str, int]  # objects per split (crowds left out); empty without instance truth
    truths: tuple[Truth, ...]
    fingerprint: str  # hash of the source
    split_hashes: dict[str, str]  # hash of each split's images and truth
    licence: str
    ignore: int = IGNORE

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DatasetInfo:
        classes = tuple(ClassInfo(c["id"], c["name"], tuple(c["color"]), c["thing"]) for c in values["classes"])
        tuples = {k: tuple(values[k]) for k in ("mean", "std", "class_pixels", "class_image_pixels", "truths")}
        return cls(**{**values, **tuples, "classes": classes})

    @property
    def scored(self) -> str:
        """The split that models are scored on: `test`, or `val` where there is no test split."""
        return "test" if self.counts.get("test") else "val"

    @property
    def data_hash(self) -> str:
        """One hash of all splits."""
        return "-".join(self.split_hashes[s][:12] for s in SPLITS if s in self.split_hashes)


@dataclass(frozen=True)
class Instances:
    """The annotated objects of one image, in its own pixels. Objects may overlap; masks keep holes."""

    masks: NDArray[np.bool_]  # (N, H, W)
    boxes: NDArray[np.float32]  # (N, 4) xyxy
    labels: NDArray[np.int64]  # (N,) class ids
    crowd: NDArray[np.bool_]  # (N,) a group that is neither to be found nor to be counted as wrong


@dataclass(frozen=True)
class Sample:
    """One image with its truth, untouched."""

    image_id: int  # COCO image id, unique within the split
    name: str  # file stem
    image: NDArray[np.uint8]  # (H, W, C) RGB
    mask: NDArray[np.uint8] | None  # (H, W) class ids, 255 = ignore
    instances: Instances | None


class Split(Sequence[Sample]):
    """The images of one split, read on demand, in the order of their names. `part` makes a view of some of them."""

    def __init__(self, folder: Path, truths: Sequence[Truth], indices: Sequence[int] | None = None) -> None:
        self.folder = folder
        self.name = folder.name
        self.truths = tuple(truths)
        self._indices = indices

    @cached_property
    def files(self) -> list[Path]:
        files = sorted((self.folder / "images").iterdir())
        return files if self._indices is None else [files[i] for i in self._indices]

    @cached_property
    def coco(self) -> dict[str, Any]:
        """`instances.json` as it stands, of the whole split."""
        content: dict[str, Any] = json.loads((self.folder / "instances.json").read_text())
        return content

    @cached_property
    def _image_ids(self) -> dict[str, int]:
        if "instances" not in self.truths:
            return {file.name: i for i, file in enumerate(self.files)}
        return {image["file_name"]: image["id"] for image in self.coco["images"]}

    @cached_property
    def _annotations(self) -> dict[int, list[dict[str, Any]]]:
        by_image: dict[int, list[dict[str, Any]]] = {}
        for annotation in self.coco["annotations"]:
            by_image.setdefault(annotation["image_id"], []).append(annotation)
        return by_image

    def part(self, indices: Sequence[int]) -> Split:
        base = range(len(self.files)) if self._indices is None else self._indices
        return Split(self.folder, self.truths, [base[i] for i in indices])

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        assert isinstance(index, int), "a split is read image by image; use part() for several"
        file = self.files[index]
        image = read_image(file)
        image_id = self._image_ids[file.name]
        mask = None
        if "index" in self.truths:
            mask = np.asarray(Image.open(self.folder / "masks" / f"{file.stem}.png"))
        instances = self._instances(image_id, image.shape[:2]) if "instances" in self.truths else None
        return Sample(image_id, file.stem, image, mask, instances)

    def _instances(self, image_id: int, size: tuple[int, int]) -> Instances:
        annotations = self._annotations.get(image_id, [])
        masks = np.zeros((len(annotations), *size), dtype=np.bool_)
        boxes = np.zeros((len(annotations), 4), dtype=np.float32)
        for i, annotation in enumerate(annotations):
            masks[i] = rle.decode(annotation["segmentation"])
            x, y, w, h = annotation["bbox"]
            boxes[i] = x, y, x + w, y + h
        labels = np.array([a["category_id"] for a in annotations], dtype=np.int64)
        crowd = np.array([bool(a["iscrowd"]) for a in annotations], dtype=np.bool_)
        return Instances(masks, boxes, labels, crowd)


class PreparedDataset:
    """`data/prepared/`. Raises DataError when there is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.info = DatasetInfo.from_dict(json.loads((folder / "dataset.json").read_text()))
        except FileNotFoundError:
            raise DataError(f"{folder} holds no prepared data set; run `dvc repro prepare` (or `python pipeline/prepare.py`) first.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder / 'dataset.json'} cannot be read ({error}); run `dvc repro -f prepare` to write it anew.") from None

    def split(self, name: str) -> Split:
        if not self.info.counts.get(name):
            present = ", ".join(s for s in SPLITS if self.info.counts.get(s))
            raise DataError(f"The data set '{self.info.name}' has no {name} split; it has {present}.")
        return Split(self.folder / name, self.info.truths)

    def require(self, truth: Truth, model: str) -> None:
        """Raises DataError when the truth that a model learns from is missing."""
        if truth not in self.info.truths:
            words = {"index": "class masks (semantic truth)", "instances": "object masks (instance truth)"}
            raise DataError(
                f"The model '{model}' learns from {words[truth]}, and the data set '{self.info.name}' has only "
                f"{' and '.join(words[t] for t in self.info.truths)}. Remove models.{model} from params.yaml, or choose data that has it."
            )


def read_image(file: Path) -> NDArray[np.uint8]:
    """RGB uint8 `(H, W, 3)`."""
    return np.asarray(Image.open(file).convert("RGB"))
