"""prepare: source data → the prepared data set that `segline.data.store` reads. Checked, split, counted, and written whole or not at all."""

from __future__ import annotations

import colorsys
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from os.path import commonpath
from pathlib import Path

import numpy as np

from segline.choices import nearest
from segline.data import splits
from segline.data.check import Refused, check_root, copies_across, fail, name_list, read_bytes, tell
from segline.data.formats import catalog
from segline.data.formats.base import BACKGROUND, Record, SourceData, SourceTruth
from segline.data.groups import group_files
from segline.data.images import Decoder, SourceImage
from segline.data.manifest import Manifest
from segline.data.occurrence import Occurrence
from segline.data.orientation import read_truth
from segline.data.presence import classes_shown
from segline.data.sources import Drawn, Folder, Shapes, name_of
from segline.data.statistics import Statistics
from segline.data.store import BACKDROP, IGNORE, SPLITS, DatasetInfo, PreparedDataset
from segline.data.writer import SplitWriter
from segline.errors import DataError
from segline.files import whole
from segline.progress import progress
from segline_runtime.specification import ClassInfo, ImageKind

_PALETTE = (
    (230, 25, 75), (60, 180, 75), (0, 130, 200), (255, 225, 25), (245, 130, 48), (145, 30, 180), (70, 240, 240), (240, 50, 230), (210, 245, 60),
    (250, 190, 212), (0, 128, 128), (220, 190, 255), (170, 110, 40), (255, 250, 200), (128, 0, 0), (170, 255, 195), (128, 128, 0), (255, 215, 180), (0, 0, 128),
)  # fmt: skip


def prepare(settings: Shapes | Folder, *, raw: Path, root: Path, target: Path) -> None:
    """Write `target` (`data/prepared`) from the manifest in `raw` and the images below `root`; generated data has `raw` itself as root.

    Raises DataError with every problem found, and writes nothing then.
    """
    manifest = Manifest.read(raw)
    folder = catalog.generated(raw) if isinstance(settings, Shapes) else settings
    check_root(root)
    _unchanged(manifest.changed(root), root)
    source = catalog.get(folder.format).FORMAT.read(root, folder)
    _unchanged(manifest.differences({*source.files, *group_files(root, folder.splits)}), root)
    _not_empty(source, root)
    names = _names(source.records)
    official = [record.split for record in source.records]
    contents = {entry.path: entry.sha256 for entry in manifest.files}
    images = [record.image for record in source.records]
    shown = partial(classes_shown, root, source, Decoder(folder.images), folder.orientation)
    assigned = splits.assign(images, official, contents, folder.splits, root=root, present=shown)
    copies = copies_across(images, assigned, contents)
    decoder = Decoder(folder.images)
    name, classes = name_of(settings), _class_infos(source)
    _write(
        root,
        source,
        names,
        assigned,
        decoder,
        folder.orientation,
        name=name,
        classes=classes,
        fingerprint=manifest.fingerprint,
        target=target,
        occurrence=Occurrence([c.name for c in classes], names_are_the_formats=source.names_are_the_formats),
        copies=copies,
    )


def read_folder(
    settings: Folder, root: Path, target: Path, *, model_classes: Sequence[ClassInfo], image: ImageKind | None = None, name: str = "folder"
) -> PreparedDataset:
    """Prepare a whole annotated folder as one `test` split in `target`, with the classes of a model, matched by name.

    Where neither the data nor `settings` names the classes, the format's own names are meant if the model knows one of them, else the model's names by id.
    `image` is the kind of images that the model takes, where `settings` leaves it open.
    Raises DataError for problems of the data, and for classes that occur in it and that the model does not know.
    """
    check_root(root)
    source = catalog.get(settings.format).FORMAT.read(root, settings.for_model([c.name for c in model_classes]))
    _not_empty(source, root)
    relabel = _match(source, model_classes)
    source = replace(source, records=tuple(replace(record, split="test") for record in source.records))
    names = _names(source.records)
    decoder = Decoder(settings.images, image if settings.images == "auto" else None)
    assigned, drawn = ["test"] * len(names), settings.orientation
    _write(root, source, names, assigned, decoder, drawn, name=name, classes=model_classes, fingerprint="", target=target, relabel=relabel)
    return PreparedDataset(target)


def _write(
    root: Path,
    source: SourceData,
    names: Sequence[str],
    assigned: Sequence[str],
    decoder: Decoder,
    drawn: Drawn,
    *,
    name: str,
    classes: Sequence[ClassInfo],
    fingerprint: str,
    target: Path,
    relabel: dict[int, int] | None = None,
    occurrence: Occurrence | None = None,
    copies: Sequence[Refused] = (),
) -> None:
    """`relabel` maps class ids of the source to those of `classes`, by name; ids that it lacks must not occur. `occurrence` sees all truth and may object."""
    statistics = Statistics(len(classes))
    refused = list(source.refused)
    problems: list[str] = []
    turned: dict[str, list[str]] = {}
    redrawn: Counter[str] = Counter()
    with whole(target) as folder, ExitStack() as opened:
        folder.mkdir()
        writers = {split: SplitWriter(folder / split, classes, source.truths) for split in SPLITS}
        for writer in writers.values():
            opened.callback(writer.close)
        told = opened.enter_context(progress("preparing images", len(names)))
        for i in sorted(range(len(names)), key=lambda i: names[i]):
            told(1)
            record = source.records[i]
            try:
                image = _read(root, record, decoder)
                truth, drawn_on = read_truth(image, record.truth, drawn, record.image.as_posix())
                if relabel is not None:
                    truth = _relabelled(truth, relabel, source, classes, record)
            except DataError as error:
                problems += error.problems
                continue
            refused += truth.refused
            redrawn.update(truth.redrawn)
            if image.header.orientation != 1:
                turned.setdefault(f"truth as {drawn_on}", []).append(record.image.as_posix())
            if occurrence is not None:
                occurrence.add(assigned[i], truth.mask, (shown.label for shown in truth.objects))
            if problems:
                continue  # nothing of this will stay; what is left is to collect the other problems
            suffix, content = image.stored(decoder.kind)
            writers[assigned[i]].add(names[i], suffix, content, image.pixels.shape[:2], truth.mask, truth.objects)
            if assigned[i] == "train":
                statistics.add(image.pixels, truth.mask)
        fail(problems)
        fail([] if occurrence is None else occurrence.problems())
        info = _info(source, writers, statistics, name=name, classes=classes, image=decoder.kind, fingerprint=fingerprint)
        accepted = {"images": info.counts, "objects": info.instance_counts, "left_out": source.left_out}
        check = {"refused": [asdict(item) for item in refused], "accepted": accepted, "turned": turned, "boxes_redrawn": dict(redrawn)}
        check["copies"] = [asdict(item) for item in copies]
        (folder / "check.json").write_text(json.dumps(check, indent=2) + "\n")
        (folder / "dataset.json").write_text(json.dumps(info.to_dict(), indent=2) + "\n")
    tell(refused)
    tell(copies, "in two splits")


def _read(root: Path, record: Record, decoder: Decoder) -> SourceImage:
    """Raises DataError."""
    shown = record.image.as_posix()
    return decoder(read_bytes(root / record.image, shown), shown)


def _info(
    source: SourceData,
    writers: dict[str, SplitWriter],
    statistics: Statistics,
    *,
    name: str,
    classes: Sequence[ClassInfo],
    image: ImageKind,
    fingerprint: str,
) -> DatasetInfo:
    """Finishes the splits. Splits without images have a folder, and no place in the counts."""
    mean, std = statistics.mean_and_std(image)
    hashes = {split: writer.finish() for split, writer in writers.items()}
    filled = [split for split in SPLITS if writers[split].count]
    objects = {"instances", "boxes"} & set(source.truths)
    return DatasetInfo(
        name=name,
        classes=tuple(classes),
        image=image,
        mean=mean,
        std=std,
        class_pixels=tuple(int(n) for n in statistics.class_pixels),
        class_image_pixels=tuple(int(n) for n in statistics.class_image_pixels),
        counts={split: writers[split].count for split in filled},
        instance_counts={split: writers[split].objects for split in filled} if objects else {},
        truths=source.truths,
        fingerprint=fingerprint,
        split_hashes={split: hashes[split] for split in filled},
        licence=source.licence,
        image_size=statistics.image_size(),
    )


def _unchanged(changed: Sequence[str], root: Path) -> None:
    if changed:
        raise DataError(
            f"{name_list(changed, 4)} below {root} changed since `download` listed the files; run `dvc repro` (or `python pipeline/download.py`) again."
        )


def _not_empty(source: SourceData, root: Path) -> None:
    if not source.records:
        reasons = "; ".join(f"{item.file}: {item.reason}" for item in source.refused[:3])
        raise DataError(
            f"The folder {root} holds no annotated image" + (f" ({reasons})." if reasons else ".") + " Annotate some, or correct data.source and data.format."
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
    colours = [BACKDROP] * first + [_colour(i) for i in range(len(source.classes) - first)]
    return tuple(ClassInfo(i, c.name, colour, c.thing) for i, (c, colour) in enumerate(zip(source.classes, colours, strict=True)))


def _colour(i: int) -> tuple[int, int, int]:
    if i < len(_PALETTE):
        return _PALETTE[i]
    # Golden-ratio hues never repeat; saturation and value keep neighbours apart.
    red, green, blue = colorsys.hsv_to_rgb(i * 0.618034 % 1, (0.55, 0.75, 0.95)[i % 3], (0.95, 0.7)[i % 2])
    return round(255 * red), round(255 * green), round(255 * blue)


def _match(source: SourceData, model_classes: Sequence[ClassInfo]) -> dict[int, int]:
    """Class ids of the source → of the model, by name; classes that the model does not know are left out."""
    known = {c.name: c.id for c in model_classes}
    found = {i: known[c.name] for i, c in enumerate(source.classes) if c.name in known}
    if not any(source.classes[i].name != BACKGROUND for i in found):
        names = name_list(c.name for c in source.classes)
        raise DataError(f"The data's classes ({names}) and the model's ({name_list(known)}) have no name in common; give the data the model's class names.")
    return found


def _relabelled(truth: SourceTruth, relabel: dict[int, int], source: SourceData, model_classes: Sequence[ClassInfo], record: Record) -> SourceTruth:
    """Truth in the model's class ids. Raises DataError for classes that it does not know."""
    present = {o.label for o in truth.objects}
    if truth.mask is not None:
        present |= {int(v) for v in np.unique(truth.mask)} - {IGNORE}
    problems = []
    for label in sorted(present - relabel.keys()):
        unknown = source.classes[label].name
        near = nearest(unknown, [c.name for c in model_classes])
        hint = f"; did you mean '{near}'?" if near else f"; it knows {name_list(c.name for c in model_classes)}."
        problems.append(f"{record.image.as_posix()} shows the class '{unknown}', which the model does not know{hint}")
    fail(problems)
    table = np.full(IGNORE + 1, IGNORE, dtype=np.uint8)
    for old, new in relabel.items():
        table[old] = new
    objects = tuple(replace(o, label=relabel[o.label]) for o in truth.objects)
    return replace(truth, mask=None if truth.mask is None else table[truth.mask], objects=objects)
