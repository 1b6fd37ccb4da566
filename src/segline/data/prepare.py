"""prepare: source data → the prepared data set that `segline.data.store` reads. Checked, split, counted, and written whole or not at all."""

from __future__ import annotations

import colorsys
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np

from segline.choices import nearest
from segline.data import splits
from segline.data.check import Refused, check_root, copies_across, fail, name_list, tell
from segline.data.extents import Extents
from segline.data.findings import KINDS, Finding
from segline.data.formats import catalog
from segline.data.formats.base import BACKGROUND, Record, SourceData, SourceTruth
from segline.data.groups import group_files
from segline.data.images import Decoder
from segline.data.leaks import across
from segline.data.leaks.gathered import Gathered
from segline.data.leaks.taken import fingerprints
from segline.data.manifest import Manifest
from segline.data.occurrence import Occurrence
from segline.data.palettes import confusions
from segline.data.parallel import in_order, processes_for
from segline.data.piece import Piece, Reader
from segline.data.presence import classes_shown
from segline.data.sources import AUTO, Folder, Shapes, name_of
from segline.data.statistics import Statistics
from segline.data.store import BACKDROP, IGNORE, SPLITS, DatasetInfo, PreparedDataset
from segline.data.survey import Survey
from segline.data.writer import SplitWriter, Storing
from segline.errors import DataError
from segline.files import whole
from segline.progress import progress
from segline.provenance import file_digest
from segline_runtime.specification import ClassInfo, ImageKind

CHECK_VERSION = 1
"""Of `check.json`."""

_SPOOL = "carried"
"""Folder for what processes hand each other while the data set is written."""

_PALETTE = (
    (230, 25, 75), (60, 180, 75), (0, 130, 200), (255, 225, 25), (245, 130, 48), (145, 30, 180), (70, 240, 240), (240, 50, 230), (210, 245, 60),
    (250, 190, 212), (0, 128, 128), (220, 190, 255), (170, 110, 40), (255, 250, 200), (128, 0, 0), (170, 255, 195), (128, 128, 0), (255, 215, 180), (0, 0, 128),
)  # fmt: skip


@dataclass(frozen=True)
class _Source:
    """A source that is read, with all that is decided before its images are."""

    root: Path
    data: SourceData
    names: list[str]
    assigned: list[str]  # splits
    settings: Folder
    decoder: Decoder
    classes: tuple[ClassInfo, ...]
    name: str
    fingerprint: str = ""
    copies: Sequence[Refused] = ()  # images that are in two splits
    prints: Gathered | None = None  # where splits are drawn by them
    dropped: Mapping[str, Finding] = field(default_factory=dict)  # by file
    relabel: dict[int, int] | None = None  # class ids of the source to those of `classes`; ids that it lacks must not occur

    def reader(self, storing: Storing | None) -> Reader:
        prints = self.prints is None and len(set(self.assigned)) > 1
        return Reader(self.root, self.data.records, self.names, self.assigned, self.decoder, self.settings.orientation, self.relabelled, storing, prints)

    def relabelled(self, truth: SourceTruth, record: Record) -> SourceTruth:
        return truth if self.relabel is None else _relabelled(truth, self.relabel, self.data, self.classes, record)

    def occurrence(self) -> Occurrence:
        return Occurrence([info.name for info in self.classes], names_are_the_formats=self.data.names_are_the_formats)

    def order(self) -> list[int]:
        """The records' numbers in the order of their names; those that were dropped are not among them."""
        kept = (i for i, record in enumerate(self.data.records) if record.image.as_posix() not in self.dropped)
        return sorted(kept, key=lambda i: self.names[i])


def prepare(
    settings: Shapes | Folder, *, raw: Path, root: Path, target: Path, shown: Callable[[Survey], object] | None = None, processes: int | None = None
) -> None:
    """Write `target` (`data/prepared`) from the manifest in `raw` and the images below `root`; generated data has `raw` itself as root.

    `shown` is called with what was seen, also when problems are raised after it. `processes`: that read images; default: what this machine has.
    Raises DataError with every problem found, and writes nothing then.
    """
    manifest = Manifest.read(raw)
    folder = catalog.generated(raw) if isinstance(settings, Shapes) else settings
    check_root(root)
    _unchanged(manifest.changed(root), root)
    data = catalog.get(folder.format).FORMAT.read(root, folder)
    _unchanged(manifest.differences({*data.files, *group_files(root, folder.splits)}), root)
    _not_empty(data, root)
    contents = {entry.path: entry.sha256 for entry in manifest.files}
    source = _source(data, root, folder, contents, name=name_of(settings), fingerprint=manifest.fingerprint, processes=processes)
    if isinstance(settings, Shapes):
        source = replace(source, prints=Gathered())  # each is made anew: no two show the same
    _write(source, target, strict=True, shown=shown, processes=processes)


def check(settings: Folder, root: Path, *, processes: int | None = None) -> Survey:
    """What `prepare` would find in a folder; nothing is written. Problems are findings, those of the layout as well.

    Raises DataError when the folder is missing, or holds nothing that its format could read.
    """
    check_root(root)
    survey = Survey(name_of(settings), root, settings.format, (), ())
    try:
        data = catalog.get(settings.format).FORMAT.read(root, settings)
        _not_empty(data, root)
        contents = {path: _hash_of(root / path) for path in (record.image.as_posix() for record in data.records if record.content is None)}
        source = _source(data, root, settings, contents, name=name_of(settings), processes=processes)
    except DataError as error:
        kind = "structure" if error.kind == "truth" else error.kind
        survey.findings.add(Finding(kind, "", sentence, error.place) for sentence in error.problems)
        return survey
    survey, occurrence = _survey(source), source.occurrence()
    with in_order(source.reader(None), source.order(), _processes(processes, source)) as pieces, progress("checking images", len(source.names)) as told:
        for piece in pieces:
            told(1)
            _enter(piece, survey, settings, occurrence)
    _conclude(survey, settings, occurrence, processes)
    return survey


def read_folder(
    settings: Folder, root: Path, target: Path, *, model_classes: Sequence[ClassInfo], image: ImageKind | None = None, name: str = "folder"
) -> PreparedDataset:
    """Prepare a whole annotated folder as one `test` split in `target`, with the classes of a model, matched by name.

    Where neither the data nor `settings` names the classes, the format's own names are meant if the model knows one of them, else the model's names by id.
    `image` is the kind of images that the model takes, where `settings` leaves it open.
    Raises DataError for problems of the data, and for classes that occur in it and that the model does not know.
    """
    check_root(root)
    data = catalog.get(settings.format).FORMAT.read(root, settings.for_model([c.name for c in model_classes]))
    _not_empty(data, root)
    relabel = _match(data, model_classes)
    data = replace(data, records=tuple(replace(record, split="test") for record in data.records))
    names = _names(data.records)
    decoder = Decoder(settings.images, image if settings.images == "auto" else None)
    source = _Source(root, data, names, ["test"] * len(names), settings, decoder, tuple(model_classes), name, relabel=relabel)
    # One process: who scores a model has runtimes loaded, whose threads no fork survives.
    _write(source, target, strict=False, shown=None, processes=1)
    return PreparedDataset(target)


def _source(
    data: SourceData, root: Path, settings: Folder, contents: dict[str, str], *, name: str, fingerprint: str = "", processes: int | None = None
) -> _Source:
    """`contents`: a hash of each file by its path. Raises DataError where splits cannot be drawn as the settings want them."""
    for record in data.records:
        if record.content is not None:
            contents[record.image.as_posix()] = hashlib.sha256(record.content()).hexdigest()
    images = [record.image for record in data.records]
    official = [record.split for record in data.records]
    present = partial(classes_shown, root, data, Decoder(settings.images), settings.orientation)
    wanted = settings.drawn_by
    if settings.on_leak == "group":
        splits.require_drawn(official, wanted)
    asked = wanted.group == AUTO or settings.on_leak == "drop"
    prints = fingerprints(root, data, Decoder(settings.images), processes) if asked else Gathered()
    assigned = splits.assign(images, official, contents, wanted, root=root, present=present, near=partial(across.near, prints=prints, processes=processes))
    files = [image.as_posix() for image in images]
    dropped = across.to_drop(files, assigned, prints, contents, processes=processes) if settings.on_leak == "drop" else {}
    kept = [i for i, file in enumerate(files) if file not in dropped]
    splits.require_some_left([assigned[i] for i in kept], assigned)
    copies = copies_across([images[i] for i in kept], [assigned[i] for i in kept], contents)
    decoder = Decoder(settings.images)
    return _Source(
        root, data, _names(data.records), assigned, settings, decoder, _class_infos(data), name, fingerprint, copies, prints if asked else None, dropped
    )


def _survey(source: _Source) -> Survey:
    found = Survey(source.name, source.root, source.settings.format, source.classes, source.data.truths, total=len(source.order()))
    found.findings.add(Finding("left_out", item.file, f"{item.file}: {item.reason}.") for item in source.data.refused)
    found.findings.add(source.dropped.values())
    found.prints = Gathered() if source.prints is None else source.prints
    found.findings.add(Finding("same_in_splits", item.file, f"{item.file} {item.reason}.") for item in source.copies)
    reader = source.reader(None)
    reader.decide_kind(source.order())
    pictures = {record.image for record in source.data.records}
    found.findings.add(confusions(source.root, (file for file in source.data.files if file not in pictures)))
    found.numbers = {record.image.as_posix(): i for i, record in enumerate(source.data.records)}
    found.look = reader.look
    return found


def _processes(asked: int | None, source: _Source) -> int:
    return processes_for(len(source.names)) if asked is None else asked


def _write(source: _Source, target: Path, *, strict: bool, shown: Callable[[Survey], object] | None, processes: int | None) -> None:
    """`strict`: a data set that nothing can be learnt from is refused."""
    data = source.data
    statistics, extents = Statistics(len(source.classes)), Extents()
    survey = _survey(source)
    occurrence = source.occurrence() if strict else None
    refused = list(data.refused)
    turned: dict[str, list[str]] = {}
    redrawn: Counter[str] = Counter()
    with whole(target) as folder, ExitStack() as opened:
        folder.mkdir()
        spool = folder / _SPOOL
        spool.mkdir()
        writers = {split: SplitWriter(folder / split, data.truths) for split in SPLITS}
        for writer in writers.values():
            opened.callback(writer.close)
        reading = opened.enter_context(ExitStack())
        pieces = reading.enter_context(in_order(source.reader(Storing(data.truths, spool)), source.order(), _processes(processes, source)))
        told = reading.enter_context(progress("preparing images", len(source.names)))
        for piece in pieces:
            told(1)
            _enter(piece, survey, source.settings, occurrence)
            refused += piece.refused
            redrawn.update(dict(piece.redrawn))
            if piece.turned is not None:
                turned.setdefault(piece.turned, []).append(piece.file)
            if piece.seen is not None and piece.stored is not None:
                writers[piece.seen.split].enter(piece.stored)
            if piece.measured is not None:
                statistics.add(piece.measured)
            if piece.extents is not None:
                extents.merge(piece.extents)
        reading.close()  # whose processes have nothing left to do
        _conclude(survey, source.settings, occurrence, processes)
        if shown is not None:
            shown(survey)
        fail([finding.sentence for finding in survey.findings.errors()])
        spool.rmdir()
        info = _info(data, writers, statistics, name=source.name, classes=source.classes, image=source.decoder.kind, fingerprint=source.fingerprint)
        accepted = {"images": info.counts, "objects": info.instance_counts, "left_out": data.left_out}
        said = {"refused": [asdict(item) for item in refused], "accepted": accepted, "turned": turned, "boxes_redrawn": dict(redrawn)}
        names = {record.image.as_posix(): name for record, name in zip(data.records, source.names, strict=True)}
        across.write(survey.leaks, names, folder)
        said["copies"] = [asdict(item) for item in source.copies]
        (folder / "check.json").write_text(json.dumps({**said, **findings_of(survey)}, indent=2) + "\n")
        extents.write(folder)
        (folder / "dataset.json").write_text(json.dumps(info.to_dict(), indent=2) + "\n")
    tell(refused)
    tell(source.copies, "in two splits")
    _warn(survey)


def findings_of(survey: Survey) -> dict[str, Any]:
    """What a survey says in check.json: its findings (of each kind the first thousand), how many there are of each, conversions, skipped images."""
    return {
        "version": CHECK_VERSION,
        "skipped": survey.skipped,
        "converted": dict(sorted(survey.converted.items())),
        "found": {kind: survey.findings.counts[kind] for kind in KINDS if survey.findings.counts[kind]},
        "findings": [finding.to_dict() for finding in survey.findings],
    }


def _enter(piece: Piece, survey: Survey, settings: Folder, occurrence: Occurrence | None) -> None:
    """What became of one image, into the survey."""
    findings = survey.findings
    if piece.seen is not None:
        survey.images.append(piece.seen)
        if piece.print is not None:
            survey.prints.add(piece.file, piece.print)
        if occurrence is not None:
            occurrence.enter(piece.seen.split, piece.seen.pixels, len(piece.seen.labels))
    elif settings.on_error == "skip":
        survey.skipped.append(piece.file)
        findings.add(Finding("skipped", problem.file, problem.sentence, problem.place) for problem in piece.problems)
    else:
        findings.add(piece.problems)
    findings.add(Finding("left_out", item.file, f"{item.file}: {item.reason}.") for item in piece.refused)
    findings.add(Finding("box", piece.file, f"{piece.file}: {number} boxes of {file} are not those of their masks.", file) for file, number in piece.redrawn)
    findings.add(replace(finding, image=piece.file) for finding in piece.findings)
    survey.converted.update(piece.converted)


def _conclude(survey: Survey, settings: Folder, occurrence: Occurrence | None, processes: int | None) -> None:
    """What follows from all images together: from their truth only where no image has an error, as what is missing might change it."""
    if occurrence is not None and not survey.findings.errors():
        survey.findings.add(Finding("occurrence", "", sentence) for sentence in occurrence.problems())
    survey.conclude(processes)
    _bound(survey, settings)


def _bound(survey: Survey, settings: Folder) -> None:
    """Too many skipped images are an error."""
    skipped = len(survey.skipped)
    if skipped > settings.most_skipped * survey.total or (skipped and not survey.images):
        first = survey.findings.of("skipped")[:3]
        survey.findings.add(
            [
                Finding(
                    "truth",
                    "",
                    f"{skipped} of {survey.total} images have errors, and data.most_skipped lets {100 * settings.most_skipped:g} % be left out. Correct them, "
                    f"or raise data.most_skipped; the first: {' '.join(finding.sentence for finding in first)}",
                )
            ]
        )


def _warn(survey: Survey) -> None:
    """Tell on stderr what is odd and was taken as it is, a line for each kind; what was left out has been told."""
    for kind, about in KINDS.items():
        number = survey.findings.counts[kind]
        if number and about.severity == "warning" and kind not in ("left_out", "box", "same_in_splits"):
            first = survey.findings.of(kind)[0]
            more = f" (and {number - 1} more, see check.json)" if number > 1 else ""
            print(f"warning: {first.sentence}{more} {about.remedy}", file=sys.stderr)


def _hash_of(file: Path) -> str:
    try:
        return file_digest(file)
    except OSError:
        return ""  # told when the image is read


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
