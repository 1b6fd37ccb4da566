"""`recipe: unet_2015`: as the original U-Net was trained, on few images of cells."""

from __future__ import annotations

from segline.recipes.base import Recipe

RECIPE = Recipe(
    about="The original U-Net on few images: high momentum, and elastic deformations that give cells a thousand shapes. Its batches held one image.",
    source="Ronneberger 2015 (arXiv:1505.04597)",
    architectures=("unet_2015", "unet"),
    values={
        "input": {"fit": "native", "crop": "auto"},
        "loss": {"cross_entropy": {"weight": 1.0, "class_weights": "balanced"}},
        "augment": [
            {"SquareSymmetry": {"p": 1.0}},
            {"ElasticTransform": {"alpha": 200, "sigma": 10, "border_mode": 4, "p": 0.7}},  # displacements of about 10 pixels; borders are mirrored
            {"Affine": {"rotate": [-45, 45], "translate_percent": [-0.1, 0.1], "border_mode": 4, "p": 0.7}},
            {"RandomBrightnessContrast": {"p": 0.5}},
        ],
        "train": {"optimizer": "sgd", "momentum": 0.99, "lr": 1e-3, "weight_decay": 5e-4, "schedule": "constant", "clip": 1.0},
    },
)
