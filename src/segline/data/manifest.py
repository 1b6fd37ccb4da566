"""`data/raw/manifest.json`: what the source consisted of when `download` saw it, by which `prepare` knows whether it has changed since."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from segline import written
from segline.data.check import fail
from segline.data.sources import SHAPES
from segline.errors import DataError
from segline.provenance import digest, file_digest

MANIFEST = "manifest.json"

VERSION = 2
"""Of the manifest. Version 1 has no key `version`, calls the source `dataset`, and knows no times."""


class SourceFile(NamedTuple):
    """One file of the source as it was when it was hashed."""

    path: str  # relative to the root
    size: int  # bytes
    mtime_ns: int | None  # None where the time says nothing: of generated files, and in version 1
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """`manifest.json`. It holds no absolute path, so that moving the user's folder changes nothing."""

    source: str  # shapes, folder, or the name of a public data set
    format: str
    files: tuple[SourceFile, ...]
    fingerprint: str  # hash of paths, sizes and contents

    @classmethod
    def of(cls, source: str, data_format: str, root: Path, files: Sequence[Path]) -> Manifest:
        """Hash the files. Raises DataError with a sentence for each that cannot be read."""
        entries, problems = [], []
        for file in files:
            try:
                status = (root / file).stat()  # before it is hashed: a change meanwhile must not go unseen
                time = None if source == SHAPES else status.st_mtime_ns
                entries.append(SourceFile(file.as_posix(), status.st_size, time, file_digest(root / file)))
            except PermissionError:
                problems.append(f"{root / file} cannot be read; check its permissions.")
            except OSError as error:
                problems.append(f"{root / file} cannot be read ({error.strerror}); put it right, or remove it.")
        fail(problems)
        return cls(source, data_format, tuple(entries), digest([(entry.path, entry.size, entry.sha256) for entry in entries]))

    @classmethod
    def read(cls, raw: Path) -> Manifest:
        """Raises DataError when `download` has not run, or a later Segline has."""
        try:
            with written.reading(raw / MANIFEST, DataError, "run `dvc repro -f download` to write it anew"):
                values = written.mapping(raw / MANIFEST)
                version = written.version_of(values, default=1)
                written.refuse_later(raw / MANIFEST, version, VERSION, DataError)
                source = values["source" if version > 1 else "dataset"]
                return written.well_typed(cls(source, values["format"], _entries(values["files"]), values["fingerprint"]))
        except FileNotFoundError:
            raise DataError(f"{raw} holds no {MANIFEST}; run `dvc repro download` (or `python pipeline/download.py`) first.") from None

    def write(self, raw: Path) -> None:
        lines = ",\n".join("  " + json.dumps(entry) for entry in self.files)
        head = json.dumps({"version": VERSION, "source": self.source, "format": self.format, "fingerprint": self.fingerprint}, indent=1)
        (raw / MANIFEST).write_text(f'{head[:-2]},\n "files": [\n{lines}\n ]\n}}\n')

    def changed(self, root: Path) -> list[str]:
        """Files below `root` that are no longer what was hashed, by size and time; hashed again is only what has another time than then."""
        return [entry.path for entry in self.files if not self._same(entry, root / entry.path)]

    def _same(self, entry: SourceFile, file: Path) -> bool:
        try:
            status = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        if status.st_size != entry.size:
            return False
        # What was generated lies in an output of the line, which DVC watches.
        return self.source == SHAPES or status.st_mtime_ns == entry.mtime_ns or file_digest(file) == entry.sha256

    def differences(self, found: Iterable[Path]) -> list[str]:
        """Files that were added or removed, as compared with those that a format finds now."""
        return sorted({entry.path for entry in self.files} ^ {file.as_posix() for file in found})


def _entries(files: Iterable[Sequence[Any]]) -> tuple[SourceFile, ...]:
    return tuple(SourceFile(*entry) if len(entry) == 4 else SourceFile(entry[0], entry[1], None, entry[2]) for entry in files)
