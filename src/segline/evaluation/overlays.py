"""Pictures of predictions: `overlay` paints one onto its photograph; `comparison` puts truth, prediction and error side by side.

Images are RGB uint8 `(H, W, 3)`, colours RGB 0…255, class ids `(H, W)`, object masks `(N, H, W)`.
Of predicted objects only the confident ones are drawn (see `segline.metrics.matching.CONFIDENT`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from segline.data.store import IGNORE, Instances, Sample
from segline.metrics.matching import CONFIDENT, match
from segline_runtime.predictions import InstancePrediction, Prediction, SemanticPrediction
from segline_runtime.specification import ClassInfo

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

RIGHT: Colour = (0, 190, 130)
WRONG: Colour = (255, 45, 60)
MISSED: Colour = (70, 130, 255)
EXTRA: Colour = (255, 150, 0)
IGNORED: Colour = (140, 140, 140)

_PAPER, _INK, _QUIET = (255, 255, 255), (28, 38, 48), (110, 120, 130)
_PANEL_SIDES = (360, 560)  # a smaller photograph is enlarged by a whole factor, a larger one reduced, pixels
_MARGIN, _GAP = 18, 10


def overlay(image: Picture, prediction: Prediction, classes: Sequence[ClassInfo]) -> Picture:
    """The prediction in its classes' colours over the dimmed photograph, at the photograph's size."""
    if isinstance(prediction, SemanticPrediction):
        return _paint_classes(image, prediction.class_ids, classes)
    claimed = np.flatnonzero(prediction.scores >= CONFIDENT)
    return _paint_objects(
        _dimmed(image),
        prediction.masks[claimed],
        [classes[label].color for label in prediction.labels[claimed]],
        [f"{classes[label].name} {score:.2f}" for label, score in zip(prediction.labels[claimed], prediction.scores[claimed], strict=True)],
    )


def comparison(truth: Sample, prediction: Prediction, classes: Sequence[ClassInfo], *, score: float) -> Picture:
    """One picture: a title with the image's name and score; truth, prediction and error as three panels; a legend of what is in them."""
    height, width = truth.image.shape[:2]
    factor = _display_factor(height, width)
    size = (round(height * factor), round(width * factor))
    image = _resized(truth.image, size)
    if isinstance(prediction, SemanticPrediction):
        assert truth.mask is not None
        ids, predicted = (_resized_ids(m, size) for m in (truth.mask, prediction.class_ids))
        panels = [_paint_classes(image, ids, classes), _paint_classes(image, predicted, classes), _paint_wrong(image, ids, predicted)]
        present = np.union1d(ids[ids != IGNORE], predicted)
        marks = [("wrong", WRONG)] if ((ids != predicted) & (ids != IGNORE)).any() else []
        marks += [("ignored", IGNORED)] if (ids == IGNORE).any() else []
    else:
        assert truth.instances is not None
        panels, present, marks = _instance_panels(image, truth.instances, prediction, classes, size)
    legend = [(classes[i].name, classes[i].color) for i in present]
    return _sheet(panels, truth.name, f"score {score:.3f}", legend, marks)


def _instance_panels(
    image: Picture, truth: Instances, prediction: InstancePrediction, classes: Sequence[ClassInfo], size: tuple[int, int]
) -> tuple[list[Picture], NDArray[np.int64], list[tuple[str, Colour]]]:
    found = match(truth, prediction)
    claimed = np.flatnonzero(prediction.scores >= CONFIDENT)
    true_masks, masks = _resized_masks(truth.masks, size), _resized_masks(prediction.masks, size)
    true_colours = [IGNORED if crowd else classes[label].color for label, crowd in zip(truth.labels, truth.crowd, strict=True)]
    colours = [classes[label].color for label in prediction.labels[claimed]]
    tags = [f"{score:.2f}" for score in prediction.scores[claimed]]
    dimmed = _dimmed(image)
    crowds = np.flatnonzero(truth.crowd).tolist()
    kinds = [
        ("ignored", IGNORED, true_masks[crowds]),
        ("found", RIGHT, masks[[p for _, p in found.pairs]]),
        ("missed", MISSED, true_masks[found.missed]),
        ("found, but not there", EXTRA, masks[found.wrong]),
    ]
    errors = _paint_objects(dimmed, np.concatenate([m for *_, m in kinds]), [colour for _, colour, m in kinds for _ in m], [])
    panels = [_paint_objects(dimmed, true_masks, true_colours, []), _paint_objects(dimmed, masks[claimed], colours, tags), errors]
    present = np.union1d(truth.labels[~truth.crowd], prediction.labels[claimed])
    return panels, present, [(name, colour) for name, colour, m in kinds if len(m)]


def _dimmed(image: Picture, light: float = 0.62) -> Picture:
    """Half grey and darker, so that colours stand out."""
    grey = image.astype(np.float32).mean(axis=2, keepdims=True)
    return np.asarray((0.5 * image + 0.5 * grey) * light).astype(np.uint8)


def _blend(image: Picture, where: NDArray[np.bool_], colour: Colour, share: float) -> None:
    image[where] = ((1 - share) * image[where] + share * np.array(colour)).astype(np.uint8)


def _paint_classes(image: Picture, ids: Picture, classes: Sequence[ClassInfo]) -> Picture:
    table = np.full((256, 3), IGNORED, dtype=np.uint8)
    for info in classes:
        table[info.id] = info.color
    colours = table[ids]
    painted = (0.5 * _dimmed(image, 0.8) + 0.5 * colours).astype(np.uint8)
    # Only borders inside the picture are lines: a pixel whose right or lower neighbour is of another class.
    border = np.zeros(ids.shape, dtype=np.bool_)
    border[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    border[:-1] |= ids[:-1] != ids[1:]
    if _line_width(ids.shape) > 1:
        border = cv2.dilate(border.astype(np.uint8), np.ones((2, 2), np.uint8)) > 0
    _blend(painted, border, (255, 255, 255), 0.75)
    return painted


def _paint_wrong(image: Picture, truth: Picture, predicted: Picture) -> Picture:
    painted = _dimmed(image)
    ignored = truth == IGNORE
    _blend(painted, ignored, IGNORED, 0.6)
    _blend(painted, (truth != predicted) & ~ignored, WRONG, 0.75)
    return painted


def _paint_objects(dimmed: Picture, masks: NDArray[np.bool_], colours: Sequence[Colour], tags: Sequence[str]) -> Picture:
    """Filled and outlined objects, large ones first so that small ones stay visible; `tags` is one text per object, or empty."""
    painted = dimmed.copy()
    width = _line_width(painted.shape)
    order = np.argsort([-mask.sum() for mask in masks], kind="stable")
    for i in order:
        _blend(painted, masks[i], colours[i], 0.55)
    for i in order:
        outlines, _ = cv2.findContours(masks[i].astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        light = tuple(int(c + 0.55 * (255 - c)) for c in colours[i])
        cv2.drawContours(painted, outlines, -1, light, width, cv2.LINE_AA)
    if not tags:
        return painted
    canvas = Image.fromarray(painted)
    draw = ImageDraw.Draw(canvas, "RGBA")
    font = _font(float(np.clip(min(painted.shape[:2]) / 28, 8, 16)))
    for i in order:
        rows, columns = np.flatnonzero(masks[i].any(axis=1)), np.flatnonzero(masks[i].any(axis=0))
        if not len(rows):
            continue
        left, top, right, bottom = draw.textbbox((0, 0), tags[i], font=font)
        x = min(int(columns[0]), painted.shape[1] - int(right - left) - 6)
        y = max(int(rows[0]) - int(bottom - top) - 5, 0)
        draw.rectangle((x, y, x + right - left + 5, y + bottom - top + 4), fill=(0, 0, 0, 150))
        draw.text((x + 3 - left, y + 2 - top), tags[i], font=font, fill=(255, 255, 255, 255))
    return np.asarray(canvas)


def _sheet(panels: Sequence[Picture], title: str, figure: str, legend: Sequence[tuple[str, Colour]], marks: Sequence[tuple[str, Colour]]) -> Picture:
    height, width = panels[0].shape[:2]
    total = 2 * _MARGIN + len(panels) * width + (len(panels) - 1) * _GAP
    bold, plain, small = _font(19, bold=True), _font(17), _font(14)
    lines = _legend_lines(legend, marks, small, total - 2 * _MARGIN)
    top = _MARGIN + 56
    bottom = top + height + 12 + 24 * len(lines)
    canvas = Image.new("RGB", (total, bottom + _MARGIN - 6), _PAPER)
    draw = ImageDraw.Draw(canvas)
    right = total - _MARGIN - draw.textlength(figure, font=plain)
    draw.text((_MARGIN, _MARGIN), _shortened(title, bold, right - _MARGIN - 20), font=bold, fill=_INK, anchor="la")
    draw.text((right, _MARGIN + 1), figure, font=plain, fill=_INK, anchor="la")
    for i, (panel, caption) in enumerate(zip(panels, ("truth", "prediction", "error"), strict=True)):
        x = _MARGIN + i * (width + _GAP)
        draw.text((x, top - 7), caption, font=small, fill=_QUIET, anchor="ls")
        canvas.paste(Image.fromarray(panel), (x, top))
    for row, entries in enumerate(lines):
        y = top + height + 12 + 24 * row
        for x, name, colour in entries:
            draw.rounded_rectangle((x, y + 3, x + 14, y + 17), radius=3, fill=colour, outline=_QUIET)
            draw.text((x + 21, y + 10), name, font=small, fill=_INK, anchor="lm")
    return np.asarray(canvas)


def _legend_lines(
    legend: Sequence[tuple[str, Colour]], marks: Sequence[tuple[str, Colour]], font: ImageFont.FreeTypeFont, width: int
) -> list[list[tuple[int, str, Colour]]]:
    """Entries with their x, broken into lines; the marks of the error panel start a line of their own."""
    lines: list[list[tuple[int, str, Colour]]] = []
    for entries in (legend, marks):
        x = width + 1
        for name, colour in entries:
            needed = 21 + int(font.getlength(name)) + 22
            if x + needed - 22 > width:
                lines.append([])
                x = 0
            lines[-1].append((_MARGIN + x, name, colour))
            x += needed
    return lines


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    while font.getlength(text) > width and len(text) > 2:
        text = f"{text[:-2]}…"
    return text


def _display_factor(height: int, width: int) -> float:
    smallest, largest = _PANEL_SIDES
    longer = max(height, width)
    if longer < smallest:
        return float(-(-smallest // longer))
    return min(largest / longer, 1.0)


def _resized(image: Picture, size: tuple[int, int]) -> Picture:
    if image.shape[:2] == size:
        return image
    how = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size[::-1], interpolation=how))


def _resized_ids(ids: Picture, size: tuple[int, int]) -> Picture:
    return np.asarray(cv2.resize(ids, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))


def _resized_masks(masks: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    resized = np.zeros((len(masks), *size), dtype=np.bool_)
    for i, mask in enumerate(masks):
        resized[i] = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) > 0.5
    return resized


def _line_width(shape: tuple[int, ...]) -> int:
    return max(1, round(min(shape[:2]) / 250))


@cache
def _font(size: float, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib carries it: it knows far more scripts than Pillow's own font."""
    import matplotlib as mpl

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / name), size)
