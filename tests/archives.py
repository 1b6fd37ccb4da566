"""Archives of every kind, made of what is to be in them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FILES = {"set/a.txt": b"a" * 3000, "set/deep/b.bin": bytes(range(256)) * 40, "other/c.txt": b"c", "__MACOSX/set/._a.txt": b"mac"}


def make(file: Path, files: Mapping[str, bytes] = FILES, extra: Iterable[tuple[Any, bytes]] = ()) -> Path:
    """`extra`: members that only a zip (ZipInfo) or a tar (TarInfo) can have, with their content."""
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, content in files.items():
                opened.writestr(zipfile.ZipInfo(name, (2012, 3, 4, 5, 6, 8)), content, zipfile.ZIP_DEFLATED)
            for info, content in extra:
                opened.writestr(info, content)
        return file
    mode = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(file.suffix, "w")
    with tarfile.open(file, mode) as opened:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1330837568
            opened.addfile(info, io.BytesIO(content))
        for info, content in extra:
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return file


def content_of(folder: Path) -> dict[str, bytes]:
    """The files below a folder by their paths in it."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
