"""A trained model, loaded from its folder: what evaluation, export and parity measure."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from segline.card import ModelCard
from segline.errors import ModelError
from segline.layout import ModelFolder
from segline.tasks import registry as tasks
from segline.tasks.base import Task
from segline.tasks.graphs import EvalGraph
from segline_runtime.predictions import Prediction
from segline_runtime.specification import ClassInfo


@dataclass(frozen=True)
class Trained:
    """A network with its task, in fp32 and eval mode on `device`."""

    card: ModelCard
    task: Task
    graph: EvalGraph

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        """RGB images `(H, W, 3)` → predictions at their own sizes."""
        return self.task.predict(self.graph, self.card.specification, images)

    def require_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Raises ModelError when the data has other classes than the model."""
        known, present = ([c.name for c in some] for some in (self.card.specification.classes, classes))
        if known != present:
            raise ModelError(
                f"The model '{self.card.model}' was trained on the classes {', '.join(known)}, and the prepared data has {', '.join(present)}. "
                f"Run `dvc repro train@{self.card.model}` to train it on this data."
            )


def load(folder: ModelFolder, device: torch.device) -> Trained:
    """Load `models/<model>/`. Raises ModelError when the folder holds no trained model."""
    card = ModelCard.read(folder.card)
    task = tasks.get(card.task)
    # The file's weights replace whatever the training started from, so nothing is fetched.
    network = task.build({**card.parameters["model"], "weights": "none"}, card.specification)
    try:
        state = torch.load(folder.weights, map_location="cpu", weights_only=True)
        fit = network.load_state_dict(state, strict=False)
        # Frozen batch norm counts no batches; in eval mode it is batch norm.
        missing = [name for name in fit.missing_keys if not name.endswith("num_batches_tracked")]
        if missing or fit.unexpected_keys:
            raise ValueError(f"{len(missing)} weights missing, {len(fit.unexpected_keys)} unknown")
    except FileNotFoundError:
        raise ModelError(f"{folder.path} has a card but no {folder.weights.name}; run `dvc repro -f train@{folder.name}`.") from None
    except (RuntimeError, OSError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(f"{folder.weights} does not hold the network that {folder.card.name} describes ({error}); train it again.") from None
    network.eval()
    return Trained(card, task, task.graph(network, card.specification).to(device))


def best_device() -> torch.device:
    """The GPU when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
