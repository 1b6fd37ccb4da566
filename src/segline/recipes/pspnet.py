"""`recipe: pspnet`: as PSPNet was trained, and UPerNet after it."""

from __future__ import annotations

from segline.recipes.base import ForBatch, Recipe

RECIPE = Recipe(
    about="Momentum with a polynomial decay, an auxiliary head, and images mirrored, zoomed, turned a little and blurred.",
    source="Zhao 2017 (arXiv:1612.01105); Xiao 2018 (arXiv:1807.10221)",
    architectures=("pspnet", "upernet"),
    values={
        "auxiliary": 0.4,
        "input": {"fit": "native", "crop": "auto"},
        "loss": {"cross_entropy": {"weight": 1.0}},
        "augment": [
            {"RandomScale": {"scale_limit": [-0.5, 1.0], "p": 1.0}},
            {"Affine": {"rotate": [-10, 10], "p": 0.5}},
            {"HorizontalFlip": {"p": 0.5}},
            {"GaussianBlur": {"p": 0.5}},
        ],
        "train": {
            "optimizer": "sgd",
            "momentum": 0.9,
            "lr": ForBatch(0.01, images=16),
            "weight_decay": 1e-4,
            "schedule": "poly",
            "poly_power": 0.9,
            "warmup": 0.0,
        },
    },
)
