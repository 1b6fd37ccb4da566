"""`train.epochs: auto`: how often the training images are shown."""

from __future__ import annotations

from segline.models.settings import Lessons
from segline.plan.decisions.decision import down

_STEPS = (5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 125, 150, 200, 250, 300)
"""Among which the number is chosen; fewer than five passes leave no time for a learning rate to rise and fall."""

_PRETRAINED = 0.5
"""Share of the lessons that weights need which have learnt before."""


def epochs(lessons: Lessons, *, images: int, objects: float, classes: int, pretrained: bool) -> tuple[int, str]:
    """images: that are trained on; objects: in them; classes: that are told apart."""
    if lessons.objects:
        wanted, things, there = float(lessons.objects), "objects", max(1.0, objects)
        said = f"{lessons.objects:,} objects are to be seen"
    else:
        wanted, things, there = float(lessons.images + lessons.images_per_class * classes), "images", float(max(1, images))
        said = f"{lessons.images:,} images, and {lessons.images_per_class:,} more for each of {classes} classes, are to be seen"
    if pretrained:
        wanted *= _PRETRAINED
        said += ", half of them as weights are pre-trained"
    chosen = min(lessons.most_epochs, down(wanted / there, _STEPS))
    return chosen, f"{said}, and there are {there:,.0f} {things} to train on; at least {_STEPS[0]} and at most {lessons.most_epochs} passes"
