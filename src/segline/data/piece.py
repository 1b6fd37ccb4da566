"""One image of a source: read, checked, counted, and made ready to be stored. What any process can do for any image, without knowing the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segline.data import survey
from segline.data.check import Refused, read_bytes
from segline.data.extents import Extents
from segline.data.findings import Finding
from segline.data.formats.base import Record, SourceTruth
from segline.data.images import Decoder, SourceImage
from segline.data.leaks.fingerprint import Fingerprint, fingerprint
from segline.data.orientation import read_truth
from segline.data.sources import Drawn
from segline.data.statistics import Measured, class_pixels
from segline.data.store import content_hash
from segline.data.survey import Look, Seen
from segline.data.writer import Stored, Storing
from segline.errors import DataError
from segline_runtime.specification import ImageKind


@dataclass(frozen=True)
class Piece:
    """What became of one image. `seen` is None where it has an error."""

    file: str
    problems: tuple[Finding, ...] = ()
    seen: Seen | None = None
    refused: tuple[Refused, ...] = ()
    redrawn: tuple[tuple[str, int], ...] = ()
    findings: tuple[Finding, ...] = ()
    turned: str | None = None  # what its truth was drawn on, where viewers turn it
    converted: tuple[str, ...] = ()
    stored: Stored | None = None
    measured: Measured | None = None  # of training images
    extents: Extents | None = None  # likewise
    print: Fingerprint | None = None  # by which the same scene is known again, where that is asked for


@dataclass(frozen=True)
class Reader:
    """Makes the piece of a record by its number."""

    root: Path
    records: Sequence[Record]
    names: Sequence[str]
    assigned: Sequence[str]
    decoder: Decoder
    drawn: Drawn
    relabelled: Callable[[SourceTruth, Record], SourceTruth]
    storing: Storing | None  # None: nothing is to be stored
    prints: bool = False  # whether fingerprints are taken

    def __call__(self, number: int) -> Piece:
        record, split = self.records[number], self.assigned[number]
        shown = record.image.as_posix()
        try:
            image, truth, drawn_on = self._read(record)
        except DataError as error:
            return Piece(shown, tuple(Finding(error.kind, shown, sentence, error.place) for sentence in error.problems))
        stored = None
        if self.storing is not None:
            suffix, content = image.stored(self.decoder.kind)
            height, width = image.pixels.shape[:2]
            stored = self.storing(self.names[number], suffix, content, (height, width), truth.mask, truth.objects)
        counted = split == "train" and stored is not None
        return Piece(
            file=shown,
            seen=_seen(number, shown, split, image, truth),
            refused=truth.refused,
            redrawn=tuple(truth.redrawn.items()),
            findings=truth.findings,
            turned=f"truth as {drawn_on}" if image.header.orientation != 1 else None,
            converted=tuple(_conversions(image, self.decoder.kind)),
            stored=stored,
            measured=Measured.of(image.pixels, truth.mask) if counted else None,
            extents=_extents(stored, truth) if stored is not None and counted else None,
            print=fingerprint(image.pixels) if self.prints else None,
        )

    def look(self, number: int) -> Look:
        """Raises DataError for an image that cannot be decoded."""
        record = self.records[number]
        shown = record.image.as_posix()
        image = self.decoder(content_of(self.root, record), shown)
        try:
            truth, _ = read_truth(image, record.truth, self.drawn, shown)
            return Look(image.pixels, self.relabelled(truth, record))
        except DataError:
            return Look(image.pixels, None)

    def decide_kind(self, numbers: Sequence[int]) -> None:
        """Let the first image that can decide the kind of all, before several processes ask for it."""
        for number in numbers:
            record = self.records[number]
            try:
                if self.decoder.look(content_of(self.root, record), record.image.as_posix()):
                    return
            except DataError:
                continue  # told when the image is read

    def _read(self, record: Record) -> tuple[SourceImage, SourceTruth, Drawn]:
        shown = record.image.as_posix()
        image = self.decoder(content_of(self.root, record), shown)
        truth, drawn_on = read_truth(image, record.truth, self.drawn, shown)
        return image, self.relabelled(truth, record), drawn_on


def content_of(root: Path, record: Record) -> bytes:
    """Raises DataError."""
    return record.content() if record.content is not None else read_bytes(root / record.image, record.image.as_posix())


def _seen(number: int, shown: str, split: str, image: SourceImage, truth: SourceTruth) -> Seen:
    counted = class_pixels(truth.mask)
    pixels = {label: int(counted[label]) for label in np.flatnonzero(counted).tolist()}
    singles = [one for one in truth.objects if not one.crowd]
    labels = np.array([one.label for one in singles], dtype=np.uint8)
    areas = np.array([_area(one.mask, one.box) for one in singles], dtype=np.float32)
    return Seen(number, shown, split, (image.frame.height, image.frame.width), pixels, labels, areas, content_hash(image.content))


def _extents(stored: Stored, truth: SourceTruth) -> Extents:
    boxes = [(float(one["bbox"][3]), float(one["bbox"][2])) for one in stored.objects if not one["iscrowd"]]
    return Extents.of(stored.size, truth.mask, boxes)


def _area(mask: NDArray[np.bool_] | None, box: tuple[float, float, float, float] | None) -> float:
    if mask is not None:
        return float(np.count_nonzero(mask))
    assert box is not None, "an object has a mask or a box"
    return box[2] * box[3]


def _conversions(image: SourceImage, kind: ImageKind) -> list[str]:
    """The rules that made of a file what is stored of it, as the runtime applies them for training, prediction and serving alike."""
    header, found = image.header, []
    if header.orientation != 1:
        found.append(survey.TURNED)
    if header.mode == "CMYK":
        found.append(survey.CMYK)
    if header.mode.startswith("P"):
        found.append(survey.PALETTE)
    if header.mode.endswith("A") and kind.channels in (1, 3):
        found.append(survey.ALPHA)
    if (header.dtype == "uint16" or header.deep) and kind.dtype == "uint8":
        found.append(survey.DEPTH)
    grey = header.mode in ("1", "L", "LA") or (header.channels == 1 and header.mode != "P")
    if grey and kind.channels == 3:
        found.append(survey.GREY)
    if not grey and kind.channels == 1:
        found.append(survey.LUMINANCE)
    return found
