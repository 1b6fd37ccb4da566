"""The fingerprints of a source's images: taken before splits are drawn where these depend on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segline.data.formats.base import SourceData
from segline.data.images import Decoder
from segline.data.leaks.fingerprint import Fingerprint, fingerprint
from segline.data.leaks.gathered import Gathered
from segline.data.parallel import in_order, processes_for
from segline.data.piece import content_of
from segline.errors import DataError
from segline.progress import progress


@dataclass(frozen=True)
class _Taker:
    """Takes that of a record by its number; None for an image that cannot be read, which is told when it is prepared."""

    root: Path
    source: SourceData
    decoder: Decoder

    def __call__(self, number: int) -> Fingerprint | None:
        record = self.source.records[number]
        try:
            return fingerprint(self.decoder(content_of(self.root, record), record.image.as_posix()).pixels)
        except DataError:
            return None


def fingerprints(root: Path, source: SourceData, decoder: Decoder, processes: int | None = None) -> Gathered:
    """By image, of those that can be read. `processes`: that read images; default: what this machine has."""
    files = [record.image.as_posix() for record in source.records]
    taker = _Taker(root, source, decoder)
    found = Gathered()
    number = processes_for(len(files)) if processes is None else processes
    with in_order(taker, range(len(files)), number) as taken, progress("looking at images", len(files)) as told:
        for file, one in zip(files, taken, strict=True):
            told(1)
            if one is not None:
                found.add(file, one)
    return found
