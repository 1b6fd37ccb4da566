"""Damaged sources, prepared and read back: folders in each of the formats of which one value, line or file is not what it should be.

    python benchmarks/hostile/formats.py [cases] [--formats WORD …]

Writes formats.json after each format, and keeps what stands there of the others; `cases` is the number for each.
A case is a tiny source, damaged, that goes through `download` and `prepare`; what comes out is read with all its truth.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tool_sources
from campaign import Case, Result, campaign, figures
from mutations import ODD_VALUES, damaged_bytes, damaged_tree
from PIL import Image

from segline.data.download import download
from segline.data.formats import catalog
from segline.data.masks import encode_mask
from segline.data.prepare import prepare
from segline.data.sources import Splits
from segline.data.store import PreparedDataset

sys.path += [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "tests")]
import layout_sources
import layouts
import public_sources
import results

H, W = 24, 32
SEED = 7

TYPES = ("png", "jpg", "bmp", "tif", "webp", "ppm")
MASKS = ("png", "bmp", "tif", "pgm", "png")

Damage = Callable[[Path, np.random.Generator], str]
"""Damages a source in place and says how."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="?", type=int, default=2000)
    parser.add_argument("--formats", nargs="*", choices=DAMAGES, default=list(DAMAGES), metavar="WORD", help=f"of {', '.join(DAMAGES)}; default: all")
    chosen = parser.parse_args()
    ready()
    for word in chosen.formats:
        by_damage: dict[str, Result] = {}
        for damage in DAMAGES[word]:
            kind = damage.__name__.strip("_").replace("_", " ")
            by_damage[kind] = campaign(cases(word, damage, -(-chosen.cases // len(DAMAGES[word]))))
        keep(word, by_damage)


def keep(word: str, by_damage: Mapping[str, Result]) -> None:
    """Put the figures of a format into the file, in place of those that it had."""
    whole = Result()
    for kind, found in by_damage.items():
        whole.merge(found, kind)
    around = results.surroundings()
    file = results.beside(__file__)
    before = json.loads(file.read_text(encoding="utf-8")).get("formats", {}) if file.exists() else {}
    told = {kind: dict(sorted(found.outcomes.items())) for kind, found in by_damage.items()}
    formats = before | {word: {"commit": around["commit"], "date": around["date"], **figures(whole), "by_damage": told}}
    outcomes: Counter[str] = Counter()
    for one in formats.values():
        outcomes.update(one["outcomes"])
    results.write(file, {"seed": SEED, "cases": outcomes.total(), "outcomes": dict(sorted(outcomes.items())), "formats": formats}, around)


def ready() -> None:
    """Take one undamaged source of each format: a damaged one differs in nothing else, and what all import is imported before they fork."""
    Image.init()
    importlib.import_module("tifffile")
    for word, make in SOURCES.items():
        with tempfile.TemporaryDirectory() as folder:
            trial(word, make(Path(folder) / "root"))


def cases(word: str, damage: Damage, number: int) -> Iterator[Case]:
    """`number` sources of a format, each damaged in another way. A case leaves nothing behind."""
    for i in range(number):
        folder = Path(tempfile.mkdtemp(prefix="hostile-"))
        try:
            root = SOURCES[word](folder / "root")
            random = np.random.default_rng([SEED, *word.encode(), *damage.__name__.encode(), i])
            yield f"{word} {damage.__name__} {i}: {damage(root, random)}", lambda root=root: trial(word, root)  # type: ignore[misc]
        finally:
            shutil.rmtree(folder)


def trial(word: str, root: Path) -> None:
    """Prepare a source and read all of it back."""
    target = root.parent
    settings = catalog.get(READ_AS.get(word, word)).Settings(source=str(root), splits=Splits(val=0.3, test=0.3))
    download(settings, root=root, seed=0, target=target / "raw")
    prepare(settings, raw=target / "raw", root=root, target=target / "prepared")
    data = PreparedDataset(target / "prepared")
    for split in data.info.counts:
        for sample in data.split(split, data.info.truths):
            height, width = sample.image.shape[:2]
            assert sample.mask is None or sample.mask.shape == (height, width)
            if sample.instances is not None and sample.instances.outlined:
                assert sample.instances.masks.shape[1:] == (height, width)
                assert np.isfinite(sample.instances.boxes).all() and np.isfinite(sample.instances.areas).all()


# sources ------------------------------------------------------------------------------------------------------------------------------------------------


def save(file: Path, pixels: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(file)


def picture(file: Path) -> None:
    save(file, np.random.default_rng(list(file.name.encode())).integers(0, 255, (H, W, 3)))


def coco(root: Path) -> Path:
    """Two annotation files with polygons, RLE of both kinds, a crowd and a box; one image in two types of file."""
    mask = np.zeros((H, W), np.bool_)
    mask[3:9, 4:12] = True
    packed: dict[str, Any] = encode_mask(mask)
    runs = [{"size": [H, W], "counts": [4 * H + 3, *([6, H - 6] * 8)[:-1], H * W - 4 * H - 3 - 8 * H + H - 6]}]
    shapes = [[[2, 2, 9, 2, 9, 8, 2, 8]], [[1.5, 1, 7, 1.25, 4, 9], [20, 20, 30, 20, 25, 23]], packed["segmentation"], *runs]
    for number, split in enumerate(("train", "val")):
        images, annotations = [], []
        for i in range(3):
            name = f"{split}{i}.{TYPES[3 * number + i]}"
            picture(root / split / name)
            images.append({"id": i + 1, "file_name": name, "height": H, "width": W})
            for k, shape in enumerate(shapes):
                own = {"id": 10 * i + k + 1, "image_id": i + 1, "category_id": 3 + 4 * (k % 2), "iscrowd": int(k == 3), "segmentation": shape}
                annotations.append({**own, "area": 40.5, "bbox": [2, 2, 7.5, 6]})
        content: dict[str, Any] = {"info": {"year": 2024}, "licenses": [{"id": 1, "name": "CC0"}], "images": images, "annotations": annotations}
        content["categories"] = [{"id": 3, "name": "cat", "supercategory": "animal"}, {"id": 7, "name": "dog"}]
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}{2017 * (1 - number) or ''}.json").write_text(json.dumps(content))
    return root


def camvid(root: Path) -> Path:
    for split, names in (("train", "abc"), ("val", "de")):
        lines = []
        for name in names:
            image, truth = f"{name}.{TYPES['abcde'.index(name)]}", f"{name}.{MASKS['abcde'.index(name)]}"
            picture(root / split / image)
            mask = np.full((H, W), 3)
            mask[:4], mask[9] = 11, 8
            save(root / f"{split}annot" / truth, mask)
            lines.append(f"{split}/{image} /SegNet/CamVid/{split}annot/{truth}\n")
        (root / f"{split}.txt").write_text("".join(lines))
    return root


def pennfudan(root: Path) -> Path:
    for i in range(5):
        picture(root / "PNGImages" / f"im{i}.{TYPES[i]}")
        mask = np.zeros((H, W))
        mask[2:9, 2:9], mask[5:12, 12:20] = 1, 2
        save(root / "PedMasks" / f"im{i}_mask.{MASKS[i]}", mask)
    return root


def panoptic(root: Path) -> Path:
    """COCO's panoptic annotations; a word of its own, as `coco` is damaged in other ways."""
    return tool_sources.panoptic(root)


TOOLS: dict[str, Callable[[Path], Path]] = {**{source.word: source.make for source in tool_sources.SOURCES}, "panoptic": panoptic}
"""The formats of annotation tools."""


def layout(word: str) -> Callable[[Path], Path]:
    """One of the layouts of images with masks."""
    [made] = (one for one in layouts.LAYOUTS if one.word == word)

    def make(root: Path) -> Path:
        made.make(root)
        return root

    return make


LISTED = ("coloured-with-list", "mask-per-class", "mask-per-object")
"""Layouts of images with masks: colours that a file names, several masks of an image."""

SETS: dict[str, Callable[[Path], Path]] = {
    "cityscapes": lambda root: layout_sources.make_cityscapes(root, polygons=True),
    "cityscapes polygons": lambda root: layout_sources.make_cityscapes(root, masks=False),
    "kitti": layout_sources.make_kitti,
    "ade20k": layout_sources.make_ade20k,
    "ade20k full": layout_sources.make_ade20k_full,
    "mapillary": layout_sources.make_mapillary,
    "voc": layout_sources.make_voc,
    "voc boxes": layout_sources.make_voc_boxes,
    "isbi2012": layout_sources.make_isbi2012,
    "isbi2012 stacks": layout_sources.make_isbi2012_stacks,
    "camvid colours": layout_sources.make_camvid_colours,
    "oxford_pet": public_sources.make_oxford_pet,
    "ctc": lambda root: public_sources.make_ctc(root, ("01", "02", "03")),
    "bsds500": public_sources.make_bsds500,
    "carvana": public_sources.make_carvana,
    "voc_sbd": public_sources.make_voc_sbd,
    **{f"masks {word}": layout(word) for word in LISTED},
}
"""Public data sets' layouts, and images with masks."""

SOURCES: dict[str, Callable[[Path], Path]] = {"coco": coco, "camvid": camvid, "pennfudan": pennfudan, **TOOLS, **SETS}

READ_AS = {"panoptic": "coco", **{word: word.partition(" ")[0] for word in SETS}}
"""Sources that are called otherwise than their format."""


# damages ------------------------------------------------------------------------------------------------------------------------------------------------


def one_of(files: list[Path], random: np.random.Generator) -> Path:
    return sorted(files)[int(random.integers(0, len(files)))]


def json_values(root: Path, random: np.random.Generator) -> str:
    file = one_of(list((root / "annotations").iterdir()), random)
    tree = json.loads(file.read_text())
    if random.random() < 0.4:
        tree, what = damaged_tree(tree, random)
    else:  # one key of one entry: most places of the whole tree are coordinates
        section = ("images", "annotations", "categories")[int(random.integers(0, 3))]
        entry = tree[section][int(random.integers(0, len(tree[section])))]
        key = sorted(entry)[int(random.integers(0, len(entry)))]
        entry[key] = ODD_VALUES[int(random.integers(0, len(ODD_VALUES)))]
        what = f"{section}, {key} = {str(entry[key])[:40]!r}"
    file.write_text(json.dumps(tree))
    return f"{file.name}: {what}"


def tool_files(root: Path, random: np.random.Generator) -> str:
    """A file of an annotation tool: a place of its JSON, or some of its bytes."""
    file = one_of([file for file in root.rglob("*.*") if file.suffix in TEXTS], random)
    if file.suffix != ".json" or random.random() < 0.3:
        return _damage(file, random)
    tree, what = damaged_tree(json.loads(file.read_text()), random)
    file.write_text(json.dumps(tree))
    return f"{file.relative_to(root)}: {what}"


NUMBERS = (
    "nan",
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e400",
    "-1",
    "0",
    "0.5",
    "4294967296",
    "9" * 400,
    "",
    "x",
    "1,5",
    "0x10",
    "٣",
    "1e-320",
    "1_000",
    "+7",
    "--1",
)
TEXTS = (".json", ".ndjson", ".xml", ".txt", ".yaml", ".csv")


def text_numbers(root: Path, random: np.random.Generator) -> str:
    """Some numbers of a text, whatever its syntax."""
    file = one_of([file for file in root.rglob("*.*") if file.suffix in TEXTS], random)
    text = file.read_text()
    places = list(re.finditer(r"-?\d+(?:\.\d+)?", text))
    told = []
    for place in sorted((places[int(i)] for i in random.integers(0, len(places), int(random.integers(1, 4)))), key=lambda found: -found.start()):
        value = NUMBERS[int(random.integers(0, len(NUMBERS)))]
        text = text[: place.start()] + value + text[place.end() :]
        told.append(f"{place[0]} at {place.start()} = {value[:20]}")
    file.write_text(text)
    return f"{file.relative_to(root)}: {', '.join(told)}"


def encodings(root: Path, random: np.random.Generator) -> str:
    """A text in another encoding, or with other line ends."""
    file = one_of([file for file in root.rglob("*.*") if file.suffix in TEXTS], random)
    text = file.read_text()
    kinds: tuple[tuple[str, Callable[[str], bytes]], ...] = (
        ("UTF-16", lambda text: text.encode("utf-16")),
        ("UTF-16 without a mark", lambda text: text.encode("utf-16-le")),
        ("UTF-8 with a mark", lambda text: text.encode("utf-8-sig")),
        ("UTF-32", lambda text: text.encode("utf-32")),
        ("Latin-1 with umlauts", lambda text: text.replace("a", "ä").encode("latin-1", "replace")),
        ("CRLF", lambda text: text.replace("\n", "\r\n").encode()),
        ("CR", lambda text: text.replace("\n", "\r").encode()),
        ("nulls", lambda text: text.replace(" ", "\0").encode()),
        ("twice", lambda text: (text + text).encode()),
    )
    kind, changed = kinds[int(random.integers(0, len(kinds)))]
    cut = int(random.integers(0, len(text))) if random.random() < 0.3 else len(text)
    file.write_bytes(changed(text[:cut]))
    return f"{file.relative_to(root)}: {kind}, {cut} characters"


def any_file(root: Path, random: np.random.Generator) -> str:
    """Any file, image, mask or list: some of its bytes."""
    return _damage(one_of([file for file in root.rglob("*.*") if file.is_file()], random), random)


def json_bytes(root: Path, random: np.random.Generator) -> str:
    return _damage(one_of(list((root / "annotations").iterdir()), random), random)


def outlines(root: Path, random: np.random.Generator) -> str:
    """Polygons and RLE that are well-formed, and far from what they should be."""
    file = one_of(list((root / "annotations").iterdir()), random)
    content = json.loads(file.read_text())
    annotation = content["annotations"][int(random.integers(0, len(content["annotations"])))]
    kind = int(random.integers(0, 6))
    scale = 10.0 ** random.integers(0, 309)
    if kind == 0:
        annotation["segmentation"] = [(random.normal(0, 1, 2 * int(random.integers(3, 9))) * scale).tolist()]
    elif kind == 1:
        annotation["segmentation"] = [(random.normal(0, 1, 8) + scale).tolist() for _ in range(3)]
    elif kind == 2:
        annotation["segmentation"] = [(random.random(2 * int(random.integers(3, 200_000))) * 100 - 30).tolist()]
    elif kind == 3:
        annotation["segmentation"] = [(random.random(6) * 40).tolist() for _ in range(int(random.integers(1, 20_000)))]
    elif kind == 4:
        text = "".join(chr(48 + int(code)) for code in random.integers(0, 64, int(random.integers(1, 400_000))))
        annotation["segmentation"] = {"size": [H, W], "counts": text}
    else:
        annotation["segmentation"] = {"size": [H, W], "counts": [int(n) for n in random.integers(-1, 3, int(random.integers(1, 3 * H * W)))]}
    annotation["bbox"] = (random.normal(0, 1, 4) * scale).tolist()
    annotation["area"] = float(random.normal(0, 1) * scale)
    file.write_text(json.dumps(content))
    return f"{file.name}, annotation {annotation['id']}: kind {kind}, scale {scale:g}"


WORDS = (
    "../outside.png", "/etc/passwd", "a" * 5000, "x/" * 3000, "\x00", ".", "..", "/", "\\\\server\\a.png", "C:\\a.png", "train/a.png", "\ufeff", "é" * 300,
    "train", "~/a.png", "", "val/../train/a.png", "//a.png", "\u2028", "a b c",
)  # fmt: skip


def lists(root: Path, random: np.random.Generator) -> str:
    file = one_of(list(root.glob("*.txt")), random)
    if random.random() < 0.4:
        return _damage(file, random)
    words = [line.split() for line in file.read_text().splitlines()]
    i, k = int(random.integers(0, len(words))), int(random.integers(0, 2))
    words[i][k] = WORDS[int(random.integers(0, len(WORDS)))]
    file.write_text("\n".join(" ".join(line) for line in words))
    return f"{file.name}, line {i + 1}, word {k + 1} = {words[i][k][:40]!r}"


def mask_files(root: Path, random: np.random.Generator) -> str:
    return _damage(one_of([file for file in root.rglob("*.*") if file.parent.name in ("trainannot", "valannot", "PedMasks")], random), random)


def image_files(root: Path, random: np.random.Generator) -> str:
    return _damage(one_of([file for file in root.rglob("*.*") if file.parent.name in ("train", "val", "PNGImages")], random), random)


def names(root: Path, random: np.random.Generator) -> str:
    """Files renamed, linked, doubled, or made folders."""
    file = one_of([file for file in root.rglob("*.*") if file.is_file()], random)
    shown, kind = file.relative_to(root).as_posix(), int(random.integers(0, 7))
    if kind == 0:
        Path(os.fsdecode(os.fsencode(file.parent) + b"/\xff\xfe" + os.fsencode(file.suffix))).write_bytes(file.read_bytes())
        return f"{shown} has a double with a name that is not UTF-8"
    if kind == 1:
        file.rename(Path(os.fsdecode(os.fsencode(file.with_suffix("")) + b"\xe9" + os.fsencode(file.suffix))))
        return f"{shown} renamed to a name that is not UTF-8"
    if kind == 2:
        file.with_name(f"linked{file.suffix}").symlink_to(file)
        return f"{shown} has a link beside it"
    if kind == 3:
        file.unlink()
        file.symlink_to(file)
        return f"{shown} links to itself"
    if kind == 4:
        file.unlink()
        file.mkdir()
        return f"{shown} is a folder"
    if kind == 5:
        file.write_bytes(b"")
        return f"{shown} is empty"
    file.unlink()
    return f"{shown} is gone"


def _damage(file: Path, random: np.random.Generator) -> str:
    content = file.read_bytes()
    for _ in range(int(random.integers(1, 4))):
        content = damaged_bytes(content, random)
    file.write_bytes(content)
    return f"{file.parent.name}/{file.name}, {len(content)} bytes"


DAMAGES: dict[str, tuple[Damage, ...]] = {
    "coco": (json_values, json_bytes, outlines, image_files, names),
    "camvid": (lists, mask_files, image_files, names),
    "pennfudan": (mask_files, image_files, names),
    **dict.fromkeys(TOOLS, (tool_files, text_numbers, encodings, names)),
    **dict.fromkeys(SETS, (any_file, names)),
    **dict.fromkeys(("cityscapes polygons", "ade20k full", "mapillary", "voc boxes"), (tool_files, text_numbers, any_file, names)),
}
"""By format."""


if __name__ == "__main__":
    main()
