"""What `segline next` writes:

<out>/next.json    every image with its place, score and reason
<out>/next.csv     the same as a table
<out>/next.html    the first of them with their pictures
<out>/pictures/    the image, and beside it where the model is undecided
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segline.drawing.heat import heated
from segline.drawing.page import figure, page
from segline.drawing.paint import Picture
from segline.drawing.scale import panel_size, resized
from segline.drawing.view import view
from segline.files import whole, write_json
from segline.labelling.rank import Choice, Ranking
from segline.labelling.scores import Score
from segline.labelling.source import NOTHING, read
from segline.tasks import catalog as tasks
from segline_runtime.predictor import Predictor

VERSION = 1
"""Of `next.json`."""

JSON = "next.json"

_NAMES = "surrogateescape"
"""How file names that are no UTF-8 are written: as they are."""

_GAP = 8  # pixels between panels
_LONGEST = 50  # characters of an image's name in that of its picture


def write(ranking: Ranking, predictor: Predictor, out: Path, *, word: str, score: Score, pictures: int) -> None:
    """Replace the folder `out`. word: of the score."""
    shown = ranking.choices[:pictures]
    digits = len(str(len(shown)))
    stems = [Path(choice.name).with_suffix("").as_posix().replace("/", "_")[-_LONGEST:] for choice in shown]
    names = [f"{place:0{digits}d}_{stem}.jpg" for place, stem in enumerate(stems, start=1)]
    with whole(out) as folder:
        (folder / "pictures").mkdir(parents=True)
        for choice, name in zip(shown, names, strict=True):
            Image.fromarray(_picture(choice, predictor, score)).save(folder / "pictures" / name, "JPEG", quality=88)
        rows = [_row(place, choice, names) for place, choice in enumerate(ranking.choices, start=1)]
        head = {"version": VERSION, "model": predictor.specification.model, "score": word, "apart": ranking.first}
        left_out = {"labelled": ranking.labelled, "unreadable": list(ranking.unreadable)}
        write_json(folder / JSON, {**head, **left_out, "images": rows})
        _write_table(folder / "next.csv", rows)
        (folder / "next.html").write_text(_page(ranking, predictor.specification.model, score, names), encoding="utf-8", errors=_NAMES)


def _row(place: int, choice: Choice, names: list[str]) -> dict[str, Any]:
    picture = f"pictures/{names[place - 1]}" if place <= len(names) else None
    return {
        "rank": place,
        "file": choice.name,
        "score": round(choice.worth, 6),
        "newness": round(choice.newness, 4),
        "why": choice.why,
        "picture": picture,
    }


def _write_table(file: Path, rows: list[dict[str, Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8", errors=_NAMES) as stream:
        table = csv.DictWriter(stream, ["rank", "file", "score", "newness", "why"], extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)


def _picture(choice: Choice, predictor: Predictor, score: Score) -> Picture:
    """The image, and the model's doubts over it."""
    image = read(choice.file, choice.name, predictor.specification.image, NOTHING)
    assert image is not None, "nothing is labelled"
    specification = predictor.specification
    found = tasks.hesitate(specification.task)(predictor(image.pixels, probabilities=True), score.measure, specification.classes)
    height, width = image.pixels.shape[:2]
    photograph = resized(view(image.pixels), panel_size(height, width))
    gap = np.full((photograph.shape[0], _GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([photograph, gap, heated(photograph, found.heat)], axis=1)


def _page(ranking: Ranking, model: str, score: Score, names: list[str]) -> str:
    figures = []
    for place, (choice, name) in enumerate(zip(ranking.choices, names, strict=False), start=1):
        figures.append(figure(place, f"{choice.name}: {choice.why}", f"score {choice.worth:.3f}, new by {choice.newness:.2f}", name))
    lead = f"{len(ranking.choices):,} images, by {score.about} ({score.source}); left to right: the image, and where the model is undecided."
    return page(f"What to label next for {model}", lead, figures, none="No pictures were asked for; next.csv has all images.")
