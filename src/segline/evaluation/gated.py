"""By which metric a gate of params.yaml decides, and whether it can: asked before any work is done, and again before a version is promoted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from segline.choices import hint
from segline.data.store import Instances, Sample
from segline.metrics import catalog
from segline.metrics.details import Detail, wanted
from segline.promotion.gates import Gates
from segline.tasks import catalog as tasks
from segline_runtime.predictions import InstancePrediction, MultilabelPrediction, Prediction, SemanticPrediction
from segline_runtime.specification import ClassInfo


def asked(chosen: str | Sequence[str], task_names: Iterable[str]) -> tuple[str, ...]:
    """The metrics that `evaluate.metrics` asks for, by their words; `auto`: those of the models' tasks."""
    if not isinstance(chosen, str):
        return tuple(chosen)
    words = [word for name in dict.fromkeys(task_names) for word in tasks.get(name).metrics]
    return tuple(dict.fromkeys(words))


def details(key: str, task: str) -> tuple[Detail, ...]:
    """What is to be counted beside what always is, so that there is a figure `key`."""
    word = word_of(key, task)
    return () if word is None else wanted([catalog.get(word)])


def problems(gates: Gates, task: str, asked_for: Sequence[str]) -> Iterator[str]:
    """What is wrong with the gates of a model of this task, each behind the key below `promote.<model>`; asked_for: see `asked`."""
    key = gates.metric or tasks.get(task).metric
    word = word_of(key, task)
    if word is None:
        words = [figure for figure in figures_of(task) if "/" not in figure]
        near = next((figure for figure in words if figure.lower() == key.lower()), None)
        yield f"metric: a model of the task {task} has no figure '{key[:80]}'. " + (f"Did you mean {near}?" if near else hint(key, words))
        return
    if wanted([catalog.get(word)]) and word not in asked_for:
        whole = ", ".join([*asked_for, word])
        yield f"metric: {key} is counted where it is asked for alone, and evaluate.metrics does not. Write `evaluate: {{metrics: [{whole}]}}`."
    less = word in catalog.LESS_IS_BETTER
    if less and gates.at_least is not None:
        yield f"at_least: of {key} less is better. Write `at_most: {gates.at_least:g}`."
    if not less and gates.at_most is not None:
        yield f"at_most: of {key} more is better. Write `at_least: {gates.at_most:g}`."


def word_of(key: str, task: str) -> str | None:
    """The metric of a figure, that of one class (`<figure>/<class>`) among them; None where a model of this task has none such."""
    known = figures_of(task)
    if key in known:
        return known[key]
    kind, per_class, _ = key.partition("/")
    return next((word for figure, word in known.items() if figure.startswith(f"{kind}/")), None) if per_class else None


@cache
def figures_of(task: str) -> Mapping[str, str]:
    """Every figure that a model of this task can have, and the word of its metric.

    Those of a perfect prediction for an image in which each class, and each size of object, is there.
    """
    light = tasks.get(task)
    classes = tuple(ClassInfo(i, name, (0, 0, 0), thing=i > 0) for i, name in enumerate(("background", "thing")))
    boxes = np.array([[0, 0, 10, 10], [20, 20, 70, 70], [90, 90, 250, 250]], dtype=np.float32)
    masks = np.zeros((len(boxes), 256, 256), dtype=np.bool_)
    for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
        mask[top:bottom, left:right] = True
    labels = np.ones(len(boxes), dtype=np.int64)
    index: NDArray[np.uint8] = np.asarray(masks.any(axis=0), dtype=np.uint8)
    probabilities = np.stack([index == 0, index == 1]).astype(np.float32)
    objects = Instances(masks, boxes, labels, np.zeros(len(boxes), dtype=np.bool_))
    perfect: Mapping[str, Prediction] = {  # by the kind of counts that are made of it
        "pixels": SemanticPrediction(index, probabilities),
        "detections": InstancePrediction(np.ones(len(boxes), dtype=np.float32), labels, boxes, masks),
        "labels": MultilabelPrediction(probabilities >= 0.5, probabilities),
    }
    metrics = {word: metric for word in catalog.METRICS if (metric := catalog.get(word)).counts == light.counts}
    scorer = light.scorer(classes, wanted(list(metrics.values())))
    scorer.add(perfect[light.counts], Sample(1, "perfect", np.zeros((256, 256, 3), dtype=np.uint8), index, objects))
    counts = scorer.counts()
    found: dict[str, str] = {}
    for word, metric in metrics.items():
        for figure in metric.figures(counts, classes):
            found.setdefault(figure, word)
    return MappingProxyType(found)
