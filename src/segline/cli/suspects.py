"""`segline suspects`: annotated images and objects that a model contradicts, the most suspicious first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segline.cli.addresses import ADDRESSES, onnx_file
from segline.cli.console import counted, progress_wanted
from segline.cli.outputs import require_replaceable
from segline.cli.surroundings import checkout

_OUT = Path("suspects")
_SHOWN = 10  # sentences on the terminal


def suspects(
    model: Annotated[str, typer.Argument(help=ADDRESSES)],
    split: Annotated[list[str] | None, typer.Option("--split", help="train, val or test; several times; default: all.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Prepared data; default: data/prepared of the checkout.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder that is written, and replaced.")] = _OUT,
    pictures: Annotated[int, typer.Option("--pictures", min=0, max=10_000, help="Suspects with a picture.")] = 40,
) -> None:
    """Rank labels by how much a model contradicts them; nothing is changed."""
    from segline.data.store import PreparedDataset
    from segline.inference.predict import load_predictor
    from segline.suspects.rank import rank, splits_for
    from segline.suspects.write import sentence, write

    require_replaceable(out, "suspects.json", "suspects")
    dataset = PreparedDataset(checkout().prepared if data is None else data)
    with onnx_file(model) as file:
        predictor = load_predictor(file)
        splits = splits_for(predictor, dataset, list(dict.fromkeys(split or ())))
        ranking = rank(predictor, splits, progress=progress_wanted())
        write(ranking, predictor, splits, out, pictures=pictures)
    print(f"{counted(ranking.annotated, 'object')} in {counted(len(ranking.images), 'image')} judged by {model}; the first to look at:")
    for one in ranking.objects[:_SHOWN]:
        print(f"  {one.found.suspicion:.2f}  {sentence(one, predictor.specification.classes)}")
    print(f"All of them: {out / 'suspects.html'}")
