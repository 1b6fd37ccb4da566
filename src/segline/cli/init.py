"""`segline init`: parameters for a folder of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segline.cli.console import counted
from segline.errors import ParametersError

if TYPE_CHECKING:
    from segline.init.write import Written
    from segline.layout import Checkout


def init(
    root: Annotated[Path, typer.Option("--root", help="The folder of annotated images.")],
    data_format: Annotated[str | None, typer.Option("--format", help="How it is annotated, where that is not to be found out.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a params.yaml that was edited; a copy is kept.")] = False,
) -> None:
    """Write params.yaml for a folder of annotated images: its layout, classes and sizes are found out, the rest is chosen to suit."""
    from segline.init.write import init as write

    _tell(write(root, _checkout(), word=data_format, force=force))


def _checkout() -> Checkout:
    """The checkout around, of which params.yaml may be missing. Raises ParametersError when there is none."""
    from segline.layout import Checkout

    here = Path.cwd().resolve()
    found = next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file() and (folder / "pipeline").is_dir()), None)
    if found is None:
        raise ParametersError(f"{here} is not inside a Segline checkout: no folder above it holds dvc.yaml and pipeline/. Change into the checkout first.")
    return Checkout(found)


def _tell(done: Written) -> None:
    looked = done.survey
    height, width = looked.median
    splits = ", ".join(f"{number} {split}" for split, number in looked.official.items()) or "no splits of their own"
    print(f"{done.found.word}: {done.found.sighting.seen}")
    print(f"{counted(looked.images, 'image')} ({splits}), the median one {height}×{width} pixels (height × width)")
    print(f"{counted(len(looked.classes), 'class').replace('classs', 'classes')}: {_classes(done)}")
    for other in done.others:
        print(f"It could be {other.word}, too: {other.sighting.seen}. The same command with `--format {other.word} --force` takes it so.")
    if looked.problems:
        print(f"Of {looked.looked_at + len(looked.problems)} images that were looked into, some cannot be used, and `prepare` will refuse them:")
        for problem in looked.problems[:5]:
            print(f"  {problem}")
    if done.kept is not None:
        print(f"The params.yaml that was there is kept as {done.kept.name}.")
    print(f"params.yaml is written, with the model{'s' if len(done.models) > 1 else ''} {' and '.join(done.models)}. Read it, then run `dvc repro`.")


def _classes(done: Written) -> str:
    """The classes with the pixels that they have, the first dozen."""
    looked = done.survey
    shown = []
    for label, one in list(enumerate(looked.classes))[:12]:
        share = looked.share(label)
        shown.append(f"{one.name} {100 * share:.2g} %" if looked.class_pixels else one.name)
    return ", ".join(shown) + (f" and {len(looked.classes) - 12} more" if len(looked.classes) > 12 else "")
