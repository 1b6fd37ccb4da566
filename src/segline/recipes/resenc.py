"""`recipe: resenc`: as nnU-Net trains, with its deep augmentation."""

from __future__ import annotations

from segline.recipes.base import ForBatch, Recipe

RECIPE = Recipe(
    about="nnU-Net's: Nesterov's momentum of 0.99 with a polynomial decay, Dice and cross-entropy, and turning, zooming, noise, blur and light in depth.",
    source="Isensee 2021 (Nature Methods 18); Isensee 2024 (arXiv:2404.09556)",
    architectures=("resenc_unet", "unet_2015", "unet", "unetplusplus"),
    values={
        "input": {"fit": "native", "crop": "auto"},
        "loss": {"cross_entropy": {"weight": 1.0}, "dice": {"weight": 1.0}},
        "augment": [
            {"Affine": {"rotate": [-180, 180], "p": 0.2}},
            {"RandomScale": {"scale_limit": [-0.3, 0.4], "p": 0.2}},
            {"HorizontalFlip": {"p": 0.5}},
            {"VerticalFlip": {"p": 0.5}},
            {"GaussNoise": {"std_range": [0.0, 0.1], "p": 0.1}},
            {"GaussianBlur": {"sigma_limit": [0.5, 1.0], "blur_limit": 0, "p": 0.2}},
            {"RandomBrightnessContrast": {"brightness_limit": [-0.25, 0.25], "contrast_limit": [0.0, 0.0], "p": 0.15}},
            {"RandomBrightnessContrast": {"brightness_limit": [0.0, 0.0], "contrast_limit": [-0.25, 0.25], "p": 0.15}},
            {"Downscale": {"scale_range": [0.5, 0.99], "p": 0.25}},
            {"RandomGamma": {"gamma_limit": [70, 150], "p": 0.3}},
        ],
        "train": {
            "optimizer": "sgd",
            "momentum": 0.99,
            "lr": ForBatch(0.01, images=12),
            "weight_decay": 3e-5,
            "schedule": "poly",
            "poly_power": 0.9,
            "warmup": 0.0,
            "clip": 12.0,
        },
    },
)
