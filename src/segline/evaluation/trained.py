"""A trained model, loaded from its folder and set to predict as a plan says: what evaluation, export and parity measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from segline.card import ModelCard, require_unchanged_members
from segline.data.store import PreparedDataset, Split
from segline.errors import DataError, ModelError
from segline.evaluation import predicting
from segline.layout import ModelFolder
from segline.plan.plans import InferencePlan
from segline.tasks import catalog as tasks
from segline.tasks.base import Task
from segline.tasks.graph import EvalGraph
from segline.tasks.predictor import GraphPredictor
from segline_runtime.predict import predict
from segline_runtime.predictions import Prediction
from segline_runtime.specification import ClassInfo, Specification


@dataclass(frozen=True)
class Trained:
    """A network with its task, in fp32 and eval mode on `device`."""

    card: ModelCard
    specification: Specification
    task: Task
    graph: EvalGraph

    @property
    def predict(self) -> GraphPredictor:
        """Images `(H, W, C)` → predictions at their own sizes."""
        return GraphPredictor(self.graph, self.specification)

    def predict_in_detail(self, images: Sequence[NDArray[Any]]) -> list[Prediction]:
        """As `predict`, one image after another, with class probabilities."""
        return [predict(self.graph.run, self.specification, image, probabilities=True) for image in images]


def load(folder: ModelFolder, plan: InferencePlan, device: torch.device) -> Trained:
    """Load `models/<model>/`.

    Raises ModelError when the folder holds no trained model, or one of another network or other classes than the plan's, or one that was made of
    other models than lie beside it now.
    """
    card = ModelCard.read(folder.card)
    _require_classes(card, plan.classes)
    require_unchanged_members(card, folder.path.parent)
    model = predicting.as_planned(plan, card)
    try:
        state = torch.load(folder.weights, map_location="cpu", weights_only=True)
        graph = predicting.graph(model, state)
    except FileNotFoundError:
        raise ModelError(f"{folder.path} has a card but no {folder.weights.name}; run `dvc repro -f train@{folder.name}`.") from None
    except ModelError:
        raise
    except Exception as error:  # torch raises many kinds for a file that is not its own
        raise ModelError(f"{folder.weights} does not hold the network that its plan describes ({error}); run `dvc repro -f train@{folder.name}`.") from None
    return Trained(card, model.specification, tasks.get(card.task), graph.to(device))


def scored_split(dataset: PreparedDataset, plan: InferencePlan, task: Task) -> Split:
    """The images that the plan is to be scored on. Raises DataError when the prepared data has changed since."""
    if dataset.info.split_hashes.get(plan.scored.split) != plan.scored.hash:
        raise DataError(f"The {plan.scored.split} split in {dataset.folder} is not the one that the plan was made for; run `dvc repro evaluate@{plan.model}`.")
    return dataset.split(plan.scored.split, task.truths)


def best_device() -> torch.device:
    """The GPU when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _require_classes(card: ModelCard, classes: Sequence[ClassInfo]) -> None:
    known, present = ([c.name for c in some] for some in (card.specification.classes, classes))
    if known != present:
        raise ModelError(
            f"The model '{card.model}' was trained on the classes {', '.join(known)}, and the prepared data has {', '.join(present)}. "
            f"Run `dvc repro train@{card.model}` to train it on this data."
        )
