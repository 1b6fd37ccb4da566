"""`recipe: tiramisu`: as the fully convolutional DenseNets were trained; the fine-tuning on whole images is the end of the one training."""

from __future__ import annotations

from segline.recipes.base import OfEpochs, Recipe

RECIPE = Recipe(
    about="RMSprop with an exponential decay on crops of 224 pixels, mirrored; at the end, on whole images, for which a batch must be small enough.",
    source="Jégou 2017 (arXiv:1611.09326)",
    architectures=("tiramisu56", "tiramisu67", "tiramisu103"),
    values={
        "input": {"fit": "native", "crop": [224, 224]},
        "loss": {"cross_entropy": {"weight": 1.0}},
        "augment": [{"HorizontalFlip": {"p": 0.5}}],
        "train": {
            "optimizer": "rmsprop",
            "lr": 1e-3,
            "weight_decay": 1e-4,
            "schedule": "exponential",
            "warmup": 0.0,
            "uncropped": OfEpochs(0.2),
        },
    },
)
