"""What is wrong with a source, and what is worth knowing of it: the table of kinds, and findings, each with its file, its place and a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
"""An error stops `prepare` (or costs the image, see data.on_error); a warning is told, and the data is taken as it is; a note is counted."""

MOST_KEPT = 1000
"""Findings of one kind that are listed; the others are counted."""


@dataclass(frozen=True)
class Kind:
    """What findings of one kind have in common."""

    title: str
    severity: Severity
    remedy: str  # a sentence: what helps in general


KINDS: dict[str, Kind] = {
    "structure": Kind(
        "Lists and annotation files", "error",
        "Correct the file at the place that is named, or set data.format to the layout that the folder is in.",
    ),
    "unreadable": Kind(
        "Files that cannot be read", "error",
        "Copy the file again from where it came from, or remove it with its truth; data.on_error: skip leaves it out.",
    ),
    "size": Kind("Truth of another size than its image", "error", "Export the truth again at the size of the image; resize neither by hand."),
    "labels": Kind("Label values that are no class", "error", "Give the value a class (data.classes), ignore it (data.ignore), or correct the mask."),
    "colours": Kind("Masks in colours", "error", "Save class ids as pixel values (index PNG), or say which colour is which class."),
    "image_kind": Kind("Images of unlike kinds", "error", "Convert the odd ones, or set data.images to rgb."),
    "truth": Kind("Truth that cannot be used", "error", "Correct the annotation at the place that is named."),
    "occurrence": Kind(
        "Truth that teaches nothing", "error",
        "Look at a mask: its values are most likely not the class ids that data.classes and data.ignore say; a mask of 0/255 needs class ids instead.",
    ),
    "palette": Kind(
        "Masks whose palettes differ", "warning",
        "An index means one class in every file: save all masks with one palette, in the order of the classes.",
    ),
    "class_never": Kind("Classes that never occur", "warning", "Annotate some objects of the class, or leave it out of data.classes."),
    "class_not_in_split": Kind("Classes that a split lacks", "warning", "Add images of the class to the split, or let data.splits draw other splits."),
    "same_in_splits": Kind("One image in several splits", "warning", "Keep it in one of them: a model is not to be scored on what it has learnt."),
    "near_in_splits": Kind(
        "Images of one scene in several splits", "warning",
        "A model's score on them is too good: data.splits.group: auto draws them into one split, data.on_leak: drop takes them out of the training.",
    ),
    "dropped": Kind("Images that were dropped from training", "note", "Nothing: they show what a scored image shows, and data.on_leak is drop."),
    "same_twice": Kind("One image several times", "note", "Keep one of them, unless it is meant to count more than the others."),
    "nothing_to_learn": Kind("Images of which everything is ignored", "warning", "Correct their masks, or remove them: they take part in nothing."),
    "polygon": Kind("Broken outlines", "warning", "Correct the outline in the annotation tool; what can be drawn of it is drawn."),
    "box": Kind("Boxes that are not those of their masks", "warning", "Nothing, if the mask is right: the box was drawn anew from it."),
    "left_out": Kind("What was left out", "warning", "Add what is missing, or remove what has no partner."),
    "skipped": Kind("Images that were skipped", "warning", "They had errors, and data.on_error is skip: correct them to have them back."),
    "empty": Kind("Images that show nothing", "note", "Nothing: images without objects teach a model where there is none."),
    "turned": Kind("Images with an EXIF orientation", "note", "Nothing: they are turned as viewers turn them, with their truth."),
    "converted": Kind("Images that were converted", "note", "Nothing, unless data.images should be another: grey, as_is or rgb."),
}  # fmt: skip
"""In the order in which they are shown."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    kind: str  # of KINDS
    file: str  # relative to the root; empty where it concerns the data set
    sentence: str
    place: str = ""  # within the file: a line, an annotation, a pixel
    image: str = ""  # that shows it, where the file is another
    beside: str = ""  # another image that is to be seen with it

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind].severity

    def to_dict(self) -> dict[str, Any]:
        told = {"kind": self.kind, "severity": self.severity, "file": self.file, "place": self.place, "sentence": self.sentence}
        return {**told, "remedy": KINDS[self.kind].remedy}


class Findings:
    """Findings by kind: all are counted, and the first of each kind are kept."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._kept: dict[str, list[Finding]] = {}

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.counts[finding.kind] += 1
            kept = self._kept.setdefault(finding.kind, [])
            if len(kept) < MOST_KEPT:
                kept.append(finding)

    def __iter__(self) -> Iterator[Finding]:
        """By kind, in the order of KINDS."""
        for kind in KINDS:
            yield from self._kept.get(kind, ())

    def of(self, kind: str) -> list[Finding]:
        return list(self._kept.get(kind, ()))

    def number(self, severity: Severity) -> int:
        return sum(count for kind, count in self.counts.items() if KINDS[kind].severity == severity)

    def errors(self) -> list[Finding]:
        return [finding for finding in self if finding.severity == "error"]
