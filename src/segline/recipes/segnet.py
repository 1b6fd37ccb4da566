"""`recipe: segnet`: as SegNet was trained, and DeconvNet is trained well."""

from __future__ import annotations

from segline.recipes.base import ForBatch, Recipe

RECIPE = Recipe(
    about="Momentum and a fixed rate; rare classes weigh more, by the median of the classes' frequencies.",
    source="Badrinarayanan 2015 (arXiv:1511.00561)",
    architectures=("segnet", "deconvnet"),
    values={
        "loss": {"cross_entropy": {"weight": 1.0, "class_weights": "median_frequency"}},
        "augment": [{"HorizontalFlip": {"p": 0.5}}],
        "train": {
            "optimizer": "sgd",
            "momentum": 0.9,
            "lr": ForBatch(0.1, images=12),
            "weight_decay": 5e-4,
            "schedule": "constant",
            "warmup": 0.0,
        },
    },
)
