"""`recipe: maskrcnn`: a detector from few images, or from many."""

from __future__ import annotations

from segline.recipes.base import OfEpochs, Recipe

RECIPE = Recipe(
    about="AdamW with clipped gradients, batches of several sizes, and objects of other images pasted in.",
    source="He 2017 (arXiv:1703.06870); Ghiasi 2021 (arXiv:2012.07177)",
    architectures=("maskrcnn",),
    values={
        "augment": [
            {"HorizontalFlip": {"p": 0.5}},
            {"Affine": {"scale": [0.8, 1.25], "translate_percent": [-0.1, 0.1], "p": 0.7}},
            {"ColorJitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.03, "p": 0.7}},
            {"CopyPaste": {"p": 0.5, "most": 5}},
        ],
        "train": {
            "optimizer": "adamw",
            "lr": 3e-4,
            "weight_decay": 0.01,
            "schedule": "cosine",
            "warmup": OfEpochs(0.05),
            "clip": 5.0,
            "multi_scale": [0.8, 1.2],
        },
    },
)
