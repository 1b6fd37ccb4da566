"""What may be wrong with source data: images and masks are decoded here, and every problem becomes a sentence.

Corrupt data (an unreadable image, a mask of another size, an unknown label value) stops `prepare`, with one sentence per file: silently dropping data is worse.
Harmless things (an image nobody annotated, an object of no pixels) are refused: listed in `check.json`, told on stderr, and left out.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from segline.errors import DataError
from segline_runtime.images import SUFFIXES

SHOWN = 20
"""Sentences shown of one kind; the rest is counted."""

IMAGE_SUFFIXES = frozenset({*SUFFIXES, ".npy"})
"""Endings of files that are taken for images, in lower case."""

_LABEL_MODES = frozenset({"1", "I", "I;16", "I;16B", "L", "P"})


@dataclass(frozen=True)
class Refused:
    """Something that is left out, and why. `file` is relative to the data's root."""

    file: str
    reason: str


@dataclass(frozen=True)
class Frame:
    """The pixel grid that the truth of an image lies on: the image's, upright."""

    height: int
    width: int
    turned: bool = False  # its file holds the pixels lying on their side, with a flag that viewers turn them by


def fail(problems: Sequence[str]) -> None:
    """Raise DataError with all problems, or return when there are none; beyond `SHOWN` they are only counted."""
    if problems:
        more = len(problems) - SHOWN
        raise DataError(*problems[:SHOWN], *([f"… and {more} more of these."] if more > 0 else []))


def tell(refused: Sequence[Refused]) -> None:
    """Say on stderr what was left out."""
    for item in refused[:SHOWN]:
        print(f"left out: {item.file}: {item.reason}", file=sys.stderr)
    if len(refused) > SHOWN:
        print(f"left out: … and {len(refused) - SHOWN} more; all are listed in check.json", file=sys.stderr)


def check_root(root: Path) -> None:
    """Raises DataError when a user's folder cannot be used."""
    if not root.exists():
        raise DataError(f"The folder {root} does not exist. Give the path of the folder that holds your images.")
    if not root.is_dir():
        raise DataError(f"{root} is a file, not a folder. Give the path of the folder that holds your images.")
    if not os.access(root, os.R_OK | os.X_OK):
        raise DataError(f"The folder {root} cannot be read. Check its permissions.")
    if not any(f.suffix.lower() in IMAGE_SUFFIXES for f in root.rglob("*")):
        raise DataError(f"The folder {root} holds no images. Put annotated images there, or give the path of the folder that holds them.")


def read_bytes(file: Path, shown: str) -> bytes:
    """The content of a source file. Raises DataError when it cannot be read."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{shown} does not exist, though the annotations or lists name it; add the file or remove its entry.") from None
    except PermissionError:
        raise DataError(f"{shown} cannot be read; check its permissions.") from None
    except IsADirectoryError:
        raise DataError(f"{shown} is a folder, though the annotations or lists name it as a file; correct the entry.") from None


def decode(content: bytes, shown: str) -> Image.Image:
    """Decode a mask as its file has it. Raises DataError when it is no image, damaged, or so large that it is taken for an attack."""
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = "it is no image" if isinstance(error, UnidentifiedImageError) else str(error)
        raise DataError(f"{shown} cannot be decoded ({reason}); replace it or remove it from the data.") from None
    return image


def check_size(size: tuple[int, int], frame: Frame, truth: str, shown: str) -> None:
    """`size` is `(H, W)` of the truth. Raises DataError when it is not that of the image."""
    height, width = frame.height, frame.width
    if size != (height, width):
        lying = frame.turned and size == (width, height)
        hint = " The image carries a flag that viewers turn it by (EXIF orientation); save its pixels turned instead." if lying else ""
        raise DataError(f"{truth} is {size[1]}x{size[0]} pixels, but its image {shown} is {width}x{height}; both must have one size.{hint}")


def read_labels(file: Path, shown: str) -> NDArray[np.integer]:
    """A mask whose pixel values are labels, `(H, W)`. Palette images give their indices. Raises DataError for colour masks and unreadable files."""
    image = decode(read_bytes(file, shown), shown)
    if image.mode not in _LABEL_MODES:
        raise DataError(f"{shown} is a colour image (mode {image.mode}), not a mask of label values; save class ids as the pixel values of a grey PNG.")
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
    raise DataError(f"{shown} holds the unknown label value{plural} {name_list(unknown)}; {known}. {hint}")


def name_list(values: Iterable[object], most: int = 12) -> str:
    """Values separated by commas, shortened in the middle of long lists."""
    words = [str(value) for value in values]
    return ", ".join(words if len(words) <= most else [*words[: most - 1], "…", words[-1]])
