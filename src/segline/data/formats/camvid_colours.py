"""CamVid as it was published (Brostow 2009): masks `<name>_L.png` in 32 colours, and `label_colors.txt` (or class_dict.csv) that says which colour is what.

Each mask belongs to the image of its name without `_L`, in whatever folder it lies; a folder `train`, `val` or `test` around the image says its split.
Read are SegNet's eleven classes, which join most of the 32, or all of them but `Void`, which is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from segline.data.check import Frame, Refused, brief, check_size, decode, fail, name_list, read_bytes
from segline.data.formats.base import Record, SourceClass, SourceData, SourceTruth, check_class_names, image_files
from segline.data.reading.tree import Tree
from segline.data.store import IGNORE, SPLITS
from segline.errors import DataError

Labels = Literal["eleven", "all"]
Colour = tuple[int, int, int]

SUFFIX = "_L"
TABLES = ("label_colors.txt", "class_dict.csv")
COLOURS: dict[str, Colour] = {
    "Animal": (64, 128, 64), "Archway": (192, 0, 128), "Bicyclist": (0, 128, 192), "Bridge": (0, 128, 64), "Building": (128, 0, 0), "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192), "Child": (192, 128, 64), "Column_Pole": (192, 192, 128), "Fence": (64, 64, 128), "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64), "Misc_Text": (128, 128, 64), "MotorcycleScooter": (192, 0, 192), "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128), "Pedestrian": (64, 64, 0), "Road": (128, 64, 128), "RoadShoulder": (128, 128, 192), "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128), "Sky": (128, 128, 128), "SUVPickupTruck": (64, 128, 192), "TrafficCone": (0, 0, 64), "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128), "Tree": (128, 128, 0), "Truck_Bus": (192, 128, 192), "Tunnel": (64, 0, 64), "VegetationMisc": (192, 192, 0),
    "Void": (0, 0, 0), "Wall": (64, 192, 0),
}  # fmt: skip
_ELEVEN: dict[str, tuple[str, ...]] = {
    "sky": ("Sky",),
    "building": ("Archway", "Bridge", "Building", "Tunnel", "Wall"),
    "pole": ("Column_Pole", "TrafficCone"),
    "road": ("LaneMkgsDriv", "LaneMkgsNonDriv", "Road"),
    "pavement": ("ParkingBlock", "RoadShoulder", "Sidewalk"),
    "tree": ("Tree", "VegetationMisc"),
    "sign": ("Misc_Text", "SignSymbol", "TrafficLight"),
    "fence": ("Fence",),
    "car": ("Car", "OtherMoving", "SUVPickupTruck", "Train", "Truck_Bus"),
    "pedestrian": ("Animal", "CartLuggagePram", "Child", "Pedestrian"),
    "bicyclist": ("Bicyclist", "MotorcycleScooter"),
}
"""SegNet's classes, and what each joins."""

VOID = "Void"


def masks(root: Path) -> list[Path]:
    """The colour masks below a folder, relative to it, sorted."""
    found = (file.relative_to(root) for file in image_files(root))
    return [file for file in found if file.stem.endswith(SUFFIX) and file.suffix.lower() == ".png"]


def files(root: Path) -> list[Path]:
    """Everything that is read, relative to the root, sorted."""
    pairs, _ = _pairs(root)
    table = _table(root)
    return sorted({*(file for pair in pairs for file in pair), *([table] if table else [])})


def read(root: Path, *, labels: Labels, classes: Sequence[str] | None, licence: str) -> SourceData:
    """`classes` renames the classes, by id. Raises DataError."""
    table = _table(root)
    colours = COLOURS if table is None else _colours(root, table)
    names, ids = _ids(colours, labels, table)
    if classes is not None:
        check_class_names(classes)
        if len(classes) != len(names):
            raise DataError(f"data.classes has {len(classes)} names, but the colours have {len(names)} classes ({name_list(names)}); give one for each.")
        names = list(classes)
    pairs, refused = _pairs(root)
    records = []
    for image, mask in pairs:
        split = next((part for part in image.parts[:-1] if part in SPLITS), None)
        records.append(Record(image, split, _Truth(root, mask, image.as_posix(), ids)))
    if len({record.split is None for record in records}) > 1:
        records = [Record(record.image, None, record.truth) for record in records]
    found = tuple(SourceClass(name, False) for name in names)
    return SourceData(found, ("index",), tuple(records), licence, tuple(files(root)), tuple(refused))


def _table(root: Path) -> Path | None:
    """The file that says which colour is what, relative to the root: the nearest to it."""
    found = [file.relative_to(root) for name in TABLES for file in root.rglob(name) if file.is_file()]
    return min(found, key=lambda file: (len(file.parts), file.as_posix()), default=None)


def _colours(root: Path, table: Path) -> dict[str, Colour]:
    """Raises DataError for lines that are not three numbers and a name, in either order, with tabs, spaces or commas between."""
    shown = table.as_posix()
    found: dict[str, Colour] = {}
    problems = []
    for number, line in enumerate(read_bytes(root / table, shown).decode("utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        first = re.fullmatch(r"\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(.+?)\s*", line)
        last = re.fullmatch(r"\s*(.+?)[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\s*", line)
        if first is not None:
            red, green, blue, name = first.groups()
        elif last is not None:
            name, red, green, blue = last.groups()
        else:
            if number > 1:  # a head
                problems.append(f"{shown}, line {number}: '{brief(line)}' is not red, green, blue and a name; correct the line.")
            continue
        if max(int(red), int(green), int(blue)) > 255 or name in found:
            problems.append(f"{shown}, line {number}: '{brief(name)}' is there twice, or its colour goes beyond 255; correct the line.")
            continue
        found[name] = (int(red), int(green), int(blue))
    fail(problems)
    if len(set(found.values())) < len(found) or not found:
        raise DataError(f"{shown} names no colours, or one of them twice; each class needs a colour of its own.")
    return found


def _ids(colours: dict[str, Colour], labels: Labels, table: Path | None) -> tuple[list[str], dict[int, int]]:
    """Class names by id, and the id of each colour's code, 255 for what is ignored. Raises DataError for labels that are not CamVid's."""
    if labels == "all":
        names = [name for name in colours if name != VOID]
        return names, {_code(colour): names.index(name) if name != VOID else IGNORE for name, colour in colours.items()}
    of_label = {label: i for i, joined in enumerate(_ELEVEN.values()) for label in joined}
    unknown = [name for name in colours if name != VOID and name not in of_label]
    if unknown:
        where = table.as_posix() if table else "the table"
        raise DataError(
            f"{where} has labels that are not CamVid's ({name_list(unknown)}), so the eleven classes cannot be made of them; set data.labels to all."
        )
    return list(_ELEVEN), {_code(colour): of_label.get(name, IGNORE) for name, colour in colours.items()}


def _pairs(root: Path) -> tuple[list[tuple[Path, Path]], list[Refused]]:
    """Images with their masks, relative to the root, and what has no partner."""
    images: dict[str, list[Path]] = {}
    for file in image_files(root):
        if not file.stem.endswith(SUFFIX):
            images.setdefault(file.stem, []).append(file.relative_to(root))
    pairs, refused, problems = [], [], []
    for mask in masks(root):
        found = images.get(mask.stem.removesuffix(SUFFIX), [])
        if len(found) > 1:
            problems.append(f"{mask.as_posix()} may belong to {name_list(f.as_posix() for f in found)}; keep one image of that name.")
        elif found:
            pairs.append((found[0], mask))
        else:
            refused.append(Refused(mask.as_posix(), "there is no image for this mask"))
    with_mask = {image for image, _ in pairs}
    if not problems:
        alone = [image for group in images.values() for image in group if image not in with_mask]
        refused += [Refused(image.as_posix(), f"there is no mask {image.stem}{SUFFIX}.png") for image in sorted(alone)]
    fail(problems)
    return sorted(pairs), refused


@dataclass(frozen=True)
class _Truth:
    """Loads one colour mask."""

    root: Path
    mask: Path
    image: str
    ids: dict[int, int]  # by colour code

    def __call__(self, frame: Frame) -> SourceTruth:
        shown = self.mask.as_posix()
        picture = decode(read_bytes(self.root / self.mask, shown), shown)
        pixels = np.asarray(picture.convert("RGB")).astype(np.int32)
        check_size((pixels.shape[0], pixels.shape[1]), frame, f"The mask {shown}", self.image)
        codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
        mask = np.full(codes.shape, IGNORE, dtype=np.uint8)
        unknown = 0
        found = np.unique(codes).tolist()
        for code in found:
            if code not in self.ids:
                unknown += int((codes == code).sum())
            elif self.ids[code] != IGNORE:
                mask[codes == code] = self.ids[code]
        if unknown > _FEW * codes.size:
            strange = [f"#{code:06x}" for code in found if code not in self.ids]
            raise DataError(
                f"{shown} holds colours that no label has ({name_list(strange, 6)}), in {100 * unknown / codes.size:.1f} % of its pixels; "
                f"correct it, or {TABLES[0]}. A mask that was saved as JPEG or resized smoothly has lost its labels.",
                kind="colours",
            )
        specks = (Refused(shown, f"{unknown} pixels have colours that no label has; they are ignored"),) if unknown else ()
        return SourceTruth(mask, refused=specks)


_FEW = 0.001
"""Share of pixels whose colour may be no label's before a mask is refused."""


def _code(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def seen(tree: Tree) -> str | None:
    """How a folder is described that holds masks in CamVid's colours; None where it does not."""
    stems = {file.stem for file in tree.images}
    paired = [file for file in tree.images if file.suffix.lower() == ".png" and file.stem.endswith(SUFFIX) and file.stem.removesuffix(SUFFIX) in stems]
    try:
        table = _table(tree.root)
        colours = COLOURS if table is None else _colours(tree.root, table)
    except DataError:
        return None
    if not paired or not colours.keys() <= COLOURS.keys():
        return None
    by = "CamVid's 32 colours" if table is None else f"the colours of {table.as_posix()}"
    return f"{len(paired)} images with masks *{SUFFIX}.png in {by}" if _in_colours(tree, paired[0], colours) else None


def _in_colours(tree: Tree, mask: PurePosixPath, colours: dict[str, Colour]) -> bool:
    """Whether a mask holds hardly any other colours."""
    try:
        picture = decode(read_bytes(tree.root / mask, mask.as_posix()), mask.as_posix())
    except DataError:
        return False
    pixels = np.asarray(picture.convert("RGB")).astype(np.int32)
    codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    return float(np.isin(codes, [_code(colour) for colour in colours.values()]).mean()) > 1 - _FEW
