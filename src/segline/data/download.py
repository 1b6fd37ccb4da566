"""download: `data/raw`, the manifest of what the line is fed with. The user's images stay where they are; generated ones lie beside the manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from segline.data import shapes
from segline.data.check import IMAGE_SUFFIXES, fail
from segline.data.formats.catalog import FORMATS
from segline.errors import DataError
from segline.files import whole
from segline.provenance import digest, file_digest

MANIFEST = "manifest.json"
GENERATED_FORMAT = "coco"


@dataclass(frozen=True)
class Manifest:
    """`manifest.json`. It holds no absolute path, so that moving the user's folder changes nothing."""

    dataset: str  # shapes or folder
    format: str
    files: tuple[tuple[str, int, str], ...]  # path relative to the root, bytes, SHA-256
    fingerprint: str

    @classmethod
    def of(cls, dataset: str, data_format: str, root: Path, files: Sequence[Path]) -> Manifest:
        """Hash the files. Raises DataError with a sentence for each that cannot be read."""
        entries, problems = [], []
        for file in files:
            try:
                entries.append((file.as_posix(), (root / file).stat().st_size, file_digest(root / file)))
            except PermissionError:
                problems.append(f"{root / file} cannot be read; check its permissions.")
        fail(problems)
        return cls(dataset, data_format, tuple(entries), digest(entries))

    @classmethod
    def read(cls, raw: Path) -> Manifest:
        """Raises DataError when `download` has not run."""
        try:
            values = json.loads((raw / MANIFEST).read_text())
            return cls(values["dataset"], values["format"], tuple((p, s, h) for p, s, h in values["files"]), values["fingerprint"])
        except FileNotFoundError:
            raise DataError(f"{raw} holds no {MANIFEST}; run `dvc repro download` (or `python pipeline/download.py`) first.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{raw / MANIFEST} cannot be read ({error}); run `dvc repro -f download` to write it anew.") from None

    def write(self, raw: Path) -> None:
        (raw / MANIFEST).write_text(json.dumps(asdict(self), indent=1) + "\n")

    def differences(self, other: Manifest) -> list[str]:
        """Files that were added, removed or changed."""
        mine, theirs = ({path: (size, sha) for path, size, sha in m.files} for m in (self, other))
        return sorted(path for path in mine.keys() | theirs.keys() if mine.get(path) != theirs.get(path))


def locate(root: str, *checkouts: Path) -> Path:
    """`data.root` as a path: absolute, with ~, or relative to a checkout, of which the first that has it counts. Raises DataError when it is nowhere."""
    given = Path(root).expanduser()
    places = [given] if given.is_absolute() else [checkout / given for checkout in checkouts]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise DataError(f"data.root: the folder '{root}' does not exist. Give the path of the folder that holds your images.")
    return found.resolve()


def download(
    *,
    dataset: Literal["shapes", "folder"],
    root: Path,
    data_format: str,
    counts: Mapping[str, int],
    size: tuple[int, int],
    seed: int,
    target: Path,
) -> None:
    """Write `target` (`data/raw`).

    `shapes`: generates `counts` images per split of `size` (height, width) from the seed, in the COCO layout.
    `folder`: lists what `data_format` reads below `root`.
    Raises DataError when the folder is missing, unreadable, without images, or in another layout.
    """
    with whole(target) as folder:
        folder.mkdir()
        if dataset == "shapes":
            shapes.generate(folder, counts, size, seed)
            files = FORMATS[GENERATED_FORMAT].files(folder)
            Manifest.of(dataset, GENERATED_FORMAT, folder, files).write(folder)
        else:
            Manifest.of(dataset, data_format, root, source_files(root, data_format)).write(folder)


def source_files(root: Path, data_format: str) -> list[Path]:
    """What a format reads below a user's folder, relative to it. Raises DataError when the folder cannot be used."""
    if not root.exists():
        raise DataError(f"The folder {root} does not exist. Give the path of the folder that holds your images.")
    if not root.is_dir():
        raise DataError(f"{root} is a file, not a folder. Give the path of the folder that holds your images.")
    if not os.access(root, os.R_OK | os.X_OK):
        raise DataError(f"The folder {root} cannot be read. Check its permissions.")
    if not any(f.suffix.lower() in IMAGE_SUFFIXES for f in root.rglob("*")):
        raise DataError(f"The folder {root} holds no images. Put annotated images there, or give the path of the folder that holds them.")
    return FORMATS[data_format].files(root)
