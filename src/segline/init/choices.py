"""From what a folder holds to parameters that suit it, each with the reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from segline.data.formats.base import BACKGROUND
from segline.data.sources import FOLDERS
from segline.data.store import SPLITS
from segline.errors import DataError
from segline.init.survey import Survey
from segline.plan.decisions import LONGEST

_STRIDE = 32
_LARGE = 1600
"""Pixels of the longer side above which shrinking would lose what is small, so that images are trained on and predicted in windows."""

_WINDOW = 512
_RARE = 10.0
"""How many times as many pixels the most frequent class has as the rarest, above which classes are weighted."""

_STEPS = {"semantic": 2500, "instance": 2500}
"""Steps of a training from scratch after which little more is learnt from some hundred images."""

_SMALL = 320 * 320
"""Pixels of an input of which a whole batch needs little memory."""

_FEW = 60
"""Images below which a larger share is scored: a figure of eight images says nothing."""

_MANY_FOLDERS = 10


@dataclass(frozen=True)
class Choice:
    """One key with its value, and why it has it; a value that holds choices is a section."""

    key: str
    value: Any
    reason: str = ""


def data_choices(survey: Survey) -> list[Choice]:
    """Keys of the section `data` that no format sets."""
    found = []
    if survey.decoded_as != "auto":
        reason = "not all images are of one kind" if survey.decoded_as == "rgb" else "the pages of a file are the channels of one image"
        found.append(Choice("images", survey.decoded_as, reason))
    found.append(_splits(survey))
    return found


def model_choices(survey: Survey) -> list[Choice]:
    """The section `models`. Raises DataError where there is no truth that a model could learn."""
    found = []
    if "index" in survey.truths:
        found.append(Choice("unet", _semantic(survey), "each pixel's class"))
    if "instances" in survey.truths and survey.boxes:
        found.append(Choice("maskrcnn", _instance(survey), "each object, with its outline"))
    if not found:
        raise DataError(
            f"The annotations are {' and '.join(survey.truths)} alone, and each architecture here learns from masks; "
            "annotate outlines (polygons or masks), or let a tool find them within the boxes."
        )
    return found


def promote_choices(models: list[Choice]) -> list[Choice]:
    """The section `promote`."""
    metrics = {"unet": "miou", "maskrcnn": "mask_ap"}
    reason = "no worse than the incumbent, but for chance; add `at_least` when you know what is good enough"
    return [Choice(model.key, {"metric": metrics[model.key], "not_worse_by": 0.005}, reason) for model in models]


def _splits(survey: Survey) -> Choice:
    official = survey.official
    counts = ", ".join(f"{official[split]} {split}" for split in SPLITS if split in official)
    if {"train", "val"} <= set(official):
        scored = "" if "test" in official else "; without test images val is scored, and a part of train steers the training"
        return Choice("splits", {"official": True}, f"the data's own are kept: {counts}{scored}")
    share = 0.15 if survey.images >= _FEW else 0.2
    if {"train", "test"} <= set(official):
        return Choice("splits", {"val": share}, f"the data's own are kept ({counts}); val is drawn from train")
    values: dict[str, Any] = {"val": share, "test": share}
    reasons = [
        f"{survey.images} images without splits of their own" if len(official) < 1 else f"all images are called {next(iter(official))}, so they are divided"
    ]
    if share > 0.15:
        reasons.append("of so few a larger share is scored")
    if _MANY_FOLDERS <= survey.folders < survey.images:
        values["group"] = FOLDERS
        reasons.append(f"images of one of the {survey.folders} folders may show one scene, so they stay together (remove `group` where they do not)")
    elif _scarcest(survey) * share < 5 and _scarcest(survey) < survey.images:
        values["stratify"] = True
        reasons.append("few images show some class, and no split should lack it")
    return Choice("splits", values, "; ".join(reasons))


def _scarcest(survey: Survey) -> float:
    """In how many images the class that fewest show is seen, of those that are seen at all."""
    seen = [number for label, number in survey.class_images.items() if survey.classes[label].name != BACKGROUND]
    return min(seen, default=0) * survey.images / max(1, survey.looked_at)


def _train_images(survey: Survey) -> int:
    """About how many images are trained on."""
    if {"train", "val"} <= set(survey.official):
        held = 0.9 if "test" not in survey.official else 1.0
        return max(1, int(survey.official["train"] * held))
    share = 0.15 if survey.images >= _FEW else 0.2
    if {"train", "test"} <= set(survey.official):
        return max(1, int(survey.official["train"] * (1 - share)))
    return max(1, int(survey.images * (1 - 2 * share)))


def _semantic(survey: Survey) -> list[Choice]:
    images = _train_images(survey)
    size, input_choice = _semantic_input(survey)
    encoder = "resnet34" if images >= 2000 else "resnet18"
    batch = _batch(size, images, most=8)
    return [
        Choice("arch", "unet", "a sound first one; add entries to compare others (README: `arch`)"),
        Choice("encoder", encoder, f"about {images} training images" + (": a small one learns them as well, and faster" if encoder == "resnet18" else "")),
        Choice("weights", "none", "imagenet learns faster and from fewer images, where this machine reaches the internet"),
        input_choice,
        _loss(survey),
        _augment(survey, fill=True),
        _train(images, batch, "semantic", lr=0.001, more={}),
    ]


def _instance(survey: Survey) -> list[Choice]:
    images = _train_images(survey)
    height, width = survey.median
    shrink = min(1.0, LONGEST / max(height, width))
    size = (_multiple(height * shrink), _multiple(width * shrink))
    reason = f"shorter side {min(size)}, longer at most {max(size)}: the median image has {height}×{width}" + (
        f", at most {LONGEST} long" if shrink < 1 else ""
    )
    few = len(survey.classes) <= 12
    found = [
        Choice("arch", "maskrcnn"),
        Choice("encoder", "resnet18"),
        Choice("weights", "none", "imagenet learns faster and from fewer images, where this machine reaches the internet"),
    ]
    if few:
        found.append(Choice("fpn_channels", 128, "enough for few classes, and twice as fast as 256"))
    found += [Choice("input", {"size": list(size)}, reason), _augment(survey, fill=False), _anchors(survey, size)]
    if survey.most_objects > 60:
        most = math.ceil(survey.most_objects * 1.5 / 50) * 50
        found.append(Choice("proposals", {"train_after_nms": most * 2, "test_after_nms": most}, f"an image shows up to {survey.most_objects} objects"))
        found.append(Choice("predict", {"max_detections": most}, "likewise"))
    found.append(_train(images, _batch(size, images, most=4), "instance", lr=0.0005, more={"weight_decay": 0.01, "clip": 5.0}))
    return found


def _semantic_input(survey: Survey) -> tuple[tuple[int, int], Choice]:
    """The size that the network sees, and the section `input`."""
    height, width = survey.median
    sizes = np.array(survey.sizes)
    seen = f"the median image has {height}×{width} pixels"
    if max(height, width) > _LARGE and min(height, width) >= _WINDOW:
        window = [_WINDOW, _WINDOW]
        values: dict[str, Any] = {"fit": "native", "tile": {"size": window, "overlap": 64}}
        return (_WINDOW, _WINDOW), Choice("input", values, f"{seen}: shrunk, it would lose what is small, so it is seen in windows")
    shrink = min(1.0, LONGEST / max(height, width))
    shrunk = f", at most {LONGEST} long" if shrink < 1 else ""
    ratios = sizes[:, 0] / sizes[:, 1]
    upright, lying = float((ratios > 1.1).mean()), float((ratios < 0.9).mean())
    if min(upright, lying) > 0.15:
        side = _multiple(min(float(LONGEST), float(np.median(sizes.max(axis=1)))))
        return (side, side), Choice("input", {"size": [side, side], "fit": "letterbox"}, f"{seen}{shrunk}, some upright and some lying: padded to a square")
    size = (_multiple(height * shrink), _multiple(width * shrink))
    if ratios.max() > 1.15 * ratios.min():
        return size, Choice("input", {"size": list(size), "fit": "letterbox"}, f"{seen}{shrunk}; shapes differ, so they are padded and not stretched")
    return size, Choice("input", {"size": list(size), "fit": "stretch"}, f"{seen}{shrunk}, in multiples of {_STRIDE}; all have about one shape")


def _loss(survey: Survey) -> Choice:
    shares = {label: survey.share(label) for label in range(len(survey.classes)) if survey.class_pixels.get(label)}
    rarest, most = min(shares, key=lambda label: shares[label]), max(shares, key=lambda label: shares[label])
    if len(shares) < 2 or shares[most] < _RARE * shares[rarest]:
        return Choice("loss", {"cross_entropy": 1.0, "dice": 1.0}, "no class is rare; dice is near to what IoU scores")
    rare, common = survey.classes[rarest].name, survey.classes[most].name
    reason = f"{rare} is {_percent(shares[rarest])} of the pixels and {common} {_percent(shares[most])}, so classes are weighted"
    return Choice("loss", {"cross_entropy": {"weight": 1.0, "class_weights": "enet"}, "dice": 1.0}, reason)


def _augment(survey: Survey, *, fill: bool) -> Choice:
    steps: list[dict[str, Any]] = [{"HorizontalFlip": {"p": 0.5}}]
    up = "add VerticalFlip where up and down mean nothing (seen from above, or by a microscope)"
    if survey.image.dtype != "uint8" or survey.image.channels != 3:
        return Choice("augment", steps, f"what changes no value, as the images are no 8-bit pictures; {up}")
    affine: dict[str, Any] = {"scale": [0.8, 1.25], "translate_percent": [-0.1, 0.1], "rotate": [-10, 10]}
    if fill:
        affine["fill_mask"] = 255
    steps.append({"Affine": {**affine, "p": 0.7}})
    if survey.grey:
        steps.append({"RandomBrightnessContrast": {"brightness_limit": 0.2, "contrast_limit": 0.2, "p": 0.5}})
    else:
        steps.append({"ColorJitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.03, "p": 0.7}})
    return Choice("augment", steps, f"{'grey pictures: brightness and contrast' if survey.grey else 'photographs: light and colours'} vary; {up}")


def _anchors(survey: Survey, size: tuple[int, int]) -> Choice:
    """Five sizes and three ratios that are those of the objects, as the network sees them."""
    sides, ratios = [], []
    for height, width, image_height, image_width in survey.boxes:
        scale = min(min(size) / min(image_height, image_width), max(size) / max(image_height, image_width))
        sides.append(scale * math.sqrt(height * width))
        ratios.append(height / width)
    wanted = np.quantile(sides, [0.05, 0.275, 0.5, 0.725, 0.95])
    levels: list[int] = []
    for side in wanted:
        least = round(levels[-1] * 1.25) if levels else 8
        levels.append(max(least, round(float(side))))
    shapes = sorted({round(float(np.exp(q)), 1) for q in np.quantile(np.log(ratios), [0.15, 0.5, 0.85])})
    reason = f"quantiles of {len(sides)} objects, as the network sees them: side in pixels, height / width"
    return Choice("anchors", {"sizes": levels, "ratios": [max(0.1, ratio) for ratio in shapes]}, reason)


def _train(images: int, batch: int, task: str, *, lr: float, more: dict[str, Any]) -> Choice:
    steps_per_epoch = math.ceil(images / batch)
    epochs = min(150 if task == "semantic" else 80, max(8, round(_STEPS[task] / steps_per_epoch)))
    values: dict[str, Any] = {"epochs": epochs, "batch_size": batch, "lr": lr, "warmup": 1, **more}
    reason = f"{epochs * steps_per_epoch} steps, {steps_per_epoch} an epoch"
    if epochs >= 40:
        values["validate_every"] = epochs // 20
        values["early_stopping"] = 6
        reason += f"; it stops when {6 * values['validate_every']} epochs bring nothing"
    return Choice("train", values, reason)


def _batch(size: tuple[int, int], images: int, *, most: int) -> int:
    """`most`, of large inputs half as many, and never more than there are images."""
    fits = most if size[0] * size[1] <= _SMALL else most // 2
    return max(1, min(fits, images))


def _multiple(length: float) -> int:
    return max(_STRIDE, round(length / _STRIDE) * _STRIDE)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"
