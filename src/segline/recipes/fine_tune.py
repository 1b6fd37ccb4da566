"""`recipe: fine_tune`: an encoder that has learnt from other images goes on gently."""

from __future__ import annotations

from segline.recipes.base import OfEpochs, Recipe

RECIPE = Recipe(
    about="For pre-trained weights: the encoder waits until the new decoder makes sense, and then learns at a tenth of its rate.",
    source="Howard 2018 (arXiv:1801.06146); Iglovikov 2018 (arXiv:1801.05746)",
    architectures=(
        "unet",
        "unetplusplus",
        "fpn",
        "deeplabv2",
        "deeplabv3",
        "deeplabv3plus",
        "pspnet",
        "hrnet",
        "upernet",
        "segformer",
        "fcn32s",
        "fcn16s",
        "fcn8s",
        "deconvnet",
        "segnet",
        "deeplabv1",
    ),
    pretrained=True,
    values={
        "weights": "imagenet",
        "input": {"fit": "native", "crop": "auto"},
        "loss": {"cross_entropy": {"weight": 1.0, "class_weights": "enet"}, "dice": {"weight": 1.0}},
        "augment": [
            {"RandomScale": {"scale_limit": [-0.5, 1.0], "p": 0.8}},
            {"HorizontalFlip": {"p": 0.5}},
            {"ColorJitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.05, "p": 0.8}},
        ],
        "train": {
            "optimizer": "adamw",
            "lr": 1e-3,
            "encoder_lr_factor": 0.1,
            "freeze_encoder": OfEpochs(0.05),
            "weight_decay": 0.02,
            "schedule": "cosine",
            "warmup": OfEpochs(0.05),
            "clip": 1.0,
            "ema": 0.999,
        },
    },
)
