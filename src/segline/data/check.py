"""What may be wrong with source data: images and masks are decoded here, and every problem becomes a sentence.

Corrupt data (an unreadable image, a mask of another size, an unknown label value) stops `prepare`, with one sentence per file: silently dropping data is worse.
Harmless things (an image nobody annotated, an object of no pixels) are refused: listed in `check.json`, told on stderr, and left out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segline.errors import DataError
from segline_runtime.errors import InputError, NoImageError
from segline_runtime.images import SUFFIXES, UNNAMED, decoding, open_picture, orientation_of

SHOWN = 20
"""Sentences shown of one kind; the rest is counted."""

IMAGE_SUFFIXES = frozenset({*SUFFIXES, ".npy"})
"""Endings of files that are taken for images, in lower case."""

_QUOTED = 100
"""Characters of a value that a sentence quotes."""

_LABEL_MODES = frozenset({"1", "I", "I;16", "I;16B", "L", "P"})


@dataclass(frozen=True)
class Refused:
    """Something that is left out, and why. `file` is relative to the data's root."""

    file: str
    reason: str


@dataclass(frozen=True)
class Frame:
    """The pixel grid that the truth of an image lies on."""

    height: int
    width: int
    open: bool = False  # the truth's size is to tell whether it is this grid, or the one with height and width swapped


class OnItsSideError(DataError):
    """Truth that lies on the other grid of a frame that is `open`."""


def fail(problems: Sequence[str]) -> None:
    """Raise DataError with all problems, or return when there are none; beyond `SHOWN` they are only counted."""
    if problems:
        more = len(problems) - SHOWN
        raise DataError(*problems[:SHOWN], *([f"… and {more} more of these."] if more > 0 else []))


def tell(refused: Sequence[Refused], what: str = "left out") -> None:
    """Say on stderr what was left out, or is to be known of the data otherwise."""
    for item in refused[:SHOWN]:
        print(f"{what}: {item.file}: {item.reason}", file=sys.stderr)
    if len(refused) > SHOWN:
        print(f"{what}: … and {len(refused) - SHOWN} more; all are listed in check.json", file=sys.stderr)


def copies_across(images: Sequence[Path], assigned: Sequence[str], contents: Mapping[str, str]) -> list[Refused]:
    """Images that are byte for byte the same as one of another split: a model would be scored on what it learnt. By their path and their `contents`, a hash."""
    first: dict[tuple[str, str], str] = {}
    for image, split in zip(images, assigned, strict=True):
        first.setdefault((contents[image.as_posix()], split), image.as_posix())
    found = []
    for image, split in zip(images, assigned, strict=True):
        name = image.as_posix()
        learnt = first.get((contents[name], "train"))
        steered = first.get((contents[name], "val"))
        other, where = (learnt, "train") if learnt else (steered, "val")
        if other is not None and split != where:
            found.append(Refused(name, f"in {split}, is byte for byte {other} in {where}, so what it is scored by was seen before; remove one of them"))
    return found


def check_root(root: Path) -> None:
    """Raises DataError when a user's folder cannot be used."""
    if not root.exists():
        raise DataError(f"The folder {root} does not exist. Give the path of the folder that holds your images.")
    if not root.is_dir():
        raise DataError(f"{root} is a file, not a folder. Give the path of the folder that holds your images.")
    if not os.access(root, os.R_OK | os.X_OK):
        raise DataError(f"The folder {root} cannot be read. Check its permissions.")
    linked = [f for f in root.iterdir() if f.is_symlink() and f.is_dir()]  # which rglob passes by
    if not any(f.suffix.lower() in IMAGE_SUFFIXES for folder in (root, *linked) for f in folder.rglob("*")):
        raise DataError(f"The folder {root} holds no images. Put annotated images there, or give the path of the folder that holds them.")


def read_bytes(file: Path, shown: str) -> bytes:
    """The content of a source file. Raises DataError when it cannot be read."""
    shown = brief(shown)
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{shown} does not exist, though the annotations or lists name it; add the file or remove its entry.", kind="unreadable") from None
    except PermissionError:
        raise DataError(f"{shown} cannot be read; check its permissions.", kind="unreadable") from None
    except IsADirectoryError:
        raise DataError(f"{shown} is a folder, though the annotations or lists name it as a file; correct the entry.", kind="unreadable") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{shown} cannot be read ({brief(error)}); correct its entry, or the file.", kind="unreadable") from None


def decode(content: bytes, shown: str) -> Image.Image:
    """Decode a mask as its file has it. Raises DataError when it is no image, damaged, so large that it is taken for an attack, or flagged to be turned."""
    try:
        with decoding(UNNAMED):
            image = open_picture(content)
            orientation = orientation_of(image)
            image.load()
    except InputError as error:
        raise undecodable(shown, error) from None
    if orientation != 1:
        raise DataError(f"{shown} carries a flag that viewers turn it by (EXIF orientation {orientation}); save its pixels turned, without the flag.")
    return image


def undecodable(shown: str, error: InputError) -> DataError:
    """The sentence for a file that the runtime, which called it `UNNAMED`, could not decode."""
    reason = "it is no image" if isinstance(error, NoImageError) else f"it {str(error).removeprefix(UNNAMED).strip().rstrip('.')}"
    return DataError(f"{shown} cannot be decoded ({reason}); replace it or remove it from the data.", kind="unreadable")


def check_size(size: tuple[int, int], frame: Frame, truth: str, shown: str) -> None:
    """`size` is `(H, W)` of the truth. Raises DataError when it is not that of the image."""
    height, width = frame.height, frame.width
    if size != (height, width):
        kind = OnItsSideError if frame.open and size == (width, height) else DataError
        raise kind(f"{truth} is {size[1]}x{size[0]} pixels, but its image {shown} is {width}x{height}; both must have one size.", kind="size")


def read_labels(file: Path, shown: str) -> NDArray[np.integer]:
    """A mask whose pixel values are labels, `(H, W)`. Palette images give their indices. Raises DataError for colour masks and unreadable files."""
    image = decode(read_bytes(file, shown), shown)
    if image.mode not in _LABEL_MODES:
        raise DataError(
            f"{shown} is a colour image (mode {image.mode}), not a mask of label values; save class ids as the pixel values of a grey PNG.", kind="colours"
        )
    labels = np.asarray(image)
    return labels.astype(np.uint8) if labels.dtype == np.bool_ else labels


def check_labels(labels: NDArray[np.integer], classes: Sequence[str], ignore: Collection[int], shown: str) -> None:
    """Raises DataError when a mask holds values that are neither a class id nor ignored."""
    found = {int(value) for value in np.unique(labels)}
    unknown = sorted(found - set(range(len(classes))) - set(ignore))
    if not unknown:
        return
    known = f"known are 0…{len(classes) - 1} ({name_list(classes)})" + (f", ignored {name_list(sorted(ignore))}" if ignore else "")
    if found <= {0, 255}:
        hint = "It looks like a mask saved as 0/255: save class ids as pixel values."
    else:
        hint = "Correct the mask, or set data.classes and data.ignore in params.yaml."
    plural = "s" if len(unknown) > 1 else ""
    row, column = (int(v) for v in np.argwhere(np.isin(labels, unknown))[0])
    raise DataError(f"{shown} holds the unknown label value{plural} {name_list(unknown)}; {known}. {hint}", kind="labels", place=f"x {column}, y {row}")


def name_list(values: Iterable[object], most: int = 12) -> str:
    """Values separated by commas, shortened in the middle of long lists."""
    words = list(values)
    return ", ".join(brief(word) for word in (words if len(words) <= most else [*words[: most - 1], "…", words[-1]]))


def brief(value: object) -> str:
    """What a file says, as a sentence quotes it: shortened, and what cannot be printed is escaped."""
    text = str(value)
    shown = text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)


def is_file(file: Path) -> bool:
    """Whether a file is there; a name that no file can have (too long, of odd characters) is none."""
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False
