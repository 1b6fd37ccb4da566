"""Truth, prediction and error of one image on a sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from segline.data.store import Sample
from segline.drawing.paint import Picture
from segline.drawing.scale import panel_size, resized
from segline.drawing.sheet import Panels, sheet
from segline.drawing.view import view
from segline_runtime.predictions import Prediction
from segline_runtime.specification import ClassInfo


class DrawsPanels(Protocol):
    """A task, as far as pictures are concerned."""

    def panels(self, sample: Sample, prediction: Prediction, classes: Sequence[ClassInfo], image: Picture) -> Panels:
        """Truth, prediction and error over `image`, which is the sample's as 8-bit RGB at the panels' size."""


def comparison(sample: Sample, prediction: Prediction, classes: Sequence[ClassInfo], *, score: float, task: DrawsPanels) -> Picture:
    """One picture: a title with the image's name and score; truth, prediction and error as three panels; a legend of what is in them."""
    image = resized(view(sample.image), panel_size(sample.image.shape[0], sample.image.shape[1]))
    panels = task.panels(sample, prediction, classes, image)
    return sheet(panels, title=sample.name, figure=f"score {score:.3f}")
