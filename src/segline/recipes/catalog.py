"""The recipes that `recipe` can name: word → module with its `RECIPE`."""

from __future__ import annotations

from segline import choices
from segline.recipes.base import Recipe

RECIPES: dict[str, str] = {
    "unet": "segline.recipes.unet",
    "unet_2015": "segline.recipes.unet_2015",
    "resenc": "segline.recipes.resenc",
    "fcn": "segline.recipes.fcn",
    "segnet": "segline.recipes.segnet",
    "tiramisu": "segline.recipes.tiramisu",
    "deeplab": "segline.recipes.deeplab",
    "pspnet": "segline.recipes.pspnet",
    "hrnet": "segline.recipes.hrnet",
    "transformer": "segline.recipes.transformer",
    "fine_tune": "segline.recipes.fine_tune",
    "maskrcnn": "segline.recipes.maskrcnn",
}


def get(name: str) -> Recipe:
    """Raises ParametersError for an unknown word."""
    found: Recipe = choices.module(RECIPES, "recipe", name).RECIPE
    return found


def of_architecture(arch: str) -> list[str]:
    """Words of the recipes that make sense for an architecture."""
    return [name for name in RECIPES if arch in get(name).architectures]
