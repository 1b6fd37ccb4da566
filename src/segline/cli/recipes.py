"""`segline recipes`: what `recipe:` in params.yaml can name, and what each sets."""

from __future__ import annotations

from typing import Annotated

import typer


def recipes(
    name: Annotated[str | None, typer.Argument(help="A recipe, or an architecture: what its recipes set.")] = None,
) -> None:
    """List the recipes for training, or what one of them sets."""
    from segline import documentation
    from segline.recipes import catalog

    if name is None:
        for word in catalog.RECIPES:
            recipe = catalog.get(word)
            print(f"{word}: {recipe.about}\n    for {', '.join(recipe.architectures)}")
        print("`segline recipes <name>` shows what one sets; `recipe: <name>` in an entry of `models:` takes it, and other keys there override it.")
        return
    words = [name] if name in catalog.RECIPES else catalog.of_architecture(name) or [name]
    for word in words:
        print(documentation.recipe(word).markdown())
