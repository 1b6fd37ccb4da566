"""Every transform of albumentations, tried as an entry of `augment`: how many serve, how many are refused with a sentence, and what the truth then says.

    python benchmarks/augmentation.py

For six kinds of images and both kinds of truth, with albumentations' default arguments and with the least that a transform asks for. `served`: it was built and
transformed 4 pictures. `refused`: building it, or a picture, raised ParametersError. `failed`: anything else, which is a defect. `invented`: pixels beyond the
picture (where a white one became black, by transforms that move pixels or wipe them out) that still have a class or an object.
Writes `augmentation.json` beside itself.
"""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import albumentations as A
import numpy as np
import results

from segline.data.store import IGNORE, Instances, Sample, Truth
from segline.errors import ParametersError
from segline.training.augment import Augmentation
from segline.training.settings import Transform
from segline_runtime.specification import Geometry, ImageKind

SIZE = (64, 96)
GEOMETRY = Geometry("stretch", SIZE)
KINDS = {
    "RGB": ImageKind(),
    "grey": ImageKind(channels=1),
    "5 channels": ImageKind(channels=5),
    "uint16": ImageKind(dtype="uint16", scale=65535.0),
    "float32": ImageKind(dtype="float32", scale=1.0),
    "float32, grey": ImageKind(channels=1, dtype="float32", scale=1.0),
}
TRUTHS: tuple[Truth, ...] = ("index", "instances")
LEAST: dict[str, dict[str, Any]] = {
    "AtLeastOneBBoxRandomCrop": {"height": 40, "width": 40},
    "CenterCrop": {"height": 40, "width": 40},
    "ConstrainedCoarseDropout": {"mask_indices": [1]},
    "Crop": {"x_max": 40, "y_max": 40},
    "CropAndPad": {"percent": 0.1},
    "CropNonEmptyMaskIfExists": {"height": 40, "width": 40},
    "GridElasticDeform": {"num_grid_xy": [4, 4], "magnitude": 5},
    "LongestMaxSize": {"max_size": 80},
    "Pad": {"padding": 10},
    "PadIfNeeded": {"min_height": 80, "min_width": 100},
    "RandomCrop": {"height": 40, "width": 40},
    "RandomResizedCrop": {"size": [40, 50]},
    "RandomSizedBBoxSafeCrop": {"height": 40, "width": 50},
    "RandomSizedCrop": {"min_max_height": [30, 60], "size": [40, 50]},
    "Resize": {"height": 40, "width": 50},
    "SmallestMaxSize": {"max_size": 80},
    "XYMasking": {"num_masks_x": 2, "num_masks_y": 2, "mask_x_length": 8, "mask_y_length": 8},
}
"""Arguments that a transform cannot do without."""


def names() -> list[str]:
    """Of all transforms, abstract ones among them."""
    return sorted(n for n, c in vars(A).items() if isinstance(c, type) and issubclass(c, A.BasicTransform))


def outcome(name: str, arguments: dict[str, Any], kind: ImageKind, truth: Truth) -> tuple[str, str]:
    """`served`, `refused` or `failed`, and the sentence."""
    transform = Transform.model_validate({name: arguments})
    try:
        augmentation = Augmentation([transform], geometry=GEOMETRY, image=kind, truth=truth)
        for seed in range(4):
            _check(augmentation(_sample(kind, truth, seed), seed), kind, truth)
    except ParametersError as error:
        return "refused", error.problems[0]
    except Exception as error:  # what is looked for
        return "failed", f"{type(error).__name__}: {error}"
    return "served", ""


def invented(name: str, arguments: dict[str, Any], truth: Truth) -> int:
    """Pixels beyond a white picture that have truth; the whole picture is one class, and one object."""
    arguments = {**arguments, "fill_mask": 5} if "fill_mask" in vars(A)[name].InitSchema.model_fields else arguments
    transform = Transform.model_validate({name: {**arguments, "p": 1.0}})
    augmentation = Augmentation([transform], geometry=GEOMETRY, truth=truth)
    total = 0
    for seed in range(4):
        white = np.full((*SIZE, 3), 255, dtype=np.uint8)
        everything = np.ones((1, *SIZE), dtype=np.bool_)
        objects = Instances(everything, np.zeros((1, 4), np.float32), np.array([1]), np.array([False]))
        mask = np.full(SIZE, 3, dtype=np.uint8)
        found = augmentation(Sample(0, "white", white, mask if truth == "index" else None, objects if truth == "instances" else None), seed)
        black = (found.image == 0).all(axis=2)
        if found.mask is not None:
            total += int((found.mask[black] != IGNORE).sum())
        elif found.instances is not None:
            total += int(found.instances.masks[:, black].sum())
    return total


def _sample(kind: ImageKind, truth: Truth, seed: int) -> Sample:
    """Noise; every other sample has no object."""
    random = np.random.default_rng(seed)
    image = (random.random((*SIZE, kind.channels)) * kind.scale).astype(kind.dtype)
    if truth == "index":
        return Sample(seed, f"picture{seed}", image, random.integers(0, 4, SIZE).astype(np.uint8), None)
    masks = np.zeros((2 * (seed % 2), *SIZE), dtype=np.bool_)
    masks[:1, 10:40, 20:50] = True
    masks[1:, 30:60, 60:90] = True
    count = len(masks)
    return Sample(seed, f"picture{seed}", image, None, Instances(masks, np.zeros((count, 4), np.float32), np.ones(count, np.int64), np.zeros(count, bool)))


def _check(sample: Sample, kind: ImageKind, truth: Truth) -> None:
    assert sample.image.ndim == 3 and sample.image.shape[2] == kind.channels and sample.image.dtype == kind.dtype
    assert np.isfinite(sample.image).all()
    if truth == "index":
        assert sample.mask is not None and sample.image.shape[:2] == sample.mask.shape == SIZE
        assert set(np.unique(sample.mask)) <= {0, 1, 2, 3, IGNORE}
    else:
        assert sample.instances is not None and sample.instances.masks.shape[1:] == sample.image.shape[:2]


def _moves(name: str) -> bool:
    """PixelDropout is noise: single pixels, under which the truth stays."""
    return issubclass(vars(A)[name], A.DualTransform) and name != "PixelDropout"


def _sentences(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """What was said of each transform that was refused, once."""
    said: dict[str, list[str]] = {}
    for row in rows:
        if row["outcome"] == "refused" and row["sentence"] not in said.setdefault(row["transform"], []):
            said[row["transform"]].append(row["sentence"])
    return said


def main() -> None:
    warnings.simplefilter("ignore")
    rows: list[dict[str, Any]] = []
    for name in names():
        for arguments in [{}, LEAST[name]] if name in LEAST else [{}]:
            for kind_name, kind in KINDS.items():
                for truth in TRUTHS:
                    how, sentence = outcome(name, arguments, kind, truth)
                    rows.append({"transform": name, "arguments": arguments, "images": kind_name, "truth": truth, "outcome": how, "sentence": sentence})
    rgb = [row for row in rows if row["images"] == "RGB" and row["outcome"] == "served" and _moves(row["transform"])]
    filled = {f"{row['transform']}, {row['truth']}": invented(row["transform"], row["arguments"], row["truth"]) for row in rgb}
    result = {
        "albumentations": A.__version__,
        "transforms": len(names()),
        "outcomes": Counter(row["outcome"] for row in rows),
        "outcomes with default arguments on RGB": {
            t: Counter(r["outcome"] for r in rows if r["images"] == "RGB" and r["truth"] == t and not r["arguments"]) for t in TRUTHS
        },
        "outcomes by images": {kind: Counter(row["outcome"] for row in rows if row["images"] == kind) for kind in KINDS},
        "failed": [row for row in rows if row["outcome"] == "failed"],
        "invented": {name: count for name, count in filled.items() if count},
        "refused": _sentences(rows),
    }
    results.write(results.beside(__file__), result)


if __name__ == "__main__":
    main()
