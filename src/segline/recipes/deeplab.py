"""`recipe: deeplab`: as DeepLab's networks are trained."""

from __future__ import annotations

from segline.recipes.base import ForBatch, Recipe

RECIPE = Recipe(
    about="Momentum with a polynomial decay of power 0.9, images of half to twice their size, and crops as large as memory allows.",
    source="Chen 2017 (arXiv:1706.05587); Chen 2018 (arXiv:1802.02611)",
    architectures=("deeplabv1", "deeplabv2", "deeplabv3", "deeplabv3plus"),
    values={
        "input": {"fit": "native", "crop": "auto"},
        "loss": {"cross_entropy": {"weight": 1.0}},
        "augment": [{"RandomScale": {"scale_limit": [-0.5, 1.0], "p": 1.0}}, {"HorizontalFlip": {"p": 0.5}}],
        "train": {
            "optimizer": "sgd",
            "momentum": 0.9,
            "lr": ForBatch(0.007, images=16),
            "weight_decay": 4e-5,
            "schedule": "poly",
            "poly_power": 0.9,
            "warmup": 0.0,
        },
    },
)
