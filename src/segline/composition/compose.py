"""The stage `train` of an entry that is made of others: from the members' folders to a model folder as a training leaves it.

Nothing is learnt by gradient. An ensemble and a model whose objects are components hold their members' weights as they are; a soup holds their mean.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from segline import card as cards
from segline import history, written
from segline.card import ModelCard
from segline.composition.norms import renew
from segline.data.store import PreparedDataset, Split, Truth
from segline.errors import ModelError
from segline.evaluation import predicting
from segline.evaluation.evaluate import evaluate
from segline.evaluation.predicting import Predicting, State
from segline.evaluation.trained import best_device
from segline.files import whole, write_json
from segline.layout import ModelFolder
from segline.metrics import catalog
from segline.metrics.figures import figures
from segline.models import catalog as architectures
from segline.models.settings import ModelSettings
from segline.models.soup.settings import Settings as SoupSettings
from segline.plan.plans import ComposePlan
from segline.provenance import file_digest
from segline.tasks import catalog as tasks
from segline.tasks.graph import normalised
from segline.tasks.predictor import GraphPredictor
from segline.training import resume
from segline.training.augment import Augmentation, pastes
from segline.training.loaders import training_loader
from segline.training.train import card_of, splits


@dataclass(frozen=True)
class Ready:
    """A member with its weights."""

    folder: ModelFolder
    card: ModelCard
    predicting: Predicting
    state: State
    digest: str  # of its weights file


@dataclass(frozen=True)
class Made:
    """What the members came to."""

    state: State
    metric: float | None  # on the images that steer; None where undefined
    rows: list[dict[str, float | None]]  # of the history
    best: int  # the row that tells of `state`, from 1 on
    chosen: tuple[str, ...]  # the members that went into it


def compose(plan: ComposePlan, *, dataset: PreparedDataset, models: Path, folder: ModelFolder, accelerator: str, commit: str | None) -> None:
    """Write weights, card, history and trained_on.json into `folder`, of what `plan` makes of its members' folders in `models`.

    accelerator: Lightning's name. Raises a SeglineError for anything a user can mend, first of all ModelError when a member is not as it was planned.
    """
    began = time.monotonic()
    members = _ready(plan, models)
    device = torch.device("cpu") if accelerator == "cpu" else best_device()
    model = predicting.put_together(plan.model, plan.settings, [member.predicting for member in members])
    truths = tasks.get(plan.task).truths
    pasted: tuple[Truth, ...] = ("instances",) if isinstance(model.settings, ModelSettings) and pastes(model.settings.augment) else ()
    training, steering = splits(dataset, plan, tuple(dict.fromkeys([*truths, *pasted])), truths)
    bench = _Bench(model, plan, training, steering, device)
    made = _soup(plan.settings, members, bench) if isinstance(plan.settings, SoupSettings) else _gathered(members, bench)
    summary = {
        "metric": bench.monitor,
        "best": made.metric,
        "best_epoch": made.best,
        "epochs": len(made.rows),
        "seconds": round(time.monotonic() - began, 1),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "processes": 1,
        "precision": "fp32",
        "parameter_count": bench.parameter_count,
        "chosen": list(made.chosen),
        "images_for_norms": bench.images_for_norms,
    }
    card = card_of(plan, model.specification, dataset, commit, tuple(_made_of(member) for member in members)).finished(summary)
    _write(folder, card, made, _trained_on(members, steering, training if bench.images_for_norms else None))


class _Bench:
    """Where weights are tried: the model without them, the images that steer, and those that batch norms are shown."""

    def __init__(self, model: Predicting, plan: ComposePlan, training: Split, steering: Split, device: torch.device) -> None:
        self._model, self._seed, self._device = model, plan.seed, device
        self._training, self._steering = training, steering
        self._task = tasks.get(plan.task)
        self.monitor = f"val_{self._task.metric}"
        self.parameter_count = 0
        self.images_for_norms = 0

    def metric(self, state: State) -> float | None:
        """Of the model with these weights, on the images that steer, in fp32; None where it is undefined."""
        graph = predicting.graph(self._model, state).to(self._device)
        self.parameter_count = sum(weight.numel() for weight in graph.parameters())
        classes = self._model.specification.classes
        # TF32 keeps 10 bits of the mantissa: enough to choose another member.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            found = evaluate(GraphPredictor(graph, self._model.specification), self._steering, self._task.scorer(classes))
        return figures(found.counts, [catalog.get(word) for word in self._task.metrics], classes).get(self._task.metric)

    def renewed(self, state: State) -> State:
        """One network's averaged weights with the statistics of batch norm that belong to them."""
        graph = predicting.graph(self._model, state).to(self._device)
        self.images_for_norms = renew(graph.network, self._batches(), self._seed)
        return {name: value.detach().cpu().clone() for name, value in graph.network.state_dict().items()}

    def _batches(self) -> Iterator[Tensor]:
        """Training images as the training of the first member shows them in its first epoch."""
        settings, specification = self._model.settings, self._model.specification
        assert isinstance(settings, ModelSettings)
        augmentation = Augmentation(
            settings.augment,
            geometry=specification.geometry,
            truth=self._task.truths[0],
            image=specification.image,
            crop=settings.input.training_crop,
            padding=[value * specification.image.scale for value in specification.mean],
        )
        learning = tasks.learning(self._task.name)
        batch_size = settings.train.batch_size
        loader = training_loader(
            self._training,
            learning=learning,
            augmentation=augmentation,
            batch_size=batch_size,
            seed=self._seed,
            first_epoch=0,
            rank=0,
            world=1,
            workers=0,
            pin=False,
        )
        for batch in loader:
            yield normalised(learning.to_device(batch, self._device).images, specification).contiguous()


def _gathered(members: Sequence[Ready], bench: _Bench) -> Made:
    """The members' weights as they are, side by side."""
    state = predicting.gathered([(member.folder.name, member.state) for member in members])
    metric = bench.metric(state)
    return Made(state, metric, [_row(1, bench.monitor, metric)], 1, tuple(member.folder.name for member in members))


def _soup(settings: SoupSettings, members: Sequence[Ready], bench: _Bench) -> Made:
    """One network with the mean of the members' weights, or of those of them that a greedy soup keeps."""
    _require_alike(members)
    soups = architectures.making(settings.arch)
    states = [member.state for member in members]
    names = [member.folder.name for member in members]

    def mixed(some: Sequence[State]) -> tuple[State, float | None]:
        state = bench.renewed(soups.average(some))
        return state, bench.metric(state)

    if not settings.greedy:
        state, metric = mixed(states)
        return Made(state, metric, [_row(1, bench.monitor, metric)], 1, tuple(names))
    soup, steps = soups.greedy(states, [bench.metric(state) for state in states], mixed)
    rows = [_row(number, bench.monitor, step.metric) | {"member": step.member + 1, "kept": float(step.kept)} for number, step in enumerate(steps, start=1)]
    best = max(number for number, step in enumerate(steps, start=1) if step.kept)
    if best == 1:
        bench.images_for_norms = 0  # the best member alone, as it was trained
    return Made(soup, steps[best - 1].metric, rows, best, tuple(names[step.member] for step in steps if step.kept))


def _row(number: int, monitor: str, metric: float | None) -> dict[str, float | None]:
    """A row of the history. There is no training loss, but whoever draws histories looks for it."""
    return {"epoch": number, "train_loss": None, monitor: metric}


def _ready(plan: ComposePlan, models: Path) -> list[Ready]:
    """The members, each trained by the plan that this one was made for. Raises ModelError with one sentence for each that is not."""
    found: list[Ready] = []
    problems: list[str] = []
    for planned in plan.members:
        folder = ModelFolder(models / planned.name)
        try:
            card = ModelCard.read(folder.card) if folder.card.is_file() and folder.weights.is_file() else None
            if card is None or card.key != planned.key:
                there = "holds no trained model" if card is None else "holds a model that was trained by another plan"
                problems.append(
                    f"'{plan.model}' is made of '{planned.name}', and {folder.path} {there}. "
                    f"Run `dvc repro`, which trains it first; or `dvc repro train@{planned.name}`, and then `dvc repro train@{plan.model}`."
                )
                continue
            found.append(Ready(folder, card, predicting.as_trained(card), _weights(folder), file_digest(folder.weights)))
        except ModelError as error:
            problems += error.problems
    if problems:
        raise ModelError(*problems)
    return found


def _weights(folder: ModelFolder) -> State:
    try:
        state: State = torch.load(folder.weights, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is not its own
        raise ModelError(f"{folder.weights} cannot be read ({type(error).__name__}); run `dvc repro -f train@{folder.name}`.") from None
    return state


def _require_alike(members: Sequence[Ready]) -> None:
    """Raises ModelError where averaged weights would see images as one member did and another did not."""
    first = members[0]
    for member in members[1:]:
        for name in ("geometry", "mean", "std", "image", "classes"):
            one, other = (getattr(ready.predicting.specification, name) for ready in (first, member))
            if one != other:
                raise ModelError(
                    f"'{first.folder.name}' and '{member.folder.name}' see images with another {name} ({one} and {other}), "
                    "so their weights cannot be averaged. Give both the same `input`."
                )
        if [(key, value.shape) for key, value in first.state.items()] != [(key, value.shape) for key, value in member.state.items()]:
            raise ModelError(
                f"'{first.folder.name}' and '{member.folder.name}' have weights of other names or shapes, so they cannot be averaged. "
                "Give both the same settings of the network."
            )


def _made_of(ready: Ready) -> cards.Member:
    settings = ready.card.plan["settings"]
    members = ready.card.members
    if members and isinstance(ready.predicting.settings, ModelSettings):
        settings, members = members[0].settings, ()  # of a soup: one network of its members' kind
    return cards.Member(ready.folder.name, ready.card.key, ready.digest, settings, ready.card.specification, members)


def _trained_on(members: Sequence[Ready], steering: Split, training: Split | None) -> list[str]:
    """Hashes of the images that the members learnt from, and of those that decided here."""
    images = {*steering.hashes(), *(training.hashes() if training is not None else ())}
    for member in members:
        with written.reading(member.folder.trained_on, ModelError, f"run `dvc repro -f train@{member.folder.name}`"):
            images.update(written.mapping(member.folder.trained_on)["images"])
    return sorted(images)


def _write(folder: ModelFolder, card: ModelCard, made: Made, trained_on: list[str]) -> None:
    with whole(folder.weights) as file:
        resume.save(made.state, file)
    history.write(folder.history, made.rows)
    write_json(folder.trained_on, {"version": 1, "images": trained_on})
    with whole(folder.card) as file:
        card.write(file)
