"""From what a folder holds to parameters that suit it, each with the reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from segline.data.formats.base import BACKGROUND
from segline.data.sources import FOLDERS
from segline.data.store import SPLITS
from segline.errors import DataError
from segline.init.survey import Survey
from segline.models.maskrcnn.settings import Settings as MaskRcnn
from segline.models.settings import ModelSettings
from segline.models.unet.settings import Settings as Unet
from segline.plan.decisions import geometry
from segline.plan.decisions.anchors import anchors
from segline.plan.decisions.batch_size import batch_size, kept_bytes_per_pixel
from segline.plan.decisions.class_weights import class_weights
from segline.plan.decisions.epochs import epochs
from segline.plan.decisions.geometry import Seen
from segline.settings import AUTO

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
    if "instances" in survey.truths and survey.extents.object_sides.count:
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
    encoder = "resnet34" if images >= 2000 else "resnet18"
    settings = Unet(encoder=encoder)
    seen = _seen(survey, settings)
    return [
        Choice("arch", "unet", "a sound first one; add entries to compare others (README: `arch`)"),
        Choice("encoder", encoder, f"about {images} training images" + (": a small one learns them as well, and faster" if encoder == "resnet18" else "")),
        Choice("weights", "none", "imagenet learns faster and from fewer images, where this machine reaches the internet"),
        _input(seen),
        _loss(survey),
        _augment(survey, fill=True),
        _train(survey, settings, seen, lr=0.001, more={}),
    ]


def _instance(survey: Survey) -> list[Choice]:
    settings = MaskRcnn()
    seen = _seen(survey, settings)
    found = [
        Choice("arch", "maskrcnn"),
        Choice("encoder", "resnet18"),
        Choice("weights", "none", "imagenet learns faster and from fewer images, where this machine reaches the internet"),
    ]
    if len(survey.classes) <= 12:
        found.append(Choice("fpn_channels", 128, "enough for few classes, and twice as fast as 256"))
    size = Choice(
        "input", {"size": list(seen.size or ())}, f"shorter side {min(seen.size or (0,))}, longer at most {max(seen.size or (0,))}: {seen.size_reason}"
    )
    found += [size, _augment(survey, fill=False), _anchors(survey, seen)]
    if survey.most_objects > 60:
        most = math.ceil(survey.most_objects * 1.5 / 50) * 50
        found.append(Choice("proposals", {"train_after_nms": most * 2, "test_after_nms": most}, f"an image shows up to {survey.most_objects} objects"))
        found.append(Choice("predict", {"max_detections": most}, "likewise"))
    found.append(_train(survey, settings, seen, lr=0.0005, more={"weight_decay": 0.01, "clip": 5.0}))
    return found


def _seen(survey: Survey, settings: ModelSettings) -> Seen:
    """As `fit: auto` and `size: auto` would have it."""
    fits, stride = settings.fits_for_auto, settings.stride
    return geometry.decided(survey.extents, survey.median, survey.names, fits=fits, stride=stride, size=None, tiled=False)


def _input(seen: Seen) -> Choice:
    if seen.tile is not None:
        size, overlap = seen.tile
        return Choice("input", {"fit": seen.fit, "tile": {"size": list(size), "overlap": overlap}}, seen.fit_reason)
    assert seen.size is not None, "without tiles images are brought to a size"
    return Choice("input", {"size": list(seen.size), "fit": seen.fit}, f"{seen.size_reason}; {seen.fit_reason}")


def _loss(survey: Survey) -> Choice:
    chosen, reason = class_weights(survey.pixels, survey.names)
    if chosen == "none":
        return Choice("loss", {"cross_entropy": 1.0, "dice": 1.0}, f"{reason}; dice is near to what IoU scores")
    return Choice("loss", {"cross_entropy": {"weight": 1.0, "class_weights": chosen}, "dice": 1.0}, reason)


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


def _anchors(survey: Survey, seen: Seen) -> Choice:
    found = anchors(survey.extents, survey.median, fit=seen.fit, size=seen.size, levels=len(MaskRcnn().anchors.sizes))
    assert found is not None, "without objects there is no such model"
    sizes, ratios, reason = found
    return Choice("anchors", {"sizes": sizes, "ratios": ratios}, reason)


def _train(survey: Survey, settings: ModelSettings, seen: Seen, *, lr: float, more: dict[str, Any]) -> Choice:
    images = _train_images(survey)
    height, width = seen.size or (seen.tile[0] if seen.tile else survey.median)
    kept, memory = kept_bytes_per_pixel(settings), settings.train.memory_gb
    assert memory != AUTO, "the default is a number"
    batch = batch_size(height * width, images, most=settings.largest_batch, kept=kept, memory_gb=memory).images
    objects = images * survey.extents.object_sides.count / survey.looked_at
    classes = sum(pixels > 0 for pixels in survey.pixels)
    passes, why = epochs(settings.lessons, images=images, objects=objects, classes=classes, pretrained=False)
    values: dict[str, Any] = {"epochs": passes, "batch_size": batch, "lr": lr, "warmup": 1, **more}
    reason = f"{why}; {math.ceil(images / batch)} steps an epoch"
    if passes >= 40:
        values["validate_every"] = passes // 20
        values["early_stopping"] = 6
        reason += f"; it stops when {6 * values['validate_every']} epochs bring nothing"
    return Choice("train", values, reason)
