"""Images and masks as pairs: by patterns of paths, and which patterns a folder is laid out by.

A pattern is a path below the folder. `{name}` is what an image and its mask have in common (folders may be in it), `{split}` a word for train, val or test,
`*` anything within one name. Where a pattern ends in no file type, every type of image will do; a folder alone is every image in it.
Where an image has several masks, `{class}` or `{object}` is what tells them apart (`segline.data.reading.mask_parts`).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from segline.data.check import IMAGE_SUFFIXES
from segline.data.reading.pixel_values import PixelValues
from segline.data.reading.tree import Tree

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation"), "test"),
}
"""What people call the splits."""

MASK_WORDS = frozenset(
    (
        "mask", "masks", "label", "labels", "labelled", "labeled", "annot", "annots", "annotation", "annotations", "gt", "gts", "groundtruth", "truth", "seg",
        "segs", "segmentation", "segmentations", "segmentationclass", "target", "targets", "trimap", "trimaps", "matte", "mattes", "labelids",
        "labeltrainids", "ann", "anns",
    )
)  # fmt: skip
IMAGE_WORDS = frozenset(
    (
        "image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "rgb", "input", "inputs", "jpegimages", "pngimages", "leftimg",
        "leftimg8bit", "raw", "data", "sat", "scan", "scans",
    )
)  # fmt: skip
"""What people call folders and files of masks, and of images."""

NO_MASKS = frozenset(
    (
        "color", "colour", "colors", "colours", "vis", "visual", "visualization", "visualisation", "overlay", "overlays", "preview", "instance", "instances",
        "instanceids", "edge", "edges", "depth",
    )
)  # fmt: skip
"""What lies beside masks and is not what classes are read from."""

_LONGEST_FIRST = "|".join(sorted(SPLIT_WORDS, key=len, reverse=True))
_SPLIT_WORD = re.compile(rf"(?<![a-z])(?:{_LONGEST_FIRST})(?![a-z])", re.IGNORECASE)
_GLUED = re.compile(rf"(?:{_LONGEST_FIRST})(?=(?:annot|masks?|labels?|images?|imgs?|gt|seg)$)", re.IGNORECASE)  # trainannot, valmasks
_TOKEN = re.compile(r"[A-Za-z]+|[0-9]+|[^A-Za-z0-9]+")
_LETTER = re.compile("[A-Za-z]")
_PLACEHOLDER = re.compile(r"\{(\w*)\}|\*")

_MOST_FOLDERS = 60
"""Folders that are tried as those of images or masks; of more, the topmost."""

_TRIED = 200
"""Files of a folder by which it is tried whether another holds the images of these masks."""

_GLANCED = 20
"""Names by which it is seen at once that two folders have nothing in common."""

_LOOKED_AT = 6
"""Pairs of files that are looked into, to tell images and masks apart."""

_ENOUGH = 0.5
"""Share of the masks that must have an image."""


Key = tuple[str | None, str, str]
"""Split, the folders below, the name without its type."""

PARTS = ("class", "object")
"""Placeholders of what tells several masks of one image apart."""

_Affixes = tuple[str, str]
"""Beginning and end of a name."""


class Pattern:
    """One pattern, ready to be matched."""

    def __init__(self, text: str, *, parts: bool = False) -> None:
        """`parts`: whether {class} and {object} are known. Raises ValueError with a phrase for what is no pattern."""
        self.text = _whole_pattern(text, ("name", "split", *(PARTS if parts else ())))
        self._suffix = PurePosixPath(self.text).suffix.lower()
        self._suffix = self._suffix if self._suffix in IMAGE_SUFFIXES else ""
        body = self.text[: -len(self._suffix)] if self._suffix else self.text
        self._source = _regex(body)
        self._regex = re.compile(self._source)

    def match(self, file: PurePosixPath) -> tuple[str | None, str] | None:
        """The split (train, val, test or None) and the name of a file; None where it is none of the pattern's."""
        found = self._fullmatch(file, self._regex)
        return None if found is None else (_split_in(found), found["name"])

    def part(self, file: PurePosixPath, known: Container[tuple[str | None, str]]) -> tuple[tuple[str | None, str], str | None] | None:
        """The key, split and name, of the image that a file is a mask of, the longest name among the `known` ones, and what stands for {class}."""
        found = self._fullmatch(file, self._regex)
        while found is not None:
            key = _split_in(found), found["name"]
            if key in known:
                return key, found.groupdict().get("class")
            shorter = len(found["name"]) - 1
            found = self._fullmatch(file, re.compile(self._source.replace("(?P<name>.+)", f"(?P<name>.{{1,{shorter}}})"))) if shorter else None
        return None

    def _fullmatch(self, file: PurePosixPath, regex: re.Pattern[str]) -> re.Match[str] | None:
        suffix = file.suffix.lower()
        if suffix not in IMAGE_SUFFIXES or (self._suffix and suffix != self._suffix):
            return None
        return regex.fullmatch(file.as_posix()[: -len(file.suffix)])


def _split_in(found: re.Match[str]) -> str | None:
    word = found.groupdict().get("split")
    return None if word is None else SPLIT_WORDS[word.lower()]


def _whole_pattern(text: str, known: Sequence[str]) -> str:
    cleaned = "/".join(part for part in text.replace("\\", "/").split("/") if part not in ("", "."))
    words = _PLACEHOLDER.findall(cleaned)
    wrong = sorted({word for word in words if word not in ("", *known)} | ({"{}"} if "{}" in cleaned else set()))
    if wrong:
        raise ValueError(f"'{text}' holds {{{wrong[0].strip('{}')}}}; a pattern knows {', '.join(f'{{{word}}}' for word in known)} and *")
    if ".." in cleaned.split("/") or text.startswith("/") or re.match(r"[A-Za-z]:", text):
        raise ValueError(f"'{text}' leads out of the folder; write it relative to data.source, without '..'")
    if "{name}" not in cleaned:
        if PurePosixPath(cleaned).suffix.lower() in IMAGE_SUFFIXES:
            raise ValueError(f"'{text}' has no {{name}}, by which an image and its mask belong together; write for example 'masks/{{name}}_mask.png'")
        cleaned = f"{cleaned}/{{name}}" if cleaned else "{name}"
    return cleaned


def _regex(body: str) -> str:
    parts: list[str] = []
    seen: set[str] = set()
    end = 0
    for found in _PLACEHOLDER.finditer(body):
        parts.append(re.escape(body[end : found.start()]))
        word, end = found[1], found.end()
        if found[0] == "*":
            parts.append("[^/]*")
        elif word in seen:
            parts.append(f"(?P={word})")
        else:
            parts.append({"name": "(?P<name>.+)", "split": f"(?P<split>(?i:{_LONGEST_FIRST}))"}.get(word, f"(?P<{word}>[^/]+)"))
            seen.add(word)
    parts.append(re.escape(body[end:]))
    return "".join(parts)


@dataclass(frozen=True)
class Pairs:
    """What two patterns find. Keys are split and name."""

    images: dict[tuple[str | None, str], PurePosixPath]
    masks: dict[tuple[str | None, str], PurePosixPath]
    doubled: tuple[tuple[PurePosixPath, PurePosixPath], ...]  # two images, or two masks, of one name

    @property
    def common(self) -> list[tuple[str | None, str]]:
        return [key for key in self.images if key in self.masks]


def pairs_of(files: Iterable[PurePosixPath], images: Pattern, masks: Pattern) -> Pairs:
    """A file that both patterns match is a mask: `x_mask.png` beside `x.png` is no image called x_mask."""
    doubled: list[tuple[PurePosixPath, PurePosixPath]] = []
    found: tuple[dict[tuple[str | None, str], PurePosixPath], ...] = ({}, {})
    for file in files:
        which, key = 1, masks.match(file)
        if key is None:
            which, key = 0, images.match(file)
        if key is None:
            continue
        if key in found[which]:
            doubled.append((found[which][key], file))
        else:
            found[which][key] = file
    return Pairs(found[0], found[1], tuple(doubled))


@dataclass(frozen=True)
class Layout:
    """Two patterns that a folder is laid out by."""

    images: str
    masks: str
    pairs: int
    matched: float  # share of the masks that have an image
    sure: float  # 0…1: how much its masks look like masks, and its images like images
    others: tuple[str, ...] = ()  # patterns of masks that would have done as well


def layout_of(tree: Tree) -> Layout | None:
    """The two patterns that explain a folder best; None where nothing in it looks like images with masks."""
    groups = list(groups_of(tree.images))
    found: list[tuple[_Candidate, float]] = []
    for candidate in _candidates(groups):
        looked = _orientation(tree, candidate)
        if looked is not None:
            found.append(looked)
    if not found:
        return None
    most = max(candidate.pairs for candidate, _ in found)
    rivals = [(candidate, sure) for candidate, sure in found if candidate.pairs >= 0.9 * most]
    rivals.sort(key=lambda rival: (-round(rival[1], 1), -rival[0].pairs, rival[0].affixes, -rival[0].depth, rival[0].masks, rival[0].images))
    best, sure = rivals[0]
    others = tuple(dict.fromkeys(c.masks for c, s in rivals[1:] if c.images == best.images and c.masks != best.masks and s > sure - 0.3))
    return Layout(best.images, best.masks, best.pairs, best.pairs / max(1, best.of), sure, others)


@dataclass(frozen=True)
class Group:
    """The files of one folder, at any depth, or those of one type; `template` has {split} in the place of a split's word."""

    template: str  # "" or ends in /
    suffix: str  # "" for all types
    files: tuple[PurePosixPath, ...]
    keys: tuple[Key, ...]  # of each file: split, the folders below, the stem

    def pattern(self, prefix: str, ending: str) -> str:
        return f"{self.template}{prefix}{{name}}{ending}{self.suffix}"


@dataclass(frozen=True)
class _Candidate:
    """Two patterns, not yet known which is that of the masks."""

    images: str
    masks: str
    pairs: int
    of: int  # files that the pattern of the masks could have paired
    affixes: int  # what is taken off names, see `_cost`
    depth: int
    samples: tuple[tuple[PurePosixPath, PurePosixPath], ...]


def groups_of(files: Sequence[PurePosixPath]) -> Iterator[Group]:
    below: dict[str, list[tuple[PurePosixPath, Key]]] = defaultdict(list)
    direct: dict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        split, folders = _templated(file.parent.parts)
        for depth in range(len(folders) + 1):
            template = "".join(f"{name}/" for name in folders[:depth])
            seen = split if "{split}" in template else None
            rest = "".join(f"{name}/" for name in file.parent.parts[depth:])
            below[template].append((file, (seen, rest, file.stem)))
        direct["".join(f"{name}/" for name in folders)][file.suffix] += 1
    topmost = sorted(below, key=lambda template: (template.count("/"), template))[:_MOST_FOLDERS]
    for template in topmost:
        entries = below[template]
        yield Group(template, "", tuple(f for f, _ in entries), tuple(key for _, key in entries))
        for suffix in sorted(direct[template]) if len(direct[template]) > 1 else ():
            chosen = [(f, key) for f, key in entries if f.suffix == suffix and not key[1]]
            yield Group(template, suffix, tuple(f for f, _ in chosen), tuple(key for _, key in chosen))


def _templated(folders: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """A folder's split and its names with {split} in the place of the split's word."""
    split: str | None = None
    names: list[str] = []
    word = ""
    for name in folders:
        found = _SPLIT_WORD.search(name) or _GLUED.match(name)
        if found is None or (split is not None and found[0] != word):
            names.append(name)
            continue
        word, split = found[0], SPLIT_WORDS[found[0].lower()]
        names.append(f"{name[: found.start()]}{{split}}{name[found.end() :]}")
    return split, tuple(names)


def _candidates(groups: Sequence[Group]) -> Iterator[_Candidate]:
    """For each two folders in which enough files have a partner: the best affixes."""
    for group in groups:
        yield from _folder_each(group)
    indices = [_indices(group) for group in groups]
    glances = [_glance(group) for group in groups]
    for one, index in zip(groups, indices, strict=True):
        every = set().union(*index.values())
        for two, glance in zip(groups, glances, strict=True):
            best: tuple[int, int, _Affixes, _Affixes] | None = None
            for affixes, known in index.items() if not every.isdisjoint(glance) else ():
                for other, number in _votes(two, known, same=one.template == two.template and one.suffix == two.suffix).items():
                    entry = (-number, _cost(affixes) + _cost(other), affixes, other)
                    if best is None or entry < best:
                        best = entry
            if best is None or -best[0] < 0.1 * min(len(two.files), _TRIED):
                continue
            candidate = _candidate(one, two, best[2], best[3])
            if candidate is not None:
                yield candidate


def _folder_each(group: Group) -> Iterator[_Candidate]:
    """A folder for each image, in which all images have one name, and all masks another: `patient7/image.png`, `patient7/mask.png`."""
    stems = Counter(stem for _, rest, stem in group.keys if rest)
    often = [stem for stem, number in stems.most_common(6) if number >= max(2, 0.2 * len(group.files)) and number > 1]
    for image in often:
        for mask in often:
            candidate = None if image == mask else _named(group, group, f"{group.template}{{name}}/{image}", f"{group.template}{{name}}/{mask}", 0)
            if candidate is not None:
                yield candidate


def _cost(affixes: _Affixes) -> int:
    """How much is taken off a name: the less the better, but `_mask` rather than `mask`."""
    prefix, ending = affixes
    return len(prefix) + len(ending) + 2 * prefix[-1:].isalnum() + 2 * ending[:1].isalnum()


def _glance(group: Group) -> set[Key]:
    """What some of the group's names may be called without their affixes."""
    found: set[Key] = set()
    for split, rest, stem in group.keys[:: max(1, len(group.keys) // _GLANCED)]:
        found.add((split, rest, stem))
        found.update((split, rest, stem[len(prefix) : len(stem) - len(ending)]) for prefix, ending in _cuts(stem))
    return found


def _candidate(one: Group, two: Group, affixes: _Affixes, other: _Affixes) -> _Candidate | None:
    return _named(one, two, one.pattern(*affixes), two.pattern(*other), _cost(affixes) + _cost(other))


def _named(one: Group, two: Group, images: str, masks: str, affixes: int) -> _Candidate | None:
    """Two patterns as a candidate; None where they find too little in the files of two groups."""
    if images == masks:
        return None
    try:
        found = pairs_of(sorted({*one.files, *two.files}), Pattern(images), Pattern(masks))
    except ValueError:
        return None  # braces in the names themselves
    common = found.common
    if not common:
        return None
    splits = {split for split, _ in common}
    of = sum(split in splits for split, _ in found.masks)
    if len(common) < _ENOUGH * of:
        return None
    step = max(1, len(common) // _LOOKED_AT)
    samples = tuple((found.images[key], found.masks[key]) for key in common[::step][:_LOOKED_AT])
    depth = one.template.count("/") + two.template.count("/")
    return _Candidate(images, masks, len(common), of, affixes, depth, samples)


def _indices(group: Group) -> dict[_Affixes, set[Key]]:
    """The group's keys without each of the affixes that many of its names have, by affix."""
    found: dict[_Affixes, set[Key]] = {}
    for prefix, ending in [("", ""), *_affixes(group)]:
        found[prefix, ending] = {
            (split, rest, stem[len(prefix) : len(stem) - len(ending)])
            for split, rest, stem in group.keys
            if stem.startswith(prefix) and stem.endswith(ending) and len(stem) > len(prefix) + len(ending)
        }
    return found


def _affixes(group: Group) -> list[_Affixes]:
    """Beginnings and endings with a letter in them that many names of the group have, at most four of each."""
    before: Counter[str] = Counter()
    behind: Counter[str] = Counter()
    for _, _, stem in group.keys[:: max(1, len(group.keys) // _TRIED)]:
        for prefix, ending in _cuts(stem):
            before[prefix] += bool(prefix)
            behind[ending] += bool(ending)
    least = max(2, 0.3 * min(len(group.keys), _TRIED))
    return [(text, "") for text in _frequent(before, least)] + [("", text) for text in _frequent(behind, least)]


def _frequent(counts: Counter[str], least: float) -> list[str]:
    often = [text for text, number in counts.items() if number >= least and _LETTER.search(text)]
    return sorted(often, key=lambda text: (-counts[text], len(text), text))[:4]


def _cuts(stem: str) -> Iterator[_Affixes]:
    """(prefix, "") and ("", ending) for each place where letters, digits and other characters meet; never all of the name."""
    ends = [token.end() for token in _TOKEN.finditer(stem)][:-1]
    for end in ends[:6]:
        yield stem[:end], ""
    for end in ends[-6:]:
        yield "", stem[end:]


def _votes(group: Group, known: set[Key], *, same: bool) -> Counter[_Affixes]:
    """How many of a group's files have their image among `known`, by the affix that is to be taken off. `same`: these are the group's own files."""
    found: Counter[_Affixes] = Counter()
    for split, rest, stem in group.keys[:: max(1, len(group.keys) // _TRIED)]:
        if (split, rest, stem) in known and not same:
            found["", ""] += 1
        for prefix, ending in _cuts(stem):
            middle = stem[len(prefix) : len(stem) - len(ending)]
            if _LETTER.search(prefix + ending) and (split, rest, middle) in known:
                found[prefix, ending] += 1
    return found


def _orientation(tree: Tree, candidate: _Candidate) -> tuple[_Candidate, float] | None:
    """The candidate, with how sure it is that its second pattern is that of masks, and its first that of images; None where it is not."""
    likeness = [_likeness(tree.values(image), tree.values(mask), image, mask) for image, mask in candidate.samples]
    if not likeness:
        return None
    words = _words(candidate.masks, candidate.images), _words(candidate.images, candidate.masks)
    hint = 0.25 * (bool(words[0] & MASK_WORDS) - bool(words[0] & NO_MASKS)) + 0.15 * (bool(words[1] & IMAGE_WORDS) - bool(words[1] & MASK_WORDS))
    sure = sum(likeness) / len(likeness) + hint
    return None if sure < 0.3 else (candidate, min(1.0, sure))


def _likeness(image: PixelValues | None, mask: PixelValues | None, image_file: PurePosixPath, mask_file: PurePosixPath) -> float:
    """About 0.6 where one looks like an image and the other like its mask; below 0 where it looks the other way round."""
    if mask is None or not mask.counts:
        return -1.0
    found = 0.3 if len(mask.counts) <= 32 else 0.15 if not mask.colour else 0.0 if len(mask.counts) <= 256 else -1.0
    if image is not None:
        if image.size != mask.size:
            found -= 0.5
        found += 0.3 * (mask.even - image.even) + 0.1 * (image.colour and not mask.colour)
        found += 0.2 * (not image.counts or len(image.counts) > 2 * len(mask.counts))
        found -= 0.4 * (bool(image.counts) and len(image.counts) < len(mask.counts))
    else:
        found += 0.2
    return found + (0.1 if image_file.suffix.lower() in (".jpg", ".jpeg") and mask_file.suffix.lower() not in (".jpg", ".jpeg") else 0.0)


def _words(pattern: str, other: str) -> set[str]:
    """The words of a pattern that the other does not have: `data/images` and `data/masks` differ in one."""
    own, theirs = (set(re.findall("[a-z]+8?[a-z]*", text.replace("{name}", "").replace("{split}", "").lower())) for text in (pattern, other))
    return own - theirs
