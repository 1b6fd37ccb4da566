"""Part 3: scores on real data, in the time that is left: CamVid from scratch and with a pre-trained encoder, Penn-Fudan; with `tiny`, generated images.

A first training of three epochs tells how long one takes; the second has as many as fit into its share of the time, and its learning rate decays to the end.
CamVid comes without its test split: what is scored here is `val`, and a part of `train` steers the training.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from proof import kept
from proof.findings import Findings, Result
from proof.settings import Settings
from proof.workspace import Workspace
from segline.layout import ModelFolder
from segline.models import catalog as architectures
from segline.training.settings import Runtime

_AROUND_S = 30.0  # start, evaluation and pictures
_VALIDATE_EVERY = 5
_SHARE_S, _LEAST_S = 240.0, 150.0
_SAFE = 0.85
"""Share of the time that the epochs are planned for."""

_OTHERS = ("deeplabv3plus", "tiramisu67")
"""Trained where the catalogue has them."""

_CAMVID_AUGMENT = [
    {"HorizontalFlip": {"p": 0.5}},
    {"Affine": {"scale": [0.75, 1.75], "translate_percent": [-0.1, 0.1], "rotate": [-7, 7], "fill_mask": 255, "p": 0.9}},
    {"ColorJitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.03, "p": 0.8}},
]
_PEOPLE_AUGMENT = [
    {"HorizontalFlip": {"p": 0.5}},
    {"Affine": {"scale": [0.8, 1.3], "translate_percent": [-0.1, 0.1], "rotate": [-5, 5], "p": 0.8}},
    {"ColorJitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.03, "p": 0.7}},
]


@dataclass(frozen=True)
class Training:
    """One row of the report."""

    name: str  # of the model
    data: str  # folder of the workspace
    source: dict[str, Any]  # the section `data`
    entry: dict[str, Any]  # of `models:`
    metric: str
    aim: float | None  # of the metric; None: that it is a number
    epochs: int  # at most
    train: dict[str, Any] = field(default_factory=dict)


def run(settings: Settings, findings: Findings) -> None:
    """Each training has an equal share of the time that is left when it begins, but four minutes at least: the last ones may wait for another call."""
    chosen = trainings(settings)
    if not chosen:
        findings.step("data", lambda: {"skipped": "There is no camvid/ and no PennFudanPed/: give --data, or run from a bundle."})
    for number, training in enumerate(chosen):
        share = max(findings.left / (len(chosen) - number), min(_SHARE_S, findings.left))
        findings.step(training.name, lambda training=training, share=share: _learn(settings, training, share), needs=10 if settings.tiny else _LEAST_S)  # type: ignore[misc]


def trainings(settings: Settings) -> list[Training]:
    if settings.tiny:
        return _tiny(settings)
    found: list[Training] = []
    camvid = None if settings.data is None else settings.data / "camvid"
    people = None if settings.data is None else settings.data / "PennFudanPed"
    if camvid is not None and camvid.is_dir():
        source = {"source": str(camvid), "format": "camvid", "name": "camvid"}
        common = {"input": {"size": [360, 480]}, "loss": {"cross_entropy": 1.0, "dice": 1.0}, "augment": _CAMVID_AUGMENT}
        scratch = {"batch_size": 8, "lr": 0.001, "warmup": 2, "weight_decay": 0.01, "ema": 0.998}
        gentle = scratch | {"lr": 0.0008, "encoder_lr_factor": 0.3}
        found.append(Training("unet", "camvid", source, {"arch": "unet", "encoder": "resnet18", **common}, "miou", 0.58, 150, scratch))
        if settings.weights is not None:
            pretrained = {"encoder": settings.encoder, "weights": str(settings.weights), "input": {"size": [360, 480], **_statistics(settings.encoder)}}
            found.append(Training("unet_imagenet", "camvid", source, {"arch": "unet", **common, **pretrained}, "miou", 0.70, 150, gentle))
        found += _people(people)
        for arch in (arch for arch in _OTHERS if arch in architectures.ARCHITECTURES):
            with_encoder = settings.weights is not None and "encoder" in architectures.settings(arch).model_fields
            entry = {"arch": arch, **common, **(pretrained if with_encoder else {})}
            name = f"{arch}_imagenet" if with_encoder else arch
            found.append(Training(name, "camvid", source, entry, "miou", 0.70 if with_encoder else 0.58, 150, gentle if with_encoder else scratch))
        return found
    return _people(people)


def _people(folder: Path | None) -> list[Training]:
    if folder is None or not folder.is_dir():
        return []
    source = {"source": str(folder), "format": "pennfudan", "name": "pennfudan", "splits": {"method": "every", "val": 0.08, "test": 0.25}}
    entry = {
        "arch": "maskrcnn",
        "encoder": "resnet50",
        "input": {"size": [480, 640]},  # about the photographs' own size
        "augment": _PEOPLE_AUGMENT,
        "anchors": {"sizes": [32, 64, 128, 256, 512], "ratios": [1.0, 2.0, 3.0]},
    }
    train = {"batch_size": 4, "lr": 0.0003, "warmup": 2, "weight_decay": 0.01, "clip": 5.0, "ema": 0.998}
    return [Training("maskrcnn", "pennfudan", source, entry, "mask_ap", 0.50, 150, train)]


def _statistics(encoder: str) -> dict[str, Any]:
    """Mean and standard deviation by timm's records: weights from a file are otherwise taken for those with ImageNet's common statistics."""
    if not encoder.startswith("tu-"):
        return {}
    import timm

    config = timm.get_pretrained_cfg(encoder.removeprefix("tu-"))
    return {} if config is None else {"mean": list(config.mean), "std": list(config.std)}


def _tiny(settings: Settings) -> list[Training]:
    """Generated images; the weight file is an encoder's own first weights."""
    import segmentation_models_pytorch as smp

    weights = settings.scratch / "encoder.pth"
    if not weights.is_file():
        torch.save(smp.encoders.get_encoder("mobilenet_v2", weights=None).state_dict(), weights)
    source = {"source": "shapes", "train": 8, "val": 2, "test": 3, "size": [64, 64]}
    common = {"input": {"size": [64, 64]}, "train": {}}
    proposals = {"train_before_nms": 50, "train_after_nms": 20, "test_before_nms": 50, "test_after_nms": 10, "rpn_batch": 16, "box_batch": 8}
    people = {"arch": "maskrcnn", "encoder": "mobilenet_v3_small", "fpn_channels": 32, "proposals": proposals, **common}
    train = {"batch_size": 4, "lr": 0.002, "warmup": 0}
    return [
        Training("unet_imagenet", "shapes", source, {"arch": "unet", "encoder": "mobilenet_v2", "weights": str(weights), **common}, "miou", None, 4, train),
        Training("maskrcnn", "shapes", source, people, "mask_ap", None, 4, train),
    ]


def _learn(settings: Settings, training: Training, seconds: float) -> Result:
    place = Workspace(settings.scratch / "learns" / training.data)
    here = Runtime(accelerator=settings.accelerator, devices=1, workers=0 if settings.tiny else "auto")
    epochs, per_epoch = _epochs(place, training, here, seconds)
    place.prepare(_parameters(training, {training.name: {"epochs": epochs, "validate_every": _VALIDATE_EVERY}}))
    place.train(training.name, here)
    figures = place.evaluate(training.name, here.accelerator)
    summary, score = place.summary(training.name), figures.get(training.metric)
    folder = place.checkout.model(training.name)
    return {
        "passed": score is not None and (training.aim is None or score >= training.aim),
        "data": training.data,
        "arch": training.entry["arch"],
        "encoder": training.entry.get("encoder"),
        "pretrained": training.entry.get("weights", "none") != "none",
        "metric": training.metric,
        "score": score,
        "aim": training.aim,
        "split": place.dataset.info.scored,
        "images": place.dataset.info.counts[place.dataset.info.scored],
        "epochs": summary["epochs"],
        "best_epoch": summary["best_epoch"],
        "training_seconds": summary["seconds"],
        "seconds_per_epoch": per_epoch,
        "precision": summary["precision"],
        "figures": {name: round(value, 4) for name, value in figures.items() if isinstance(value, float) and "/" not in name},
        "kept": [file.name for file in kept.keep(folder, settings.out / "kept" / training.name, settings.weights_mib)],
        "pictures": _pictures(folder, settings.out / "pictures", training.name),
    }


def _epochs(place: Workspace, training: Training, here: Runtime, seconds: float) -> tuple[int, float]:
    """How many fit, and the seconds of one. Decided once: an interrupted training of as many goes on."""
    file = place.checkout.root / f"epochs-{training.name}.json"
    if file.is_file():
        epochs, per_epoch = json.loads(file.read_text())
        return int(epochs), float(per_epoch)
    probe = f"{training.name}_probe"
    place.prepare(_parameters(training, {probe: {"epochs": 3, "validate_every": 3}}))
    place.train(probe, here)
    rows = place.rows(probe)
    alone, validated = rows[1]["seconds"], rows[2]["seconds"]
    per_epoch = alone + max(0.0, validated - alone) / _VALIDATE_EVERY
    fit = int(_SAFE * (seconds - _AROUND_S - sum(row["seconds"] for row in rows)) / per_epoch)
    epochs = max(2, min(training.epochs, fit))
    file.write_text(json.dumps([epochs, per_epoch]))
    return epochs, per_epoch


def _parameters(training: Training, models: dict[str, dict[str, Any]]) -> dict[str, Any]:
    entries = {name: training.entry | {"train": training.train | epochs} for name, epochs in models.items()}
    return {"seed": 0, "data": training.source, "models": entries, "evaluate": {"overlays": 3}}


def _pictures(folder: ModelFolder, target: Path, name: str) -> list[str]:
    """Copies of what people look at."""
    target.mkdir(parents=True, exist_ok=True)
    copied = []
    for picture in sorted(folder.plots.rglob("*.png")):
        copy = target / f"{name}-{picture.relative_to(folder.plots).as_posix().replace('/', '-')}"
        shutil.copyfile(picture, copy)
        copied.append(copy.name)
    return copied
