"""`recipe: transformer`: as SegFormer was trained: a transformer is sensitive to its rate."""

from __future__ import annotations

from segline.recipes.base import OfEpochs, Recipe

RECIPE = Recipe(
    about="AdamW with a small rate for the transformer and ten times that for its decoder, a straight decay after the warm-up, and zoomed crops.",
    source="Xie 2021 (arXiv:2105.15203)",
    architectures=("segformer", "upernet"),
    values={
        "input": {"fit": "native", "crop": "auto"},
        "loss": {"cross_entropy": {"weight": 1.0}},
        "augment": [
            {"RandomScale": {"scale_limit": [-0.5, 1.0], "p": 1.0}},
            {"HorizontalFlip": {"p": 0.5}},
            {"ColorJitter": {"brightness": 0.125, "contrast": 0.5, "saturation": 0.5, "hue": 0.1, "p": 0.5}},
        ],
        "train": {
            "optimizer": "adamw",
            "lr": 6e-4,
            "encoder_lr_factor": 0.1,  # 6e-5
            "weight_decay": 0.01,
            "schedule": "poly",
            "poly_power": 1.0,
            "warmup": OfEpochs(0.01),
        },
    },
)
