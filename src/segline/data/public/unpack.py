"""Archives of strangers, unpacked without harm: nothing outside the target, no links out of it, no devices, and no more bytes and files than expected.

zip and tar (plain, gz, bz2, xz), a single file in gz, and files that are no archives. Symbolic links are refused as a whole: images need none, and through one
a later member could be written elsewhere. Files get the times that the archive says (zip's taken as UTC), so that unpacking twice makes the same.
"""

from __future__ import annotations

import calendar
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from segline.data.check import brief
from segline.errors import DataError

_BLOCK = 1 << 20
_LEFT_BY_MACS = "__MACOSX"
_TARS = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".tbz2", ".txz")
_COMPRESSED = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\0": "xz"}
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile, NotImplementedError, UnicodeError, KeyError)
"""What reading ends in when an archive is damaged, or is not what its name says."""


@dataclass
class Unpacked:
    """What was written, and how much may be."""

    most_bytes: int
    most_files: int
    files: int = 0
    bytes: int = 0  # also of members that are passed by: a compressed tar has to be read through them

    def member(self, archive: Path) -> None:
        self.files += 1
        if self.files > self.most_files:
            raise DataError(f"{archive.name} holds more than {self.most_files} files, which is not the data set that is meant; remove it and fetch it again.")

    def read(self, archive: Path, number: int) -> None:
        self.bytes += number
        if self.bytes > self.most_bytes:
            raise DataError(
                f"{archive.name} unpacks to more than {self.most_bytes / 1e9:.1f} GB, which is not the data set that is meant; remove it and fetch it again."
            )


def unpack(archive: Path, target: Path, *, only: str = "", most_bytes: int, most_files: int) -> Unpacked:
    """Write the members whose path begins with `only` below the folder `target`, which exists.

    Raises DataError for a damaged or locked archive, and for one with a member that leads outside, a link, a device, or more than it may hold.
    """
    seen = Unpacked(most_bytes, most_files)
    with _damage_told(archive):
        if _is_zip(archive):
            _unzip(archive, target, only, seen)
        elif _is_tar(archive):
            _untar(archive, target, only, seen)
        elif archive.suffix == ".gz":
            with gzip.open(archive) as source:
                _write(source, target / archive.stem, archive, seen)
        elif archive.suffix in (".zip", *_TARS):
            raise DataError(f"{archive} is no archive, though its name says so; remove it and fetch it again.")
        else:
            with archive.open("rb") as source:
                _write(source, target / archive.name, archive, seen)
    return seen


def size_unpacked(archive: Path) -> int | None:
    """Bytes of all members where the archive says so in one place (zip), else None."""
    with _damage_told(archive):
        if not _is_zip(archive):
            return None
        with zipfile.ZipFile(archive) as opened:
            return sum(info.file_size for info in opened.infolist())


def _is_zip(archive: Path) -> bool:
    """A tar whose last member is a zip looks like one from behind; then its name counts."""
    return zipfile.is_zipfile(archive) and not (archive.suffix in _TARS and _is_tar(archive))


def _is_tar(archive: Path) -> bool:
    """What is compressed is no bare tar, though one file in some hundreds has the sum of a bare tar's header by chance."""
    with archive.open("rb") as source:
        begin = source.read(6)
    compressed = next((mode for magic, mode in _COMPRESSED.items() if begin.startswith(magic)), "")
    try:
        with tarfile.open(archive, f"r:{compressed}"):  # type: ignore[call-overload]  # of no literal
            return True
    except tarfile.TarError:
        return False


@contextmanager
def _damage_told(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DataError(f"{archive} is damaged ({brief(error) or type(error).__name__}); remove it and fetch it again.") from None
    except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        raise DataError(f"{archive} holds a file and a folder of one name ({brief(Path(str(error.filename)).name)}); remove it and fetch it again.") from None


def _unzip(archive: Path, target: Path, only: str, seen: Unpacked) -> None:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            place = _place(archive, target, info.filename)
            seen.member(archive)
            if not _meant(info.filename, only):
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"{archive.name} holds {brief(info.filename)}, a link or a device; it is not unpacked. Fetch it from its publisher.")
            if info.is_dir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            if info.flag_bits & 1:
                raise DataError(f"{archive.name} is locked with a password; unpack it yourself, and give the folder as data.source.")
            with opened.open(info) as source:
                _write(source, place, archive, seen)
            _set_time(place, _of_zip(info))


def _untar(archive: Path, target: Path, only: str, seen: Unpacked) -> None:
    with tarfile.open(archive, tarinfo=_Member) as opened:
        for member in opened:
            place = _place(archive, target, member.name)
            seen.member(archive)
            if not _meant(member.name, only):
                seen.read(archive, member.size)
                continue
            if not (member.isfile() or member.isdir() or member.islnk()):
                raise DataError(f"{archive.name} holds {brief(member.name)}, a link or a device; it is not unpacked. Fetch it from its publisher.")
            if member.islnk():
                _place(archive, target, member.linkname)
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                # A hard link is a second name of an earlier member: its content is written once more.
                content = opened.extractfile(member)
                assert content is not None
                with content:
                    _write(content, place, archive, seen)
                _set_time(place, member.mtime)
        rest = opened.fileobj
        assert rest is not None
        while block := rest.read(_BLOCK):  # zeros; behind them stands the sum by which gzip knows that all was right
            seen.read(archive, len(block))


class _Member(tarfile.TarInfo):
    """A member whose header is sound: where one is not, tarfile takes it for the end, and the rest would be missing without a word."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # of tarfile, and known to no stub
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a member's header is wrong or missing: {error}") from None


def _meant(name: str, only: str) -> bool:
    name = name.removeprefix("./")
    return name.startswith(only) and _LEFT_BY_MACS not in PurePosixPath(name).parts


def _place(archive: Path, target: Path, name: str) -> Path:
    """Where a member goes. Raises DataError where that is not below the target."""
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive or "\\" in name or "\0" in name
    if outside:
        raise DataError(f"{archive.name} holds {brief(name)}, which leads outside of the folder; it is not unpacked. Fetch it from its publisher.")
    return target.joinpath(*path.parts)


def _write(source: IO[bytes] | gzip.GzipFile, place: Path, archive: Path, seen: Unpacked) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as written:
        while block := source.read(_BLOCK):
            seen.read(archive, len(block))
            written.write(block)


def _of_zip(info: zipfile.ZipInfo) -> float:
    """Seconds since 1970; some tools write a month or a day 0."""
    try:
        return calendar.timegm((*info.date_time, 0, 0, 0))
    except ValueError:
        return 0


def _set_time(place: Path, seconds: float) -> None:
    known = seconds if 0 <= seconds < 2**32 else 0
    os.utime(place, (known, known))
