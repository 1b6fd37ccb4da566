"""prepare: source data → the prepared data set that `segline.data.store` reads. Checked, split, counted, and written whole or not at all."""

from __future__ import annotations

import colorsys
import difflib
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from segline.data import splits
from segline.data.check import check_image, decode, fail, name_list, read_bytes, tell
from segline.data.download import Manifest, source_files
from segline.data.formats.base import BACKGROUND, Format, Record, SourceData, SourceObject
from segline.data.formats.catalog import FORMATS
from segline.data.formats.coco import encode_mask
from segline.data.store import IGNORE, SPLITS, DatasetInfo, PreparedDataset
from segline.errors import DataError
from segline.files import whole
from segline_runtime.specification import ClassInfo

_KEPT = {"JPEG": ".jpg", "PNG": ".png"}
"""File types copied byte for byte; everything else becomes an RGB PNG."""

_PALETTE = (
    (230, 25, 75), (60, 180, 75), (0, 130, 200), (255, 225, 25), (245, 130, 48), (145, 30, 180), (70, 240, 240), (240, 50, 230), (210, 245, 60),
    (250, 190, 212), (0, 128, 128), (220, 190, 255), (170, 110, 40), (255, 250, 200), (128, 0, 0), (170, 255, 195), (128, 128, 0), (255, 215, 180), (0, 0, 128),
)  # fmt: skip


def prepare(
    *,
    raw: Path,
    root: Path,
    name: str,
    classes: Sequence[str] | None,
    ignore: Sequence[int] | None,
    method: splits.Method,
    val: float,
    test: float,
    seed: int,
    target: Path,
) -> None:
    """Write `target` (`data/prepared`) from the manifest in `raw` and the images below `root`; generated data has `raw` itself as root.

    `classes` and `ignore` as data.classes and data.ignore; `method`, `val`, `test` as data.splits.
    Raises DataError with every problem found, and writes nothing then.
    """
    manifest = Manifest.read(raw)
    files = source_files(root, manifest.format)
    changed = manifest.differences(Manifest.of(manifest.dataset, manifest.format, root, files))
    if changed:
        raise DataError(
            f"{name_list(changed, 4)} below {root} changed since `download` listed the files; run `dvc repro` (or `python pipeline/download.py`) again."
        )
    source = FORMATS[manifest.format].read(root, classes, ignore)
    _not_empty(source, root)
    names = _names(source.records)
    official = [record.split for record in source.records]
    assigned = splits.assign([record.image.as_posix() for record in source.records], official, method, val, test, seed)
    _write(root, source, names, assigned, name=name, classes=_class_infos(source), fingerprint=manifest.fingerprint, target=target)


def read_folder(
    root: Path,
    data_format: str,
    target: Path,
    *,
    model_classes: Sequence[ClassInfo],
    classes: Sequence[str] | None = None,
    ignore: Sequence[int] | None = None,
    name: str = "folder",
) -> PreparedDataset:
    """Prepare a whole annotated folder as one `test` split in `target`, with the classes of a model, matched by name.

    Where neither the data nor `classes` names the classes, the format's own names are meant if the model knows one of them, else the model's names by id.
    Raises DataError for problems of the data, and for classes that occur in it and that the model does not know.
    """
    if data_format not in FORMATS:
        raise DataError(f"There is no format '{data_format}'; the formats are {', '.join(FORMATS)}.")
    files = source_files(root, data_format)
    own = FORMATS[data_format]
    source = own.read(root, classes if classes is not None else _implied_classes(own, model_classes), ignore)
    _not_empty(source, root)
    relabel = _match(source, model_classes)
    fingerprint = Manifest.of("folder", data_format, root, files).fingerprint
    names = _names([Record(record.image, "test", record.truth) for record in source.records])
    _write(root, source, names, ["test"] * len(names), name=name, classes=model_classes, fingerprint=fingerprint, target=target, relabel=relabel)
    return PreparedDataset(target)


@dataclass
class _Counts:
    """What is counted over the train split, by class id and by channel value."""

    pixels: NDArray[np.int64]  # (K,)
    image_pixels: NDArray[np.int64]  # (K,)
    values: NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, 256), dtype=np.int64))

    def add(self, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        here = np.bincount(mask.ravel(), minlength=IGNORE + 1)[: len(self.pixels)]
        self.pixels += here
        self.image_pixels += np.where(here > 0, here.sum(), 0)
        for channel in range(3):
            self.values[channel] += np.bincount(image[..., channel].ravel(), minlength=256)

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Per channel, of values scaled to 0…1. A channel that is constant has the standard deviation 1, so that dividing by it is harmless."""
        if not self.values.any():
            return (0.0,) * 3, (1.0,) * 3
        scale = np.arange(256) / 255
        mean = (self.values * scale).sum(axis=1) / self.values.sum(axis=1)
        variance = (self.values * (scale - mean[:, None]) ** 2).sum(axis=1) / self.values.sum(axis=1)
        std = np.where(variance > 1e-12, np.sqrt(variance), 1.0)
        return tuple(round(float(v), 6) for v in mean), tuple(round(float(v), 6) for v in std)


class _SplitWriter:
    """Writes one split: images, masks and `instances.json`, and hashes what it writes."""

    def __init__(self, folder: Path, classes: Sequence[ClassInfo], instances: bool) -> None:
        self.folder = folder
        self.instances = instances
        self.objects = 0
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.categories = [{"id": c.id, "name": c.name} for c in classes if c.thing]
        self._hash = hashlib.sha256()
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()

    def add(self, stem: str, suffix: str, content: bytes, mask: NDArray[np.uint8], objects: Sequence[SourceObject]) -> None:
        (self.folder / "images" / (stem + suffix)).write_bytes(content)
        (self.folder / "masks" / f"{stem}.png").write_bytes(_png(Image.fromarray(mask)))
        number = len(self.images) + 1
        annotations = [
            {"id": len(self.annotations) + i, "image_id": number, "category_id": o.label, "iscrowd": int(o.crowd), **encode_mask(o.mask)}
            for i, o in enumerate(objects, start=1)
        ]
        self.images.append({"id": number, "file_name": stem + suffix, "height": mask.shape[0], "width": mask.shape[1]})
        self.annotations += annotations
        self.objects += sum(not o.crowd for o in objects)
        for part in (stem.encode(), content, repr(mask.shape).encode(), mask.tobytes(), json.dumps(annotations, sort_keys=True).encode()):
            self._hash.update(hashlib.sha256(part).digest())

    def finish(self) -> str:
        """Write what concerns the whole split; the hash of its images and truth."""
        if self.instances:
            content = {"images": self.images, "annotations": self.annotations, "categories": self.categories}
            (self.folder / "instances.json").write_text(json.dumps(content) + "\n")
        return self._hash.hexdigest()


def _write(
    root: Path,
    source: SourceData,
    names: Sequence[str],
    assigned: Sequence[str],
    *,
    name: str,
    classes: Sequence[ClassInfo],
    fingerprint: str,
    target: Path,
    relabel: dict[int, int] | None = None,
) -> None:
    """`relabel` maps class ids of the source to those of `classes`, by name; ids that it lacks must not occur."""
    counts = _Counts(np.zeros(len(classes), dtype=np.int64), np.zeros(len(classes), dtype=np.int64))
    refused = list(source.refused)
    problems: list[str] = []
    instances = "instances" in source.truths
    with whole(target) as folder:
        folder.mkdir()
        writers = {split: _SplitWriter(folder / split, classes, instances) for split in splits.counts(assigned)}
        for i in _progress(sorted(range(len(names)), key=lambda i: names[i]), "prepare"):
            record = source.records[i]
            try:
                content = read_bytes(root / record.image, record.image.as_posix())
                image = decode(content, record.image.as_posix())
                check_image(image, record.image.as_posix())
                truth = record.truth(image)
                mask, objects = truth.mask, truth.objects
                if relabel is not None:
                    mask, objects = _relabelled(mask, objects, relabel, source, classes, record)
            except DataError as error:
                problems += error.problems
                continue
            refused += truth.refused
            if problems:
                continue  # nothing of this will stay; what is left is to collect the other problems
            rgb = image.convert("RGB")
            suffix = _KEPT.get(image.format or "")
            if suffix is None:
                suffix, content = ".png", _png(rgb)
            writers[assigned[i]].add(names[i], suffix, content, mask, objects)
            if assigned[i] == "train":
                counts.add(np.asarray(rgb), mask)
        fail(problems)
        mean, std = counts.mean_and_std()
        info = DatasetInfo(
            name=name,
            classes=tuple(classes),
            axes="HWC",
            channels=3,
            dtype="uint8",
            mean=mean,
            std=std,
            class_pixels=tuple(int(n) for n in counts.pixels),
            class_image_pixels=tuple(int(n) for n in counts.image_pixels),
            counts=splits.counts(assigned),
            instance_counts={split: writer.objects for split, writer in writers.items()} if instances else {},
            truths=source.truths,
            fingerprint=fingerprint,
            split_hashes={split: writer.finish() for split, writer in writers.items()},
            licence=source.licence,
        )
        accepted = {"images": info.counts, "objects": info.instance_counts, "left_out": source.left_out}
        check = {"refused": [asdict(item) for item in refused], "accepted": accepted}
        (folder / "check.json").write_text(json.dumps(check, indent=2) + "\n")
        (folder / "dataset.json").write_text(json.dumps(info.to_dict(), indent=2) + "\n")
    tell(refused)


def _not_empty(source: SourceData, root: Path) -> None:
    if not source.records:
        reasons = "; ".join(f"{item.file}: {item.reason}" for item in source.refused[:3])
        raise DataError(
            f"The folder {root} holds no annotated image" + (f" ({reasons})." if reasons else ".") + " Annotate some, or correct data.root and data.format."
        )


def _names(records: Sequence[Record]) -> list[str]:
    """A file stem for each record, unique within its official split even where case does not count: the image's own, with its folders, or with a hash."""
    found: list[str] = [""] * len(records)
    for split in (None, *SPLITS):
        group = [i for i, record in enumerate(records) if record.split == split]
        if not group:
            continue
        images = [records[i].image for i in group]
        common = Path(commonpath([image.parent.as_posix() or "." for image in images])) if all(i.parent != Path() for i in images) else Path()
        inside = [image.relative_to(common) if common != Path() else image for image in images]
        stages = (
            [image.stem for image in images],
            ["_".join(image.with_suffix("").parts) for image in inside],
            [f"{image.stem}_{hashlib.sha256(image.as_posix().encode()).hexdigest()[:12]}" for image in inside],
        )
        chosen = next(stems for stems in stages if len({stem.lower() for stem in stems}) == len(stems))
        for i, stem in zip(group, chosen, strict=True):
            found[i] = stem
    return found


def _class_infos(source: SourceData) -> tuple[ClassInfo, ...]:
    """Classes with colours: black for a background, the others from a fixed palette of distinct colours."""
    first = int(source.classes[0].name == BACKGROUND)
    colours = [(0, 0, 0)] * first + [_colour(i) for i in range(len(source.classes) - first)]
    return tuple(ClassInfo(i, c.name, colour, c.thing) for i, (c, colour) in enumerate(zip(source.classes, colours, strict=True)))


def _colour(i: int) -> tuple[int, int, int]:
    if i < len(_PALETTE):
        return _PALETTE[i]
    # Golden-ratio hues never repeat; saturation and value keep neighbours apart.
    red, green, blue = colorsys.hsv_to_rgb(i * 0.618034 % 1, (0.55, 0.75, 0.95)[i % 3], (0.95, 0.7)[i % 2])
    return round(255 * red), round(255 * green), round(255 * blue)


def _implied_classes(own: Format, model_classes: Sequence[ClassInfo]) -> Sequence[str] | None:
    known = [c.name for c in model_classes]
    if own.default_classes is None or set(own.default_classes) & set(known) - {BACKGROUND}:
        return None
    return known


def _match(source: SourceData, model_classes: Sequence[ClassInfo]) -> dict[int, int]:
    """Class ids of the source → of the model, by name; classes that the model does not know are left out."""
    known = {c.name: c.id for c in model_classes}
    found = {i: known[c.name] for i, c in enumerate(source.classes) if c.name in known}
    if not any(source.classes[i].name != BACKGROUND for i in found):
        names = name_list(c.name for c in source.classes)
        raise DataError(f"The data's classes ({names}) and the model's ({name_list(known)}) have no name in common; give the data the model's class names.")
    return found


def _relabelled(
    mask: NDArray[np.uint8],
    objects: Sequence[SourceObject],
    relabel: dict[int, int],
    source: SourceData,
    model_classes: Sequence[ClassInfo],
    record: Record,
) -> tuple[NDArray[np.uint8], tuple[SourceObject, ...]]:
    """Truth in the model's class ids. Raises DataError for classes that it does not know."""
    present = {int(v) for v in np.unique(mask)} - {IGNORE} | {o.label for o in objects}
    problems = []
    for label in sorted(present - relabel.keys()):
        unknown = source.classes[label].name
        near = difflib.get_close_matches(unknown, [c.name for c in model_classes], n=1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; it knows {name_list(c.name for c in model_classes)}."
        problems.append(f"{record.image.as_posix()} shows the class '{unknown}', which the model does not know{hint}")
    fail(problems)
    table = np.full(IGNORE + 1, IGNORE, dtype=np.uint8)
    for old, new in relabel.items():
        table[old] = new
    return table[mask], tuple(SourceObject(relabel[o.label], o.mask, o.crowd) for o in objects)


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _progress(items: Sequence[int], what: str) -> Iterable[int] | Iterator[int]:
    console = Console(stderr=True)
    return track(items, what, console=console, transient=True, disable=not console.is_terminal)
