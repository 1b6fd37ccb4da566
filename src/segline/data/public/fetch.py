"""A public data set on this machine: fetched, verified and unpacked once, into a folder of its own beside its README.

`data/<name>/fetched/` of the main checkout holds `archives/` (what is being fetched, and what somebody put there by hand), `files/` (unpacked, whole or not
there) and `receipt.json` (which version of the catalogue's entry the files are of, and what the archives were). Whoever has the files already puts them, or a
link to them, in the place of `files/`, or names their folder, or the folder of the archives, as `data.mirror`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from segline import written
from segline.data.public import catalog
from segline.data.public.base import Archive, PublicSet
from segline.data.public.transfer import MB, Patience, origin_file, transfer, wrong
from segline.data.public.unpack import size_unpacked, unpack
from segline.data.sources import Folder, Shapes, is_address, is_public, root_of
from segline.errors import DataError
from segline.files import whole, write_json
from segline.layout import Checkout, PublicFolder
from segline.provenance import file_digest

VERSION = 1
"""Of the receipt."""

_DEEPEST = 3
"""Folders that may lie around what a format reads."""

_KEPT_FREE = 100 * MB
"""Bytes that are left to others on the disk."""


@dataclass(frozen=True)
class Receipt:
    """`receipt.json`."""

    name: str
    entry: str  # version of the catalogue's entry
    archives: dict[str, str]  # sha256 by name
    files: int  # members
    version: int = VERSION


def at_hand(settings: Shapes | Folder, checkout: Checkout, *, mirror: str | None = None) -> Path:
    """Where the images of a source are: those of a public data set are fetched where they are not there yet. Raises DataError."""
    if is_public(settings.source):
        return fetched(settings.source, checkout.public(settings.source), mirror=mirror)
    return root_of(settings, checkout.raw, checkout.main, checkout.root)


def fetched(name: str, place: PublicFolder, *, mirror: str | None = None, patience: Patience | None = None) -> Path:
    """The folder that the format of the data set `name` reads, fetched where it is not there yet.

    mirror: a folder that holds the archives, or the unpacked files; or an address below which the archives are, instead of the catalogue's.
    Raises DataError with what is to be done: where somebody has to log in, where the server or the disk does not serve, where a file is not the published one.
    """
    entry = catalog.get(name)
    elsewhere = Path(mirror) if mirror is not None and not is_address(mirror) else None
    if elsewhere is not None:
        if not elsewhere.is_dir():
            raise DataError(f"data.mirror: the folder {elsewhere} does not exist; give a folder that holds the archives of {name}, or an http address.")
        root = folder_in(elsewhere, entry)
        if root is not None:
            return root
    place.path.mkdir(parents=True, exist_ok=True)
    with FileLock(place.lock):  # a second process finds the files there
        if not _is_there(name, entry, place):
            _fetch(name, entry, place, mirror, elsewhere, patience)
    root = folder_in(place.files, entry)
    if root is None:
        raise DataError(
            f"{place.files} lacks the folder in which {name} begins: one with {_holding(entry)}. Remove {place.files} to have the data set fetched "
            "again, or put the unpacked files there as they were published."
        )
    return root


def folder_in(folder: Path, entry: PublicSet) -> Path | None:
    """The folder that the format reads: `folder`, or one a few levels below it; None where there is none."""
    level = [folder] if folder.is_dir() else []
    for _ in range(_DEEPEST + 1):
        for one in level:
            if all((one / name).exists() for name in entry.holds):
                return one
        level = sorted(inner for one in level for inner in one.iterdir() if inner.is_dir() and not inner.name.startswith("."))
    return None


def receipt_of(place: PublicFolder) -> Receipt | None:
    """None where nothing was fetched; a receipt that cannot be read counts as none."""
    try:
        with written.reading(place.receipt, DataError, "remove it"):
            values: dict[str, Any] = written.mapping(place.receipt)
            return written.well_typed(Receipt(**values)) if written.version_of(values) <= VERSION else None
    except (DataError, FileNotFoundError):
        return None


def _is_there(name: str, entry: PublicSet, place: PublicFolder) -> bool:
    """Whether the files are there, of this version; files without a receipt were put there by hand, and are taken as they are."""
    if not place.files.is_dir():
        return False
    receipt = receipt_of(place)
    if receipt is None and not place.receipt.exists():
        return True
    return receipt is not None and (receipt.name, receipt.entry) == (name, entry.version)


def _fetch(name: str, entry: PublicSet, place: PublicFolder, mirror: str | None, elsewhere: Path | None, patience: Patience | None) -> None:
    """Make `place.files`. The archives that were fetched for it are removed, those that somebody put there are not."""
    if not entry.archives:
        raise DataError(_by_hand(name, entry, place, []))
    base = mirror.rstrip("/") if mirror is not None and elsewhere is None else None
    _all_obtainable(name, entry, place, base, elsewhere)
    _room_for(name, entry, place, elsewhere)
    archives = [_archive(archive, place, base, elsewhere, patience) for archive in entry.archives]
    print(f"{name}: unpacking {', '.join(file.name for file in archives)}", file=sys.stderr)
    members = 0
    with whole(place.files) as folder:
        folder.mkdir()
        for archive, file in zip(entry.archives, archives, strict=True):
            _room(place, size_unpacked(file) or file.stat().st_size, f"unpack {file.name}")
            members += unpack(file, folder, only=archive.only, most_bytes=archive.most_unpacked, most_files=archive.files_at_most).files
        if folder_in(folder, entry) is None:
            raise DataError(
                f"The archives of {name} hold no folder with {_holding(entry)}, so they are not, or no longer, what the catalogue says; "
                f"see {entry.page}, unpack what is published there yourself, and give the folder as data.source with `format: {entry.format}`."
            )
        # Earlier files go, then comes the receipt, then the files: a receipt without files means that nothing is there, files without one that somebody put
        # them there.
        _remove(place.files)
        receipt = Receipt(name, entry.version, {file.name: file_digest(file) for file in archives}, members)
        write_json(place.receipt, vars(receipt))
    for file in archives:
        if origin_file(file).is_file() and file.parent == place.archives:
            file.unlink()
            origin_file(file).unlink()


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _archive(archive: Archive, place: PublicFolder, base: str | None, elsewhere: Path | None, patience: Patience | None) -> Path:
    """The verified archive: that of the mirror's folder, one that lies in `archives/`, or one that is fetched there."""
    there = _lying(archive, place, elsewhere)
    if there is not None:
        reason = wrong(there, archive.size, archive.checksum)
        if reason is None:
            return there
        if not origin_file(there).is_file():
            raise DataError(f"{there} is not the file that was published: {reason}. Fetch it once more, and put it there.")
        there.unlink()
    file = place.archives / archive.name
    transfer(_addresses(archive, base), file, size=archive.size, checksum=archive.checksum, patience=patience)
    return file


def _lying(archive: Archive, place: PublicFolder, elsewhere: Path | None) -> Path | None:
    folders = [*([elsewhere] if elsewhere is not None else []), place.archives]
    return next((folder / archive.name for folder in folders if (folder / archive.name).is_file()), None)


def _addresses(archive: Archive, base: str | None) -> Sequence[str]:
    return [f"{base}/{archive.name}"] if base is not None else archive.addresses


def _all_obtainable(name: str, entry: PublicSet, place: PublicFolder, base: str | None, elsewhere: Path | None) -> None:
    """Raises DataError with all archives that somebody has to bring."""
    missing = [archive for archive in entry.archives if _lying(archive, place, elsewhere) is None and not _addresses(archive, base)]
    if missing:
        raise DataError(_by_hand(name, entry, place, missing))


def _by_hand(name: str, entry: PublicSet, place: PublicFolder, missing: Sequence[Archive]) -> str:
    """What a person has to do where a data set is given after a login alone."""
    names = ", ".join(archive.name for archive in missing)
    where = (
        f"Put {names} into {place.archives}, or set data.mirror to the folder that has {'it' if len(missing) == 1 else 'them'}"
        if missing
        else f"Put the unpacked folders, or a link to the folder around them, in the place of {place.files}, or set data.mirror to that folder"
    )
    return f"{name} ({entry.title}) is given to those who ask for it, at {entry.page}. {entry.login} {where}; then run the same command again."


def _room_for(name: str, entry: PublicSet, place: PublicFolder, elsewhere: Path | None) -> None:
    """Room for what is still to come and for all of it unpacked, which for images is about as much again. Raises DataError."""
    needed = 0
    for archive in entry.archives:
        there = _lying(archive, place, elsewhere)
        size = archive.size or (there.stat().st_size if there is not None else 0)
        part = place.archives / f"{archive.name}.part"
        come = size if there is not None else part.stat().st_size if part.is_file() else 0
        needed += size + max(0, size - come)
    _room(place, needed, f"fetch and unpack {name}")


def _room(place: PublicFolder, needed: int, what: str) -> None:
    free = shutil.disk_usage(place.path).free - _KEPT_FREE
    if needed > free:
        raise DataError(
            f"To {what}, {needed / 1e9:.1f} GB are needed, and the disk of {place.path} has {max(0, free) / 1e9:.1f} GB to give. Make room there, "
            "or unpack the data set on another disk and put a link to it in the place of "
            f"{place.files}."
        )


def _holding(entry: PublicSet) -> str:
    return " and ".join(entry.holds)
