"""`segline next`: images without labels, in the order in which to label them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segline.cli.addresses import ADDRESSES, onnx_file
from segline.cli.console import counted, progress_wanted
from segline.cli.outputs import require_replaceable
from segline.cli.surroundings import checkout_if_any
from segline.errors import DataError

if TYPE_CHECKING:
    from segline.data.store import PreparedDataset

_OUT = Path("next")
_SHOWN = 10  # sentences on the terminal
_SCORE = "entropy (the default), margin, least_confidence or balanced (as margin, and classes that are found seldom count more)."


def next_images(
    source: Annotated[Path, typer.Argument(help="A folder of images without labels, or a list of them: a .txt file with a path in each line.")],
    model: Annotated[str, typer.Option("--model", "-m", help=ADDRESSES)],
    take: Annotated[
        int, typer.Option("--take", "-n", min=1, max=100_000, help="Images that are to be labelled; each is chosen with those before it in mind.")
    ] = 100,
    score: Annotated[str | None, typer.Option("--score", help=_SCORE)] = None,
    apart: Annotated[bool, typer.Option("--apart/--alike", help="Whether images that are alike, as the frames of a film, stand apart.")] = True,
    copy_to: Annotated[Path | None, typer.Option("--copy-to", help="Copy the images that are to be labelled into this folder.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Prepared data, whose images are left out; default: that of the checkout, if any.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder that is written, and replaced.")] = _OUT,
    pictures: Annotated[int, typer.Option("--pictures", min=0, max=10_000, help="Images with a picture of the model's doubts.")] = 40,
) -> None:
    """Rank images by how much a model would learn from their labels; nothing is changed."""
    from segline.data.check import brief
    from segline.inference.predict import load_predictor
    from segline.labelling import copy, scores
    from segline.labelling.rank import rank
    from segline.labelling.source import NOTHING, images_of, labelled
    from segline.labelling.write import JSON, write
    from segline_runtime.images import suffixes

    word = score or scores.DEFAULT
    chosen = scores.get(word)
    require_replaceable(out, JSON, "what to label next")
    if copy_to is not None:
        copy.require_apart(copy_to, source)
    dataset = _prepared(data)
    with onnx_file(model) as file:
        predictor = load_predictor(file)
        files = images_of(source, out, suffixes(predictor.specification.image))
        known = NOTHING if dataset is None else labelled(dataset, compared=apart, progress=progress_wanted())
        ranking = rank(predictor, files, score=chosen, known=known, apart=apart, first=take, progress=progress_wanted())
        write(ranking, predictor, out, word=word, score=chosen, pictures=pictures)
    left_out = f"; {counted(ranking.labelled, 'image')} in {dataset.folder} already" if dataset is not None else ""
    print(f"{counted(len(ranking.choices), 'image')} ranked by {model}{left_out}. The first to label:")
    for choice in ranking.choices[: min(take, _SHOWN)]:
        print(f"  {choice.worth:.3f}  {brief(choice.name)}: {choice.why}")
    if copy_to is not None:
        wanted = ranking.choices[:take]
        print(f"{counted(copy.copy(wanted, copy_to), 'image')} of these {len(wanted)} copied to {copy_to}.")
    print(f"All of them: {out / 'next.html'}")
    if ranking.unreadable:
        number = len(ranking.unreadable)
        raise DataError(*ranking.unreadable, f"{counted(number, 'image')} could not be read. The others are in {out}.")


def _prepared(data: Path | None) -> PreparedDataset | None:
    """What is labelled already; None where there is nothing. A folder that is given must hold it."""
    from segline.data.store import PreparedDataset

    if data is not None:
        return PreparedDataset(data)
    found = checkout_if_any()
    return PreparedDataset(found.prepared) if found is not None and (found.prepared / "dataset.json").is_file() else None
