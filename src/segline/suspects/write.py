"""What `segline suspects` writes:

<out>/suspects.json    every object and every image, the most suspicious first
<out>/suspects.html    the first of them with their pictures
<out>/pictures/        truth, prediction and error, a frame around what is doubted
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from segline.data.store import Split
from segline.drawing.page import figure, page
from segline.drawing.paint import MISSED, Picture
from segline.drawing.scale import panel_size, resized
from segline.drawing.view import view
from segline.files import whole, write_json
from segline.suspects.rank import Ranking, Suspect
from segline.tasks import catalog as tasks
from segline.tasks.contradiction import DOUBTS
from segline_runtime.predictor import Predictor
from segline_runtime.specification import ClassInfo

VERSION = 1
"""Of `suspects.json`."""

_GAP, _MARGIN = 8, 6  # pixels: between panels, around what is framed


def write(ranking: Ranking, predictor: Predictor, splits: Sequence[Split], out: Path, *, pictures: int) -> None:
    """Replace the folder `out`."""
    classes = predictor.specification.classes
    by_name = {split.name: split for split in splits}
    with whole(out) as folder:
        (folder / "pictures").mkdir(parents=True)
        shown = ranking.objects[:pictures]
        names = [f"{place:0{len(str(max(pictures, 1)))}d}_{one.split}_{one.image}.jpg" for place, one in enumerate(shown, start=1)]
        for one, name in zip(shown, names, strict=True):
            Image.fromarray(_picture(one, predictor, by_name[one.split])).save(folder / "pictures" / name, "JPEG", quality=88)
        write_json(folder / "suspects.json", _said(ranking, predictor, splits, names))
        (folder / "suspects.html").write_text(_page(ranking, predictor.specification.model, names, classes), encoding="utf-8")


def sentence(one: Suspect, classes: Sequence[ClassInfo]) -> str:
    """What is doubted, in words."""
    label = None if one.found.label is None else classes[one.found.label].name
    says = None if one.found.says is None else classes[one.found.says].name
    where = f"{one.split}/{one.image} at x {one.found.box[0]}, y {one.found.box[1]}"
    if one.found.doubt == "missing":
        return f"{where}: {says} may be missing" + (f" (annotated as {label})" if label is not None else "")
    if one.found.doubt == "class":
        return f"{where}: annotated as {label}, and {says} for the model"
    if one.found.doubt == "unseen":
        return f"{where}: annotated as {label}, and the model finds nothing there"
    return f"{where}: {label} may lie otherwise"


def _said(ranking: Ranking, predictor: Predictor, splits: Sequence[Split], names: Sequence[str]) -> dict[str, Any]:
    classes = predictor.specification.classes
    objects = []
    for place, one in enumerate(ranking.objects):
        found = one.found
        objects.append(
            {
                "split": one.split,
                "image": one.image,
                "doubt": found.doubt,
                "label": None if found.label is None else classes[found.label].name,
                "says": None if found.says is None else classes[found.says].name,
                "suspicion": round(found.suspicion, 4),
                "box": list(found.box),
                "area": found.area,
                "picture": f"pictures/{names[place]}" if place < len(names) else None,
            }
        )
    images = [{"split": image.split, "image": image.image, "quality": round(image.quality, 4)} for image in ranking.images]
    head = {"version": VERSION, "model": predictor.specification.model, "splits": [split.name for split in splits], "annotated": ranking.annotated}
    return {**head, "objects": objects, "images": images}


def _picture(one: Suspect, predictor: Predictor, split: Split) -> Picture:
    """Truth, prediction and error side by side, each with a frame around the object."""
    sample = split[one.index]
    task = tasks.get(predictor.specification.task)
    height, width = sample.image.shape[:2]
    size = panel_size(height, width)
    panels = task.panels(sample, predictor(sample.image), predictor.specification.classes, resized(view(sample.image), size))
    left, top, right, bottom = one.found.box
    scale = size[0] / height, size[1] / width
    corner = max(0, round(left * scale[1]) - _MARGIN), max(0, round(top * scale[0]) - _MARGIN)
    opposite = min(size[1] - 1, round(right * scale[1]) + _MARGIN), min(size[0] - 1, round(bottom * scale[0]) + _MARGIN)
    framed = []
    for panel in (panels.truth, panels.prediction, panels.error):
        picture = panel.copy()
        cv2.rectangle(picture, corner, opposite, (255, 255, 255), 4)
        cv2.rectangle(picture, corner, opposite, MISSED, 2)
        framed += [picture, np.full((size[0], _GAP, 3), 255, dtype=np.uint8)]
    return np.concatenate(framed[:-1], axis=1)


def _page(ranking: Ranking, model: str, names: Sequence[str], classes: Sequence[ClassInfo]) -> str:
    figures = []
    for place, (one, name) in enumerate(zip(ranking.objects, names, strict=False), start=1):
        figures.append(figure(place, sentence(one, classes), f"{DOUBTS[one.found.doubt]}, suspicion {one.found.suspicion:.2f}", name))
    lead = f"{ranking.annotated:,} annotated objects in {len(ranking.images):,} images; left to right: truth, prediction, error."
    none = "Nothing was judged: no image has an annotated object, and the model finds none."
    return page(f"Labels that {model} contradicts", lead, figures, none=none)
