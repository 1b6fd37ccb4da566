"""`recipe: unet`: what trains an encoder and a decoder well today, from scratch, whatever the two are."""

from __future__ import annotations

from segline.recipes.base import OfEpochs, Recipe

RECIPE = Recipe(
    about="A strong default for any convolutional network: AdamW with decay, averaged weights, scale jitter and crops, rare classes weighted.",
    source="Ronneberger 2015 (arXiv:1505.04597); AdamW: Loshchilov 2019 (arXiv:1711.05101); class weights: Paszke 2016 (arXiv:1606.02147)",
    architectures=(
        "unet",
        "unetplusplus",
        "fpn",
        "unet_2015",
        "resenc_unet",
        "fcn32s",
        "fcn16s",
        "fcn8s",
        "deconvnet",
        "segnet",
        "tiramisu56",
        "tiramisu67",
        "tiramisu103",
        "deeplabv1",
        "deeplabv2",
        "deeplabv3",
        "deeplabv3plus",
        "pspnet",
        "hrnet",
        "upernet",
    ),
    values={
        "input": {"fit": "native", "crop": "auto"},
        "loss": {"cross_entropy": {"weight": 1.0, "class_weights": "enet"}, "dice": {"weight": 1.0}},
        "augment": [
            {"RandomScale": {"scale_limit": [-0.5, 1.0], "p": 0.8}},  # half to twice the size
            {"HorizontalFlip": {"p": 0.5}},
            {"ColorJitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.05, "p": 0.8}},
        ],
        "train": {
            "optimizer": "adamw",
            "lr": 1e-3,
            "weight_decay": 0.02,
            "schedule": "cosine",
            "warmup": OfEpochs(0.05),
            "clip": 1.0,
            "ema": 0.999,
        },
    },
)
