"""`recipe: hrnet`: as HRNetV2 was trained on street scenes."""

from __future__ import annotations

from segline.recipes.base import ForBatch, Recipe

RECIPE = Recipe(
    about="Momentum with a polynomial decay, images of half to twice their size, mirrored, and large crops.",
    source="Wang 2019 (arXiv:1908.07919)",
    architectures=("hrnet",),
    values={
        "input": {"fit": "native", "crop": "auto"},
        "loss": {"cross_entropy": {"weight": 1.0}},
        "augment": [{"RandomScale": {"scale_limit": [-0.5, 1.0], "p": 1.0}}, {"HorizontalFlip": {"p": 0.5}}],
        "train": {
            "optimizer": "sgd",
            "momentum": 0.9,
            "lr": ForBatch(0.01, images=12),
            "weight_decay": 5e-4,
            "schedule": "poly",
            "poly_power": 0.9,
            "warmup": 0.0,
        },
    },
)
