"""`recipe: fcn`: as the fully convolutional networks were trained."""

from __future__ import annotations

from segline.recipes.base import ForBatch, Recipe

RECIPE = Recipe(
    about="For pre-trained weights: momentum and a small fixed rate, on whole images, mirrored at most.",
    source="Long 2015 (arXiv:1411.4038)",
    architectures=("fcn32s", "fcn16s", "fcn8s"),
    pretrained=True,  # at this rate nothing is learnt from scratch
    values={
        "weights": "imagenet",
        "loss": {"cross_entropy": {"weight": 1.0}},
        "augment": [{"HorizontalFlip": {"p": 0.5}}],
        "train": {
            "optimizer": "sgd",
            "momentum": 0.9,
            "lr": ForBatch(1e-4, images=20),
            "weight_decay": 5e-4,
            "schedule": "constant",
            "warmup": 0.0,
        },
    },
)
