"""What one pass over a source has seen: each image in numbers, what was found, and what follows from all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segline.data.check import name_list
from segline.data.findings import Finding, Findings
from segline.data.formats.base import BACKGROUND, SourceTruth
from segline.data.leaks.across import Leak, findings, leaks
from segline.data.leaks.gathered import Gathered
from segline.data.store import IGNORE, SPLITS, Truth
from segline_runtime.specification import ClassInfo

_NAMED = 5
"""Files that a sentence names."""


@dataclass(frozen=True)
class Seen:
    """One image in numbers."""

    number: int  # of the record
    file: str  # relative to the root
    split: str
    size: tuple[int, int]  # height, width
    pixels: dict[int, int]  # by class id, and by 255; empty without a mask
    labels: NDArray[np.uint8]  # (N,) classes of the objects, crowds left out
    areas: NDArray[np.float32]  # (N,) square pixels
    content: str  # hash of the file

    @property
    def empty(self) -> bool:
        """Whether there is nothing but background and ignored pixels, of objects none. Which class is the background, the survey knows."""
        return not len(self.labels)


@dataclass(frozen=True)
class Look:
    """One image as it is drawn: its pixels `(H, W, C)` and its truth."""

    pixels: NDArray[Any]
    truth: SourceTruth | None  # None where it cannot be read


@dataclass
class Survey:
    """See the module's docstring. Images stand in the order of their names."""

    name: str
    root: Path
    format: str
    classes: tuple[ClassInfo, ...]
    truths: tuple[Truth, ...]
    images: list[Seen] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    converted: Counter[str] = field(default_factory=Counter)  # images by the rule that converted them
    skipped: list[str] = field(default_factory=list)
    total: int = 0  # images that the source has
    numbers: dict[str, int] = field(default_factory=dict)  # of the records, by file; also of those with errors
    prints: Gathered = field(default_factory=Gathered)  # of images that were not asked for it, none
    leaks: list[Leak] = field(default_factory=list)
    look: Callable[[int], Look] | None = None  # an image by its number, read again; None where the structure could not be read

    @property
    def background(self) -> int | None:
        """The class that nobody annotates: what no object covers."""
        return 0 if self.classes and self.classes[0].name == BACKGROUND else None

    def counts(self) -> dict[str, int]:
        """Images by split, of splits that have some."""
        found = Counter(seen.split for seen in self.images)
        return {split: found[split] for split in SPLITS if found[split]}

    def class_pixels(self, split: str | None = None) -> NDArray[np.int64]:
        """(256,) pixels by class id, and by 255."""
        total = [0] * (IGNORE + 1)
        for seen in self.images:
            if split in (None, seen.split):
                for label, number in seen.pixels.items():
                    total[label] += number
        return np.array(total, dtype=np.int64)

    def class_images(self, split: str | None = None) -> NDArray[np.int64]:
        """(256,) images that show the class, in their mask or as an object."""
        total = [0] * (IGNORE + 1)
        for seen in self.images:
            if split in (None, seen.split):
                for label in {*seen.pixels, *seen.labels.tolist()}:
                    total[label] += 1
        return np.array(total, dtype=np.int64)

    def class_objects(self) -> NDArray[np.int64]:
        """(256,) objects of the class, crowds left out."""
        if not self.images:
            return np.zeros(IGNORE + 1, dtype=np.int64)
        return np.bincount(np.concatenate([seen.labels for seen in self.images]), minlength=IGNORE + 1)

    def conclude(self, processes: int | None = 1) -> None:
        """Add what follows from all images together; `processes` that compare them, None: what this machine has."""
        if self.images:
            self.findings.add(self._of_ignored())
            self.findings.add(self._of_classes())
            self.findings.add(self._of_leaks(processes))
        self.findings.add(self._of_copies())
        self.findings.add(self._of_empty())
        for rule, number in sorted(self.converted.items()):
            self.findings.add([Finding("turned" if rule == TURNED else "converted", "", f"{_images(number)} {rule}.")])

    def _of_ignored(self) -> list[Finding]:
        """Single images of which there is nothing to learn."""
        idle = [seen.file for seen in self.images if seen.pixels.keys() == {IGNORE}]
        return [Finding("nothing_to_learn", file, f"Every pixel of the mask of {file} is ignored.") for file in idle]

    def _of_classes(self) -> list[Finding]:
        found = []
        everywhere = self.class_images()
        wanted = [info for info in self.classes if info.id != self.background]
        never = [info.name for info in wanted if not everywhere[info.id]]
        if never and len(never) < len(wanted):
            plural = "classes never occur" if len(never) > 1 else "class never occurs"
            found.append(Finding("class_never", "", f"{len(never)} {plural}: {name_list(never)}."))
        for split in self.counts():
            here = self.class_images(split)
            lacking = [info.name for info in wanted if everywhere[info.id] and not here[info.id]]
            if lacking:
                plural = "es" if len(lacking) > 1 else ""
                found.append(
                    Finding("class_not_in_split", "", f"The split {split} lacks {len(lacking)} class{plural} that others have: {name_list(lacking)}.", split)
                )
        return found

    def _of_leaks(self, processes: int | None) -> list[Finding]:
        """Images that show what an image of an earlier split shows."""
        files, splits = [seen.file for seen in self.images], [seen.split for seen in self.images]
        self.leaks = leaks(files, splits, self.prints, {seen.file: seen.content for seen in self.images}, processes=processes)
        return findings(self.leaks)

    def _of_copies(self) -> list[Finding]:
        """Images of one split whose files are byte-identical; those of several splits are known before any is read."""
        groups: dict[tuple[str, str], list[str]] = {}
        for seen in self.images:
            groups.setdefault((seen.content, seen.split), []).append(seen.file)
        several = [files for files in groups.values() if len(files) > 1]
        return [Finding("same_twice", files[0], f"{name_list(files, _NAMED)} are one image, byte for byte.") for files in several]

    def _of_empty(self) -> list[Finding]:
        """Images without objects, and with nothing but background."""
        if self.background is None and not {"instances", "boxes"} & set(self.truths):
            return []
        nothing = {IGNORE} if self.background is None else {IGNORE, self.background}
        objects = bool({"instances", "boxes"} & set(self.truths))
        empty = [seen.file for seen in self.images if (seen.pixels.keys() <= nothing or "index" not in self.truths) and (not objects or seen.empty)]
        if not empty:
            return []
        return [Finding("empty", "", f"{_images(len(empty))} show{'s' if len(empty) == 1 else ''} no object; kept: {name_list(empty, _NAMED)}.")]


TURNED = "turned as viewers turn them (EXIF orientation)"
GREY = "grey, whose channel is repeated to RGB"
ALPHA = "with transparency, which is dropped"
CMYK = "in CMYK, which become RGB"
PALETTE = "with a palette, whose colours are looked up"
DEPTH = "of 16 bits, of which the upper 8 are kept"
LUMINANCE = "in colour, of which the luminance is kept"
"""Rules by which images are converted, as a phrase about them."""


def _images(number: int) -> str:
    return f"{number} image{'' if number == 1 else 's'}"
