"""Whether what params.yaml names can be had and fits together, asked of the libraries before anything is prepared: networks, encoders, weight files,
transforms, gates' metrics, devices, folders.

Networks are built and run without memory (torch's device `meta`), so that a question costs a fraction of a second. A server is asked for `weights: imagenet`
alone: they are fetched into the libraries' own caches, where the training finds them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from segline.choices import hint
from segline.errors import ModelError, ParametersError, TrainingError
from segline.evaluation import gated
from segline.files import unwritable
from segline.layout import Checkout
from segline.machine import cores
from segline.models import catalog as architectures
from segline.models.semantic import SemanticNetwork
from segline.models.settings import ModelSettings
from segline.params import Params
from segline.plan.decisions.geometry import LONGEST
from segline.plan.resolve import weights_path
from segline.sentences import no_weights
from segline.tasks import catalog as tasks
from segline.training.augment import Augmentation
from segline.training.settings import Runtime
from segline_runtime.errors import reason

_CHANNELS, _CLASSES = 3, 3
"""Of the trial, as the data is not known yet."""

_SILENCE_S = 30.0
"""How long a server of weights may say nothing; a download that goes on may take its time."""

_BATCH_NORM = "more than 1 value per channel"
"""torch's words for a batch of which batch norm can take no variance."""


def check(params: Params, checkout: Checkout) -> None:
    """Raises ParametersError with one sentence per problem."""
    problems: list[str] = []
    asked_for = gated.asked(params.evaluate.metrics, [settings.task for settings in params.models.values()])
    for name, settings in params.models.items():
        if isinstance(settings, ModelSettings):  # what is made of others has no network of its own
            problems += (f"models.{name}.{problem}" for problem in _augmentation(settings))
            problems += (f"models.{name}{problem}" for problem in _network(settings, params.runtime, checkout))
        if name in params.promote:
            problems += (f"promote.{name}.{problem}" for problem in gated.problems(params.promote[name], settings.task, asked_for))
    problems += (f"runtime.{problem}" for problem in _runtime(params.runtime))
    problems = [f"{checkout.params.name}: {problem}" for problem in problems]
    problems += _folders(checkout.prepared.parent, checkout.models, checkout.resume)
    if problems:
        raise ParametersError(*dict.fromkeys(problems))


def require_writable(*folders: Path) -> None:
    """Raises TrainingError when one of the folders that a training writes into cannot be written to: found out afterwards, it would cost the training."""
    problems = list(_folders(*folders))
    if problems:
        raise TrainingError(*problems)


def _augmentation(settings: ModelSettings) -> Iterator[str]:
    try:
        Augmentation(settings.augment, geometry=settings.geometry(_size(settings)), truth=tasks.get(settings.task).truths[0], crop=settings.input.training_crop)
    except ParametersError as error:
        yield from error.problems


def _network(settings: ModelSettings, runtime: Runtime, checkout: Checkout) -> Iterator[str]:
    """Each behind the key below the model's where one is to blame, else behind a colon."""
    try:
        file = None if settings.weights_file is None else weights_path(settings.weights_file, checkout.root, checkout.main)
    except ParametersError as error:
        yield from (f".weights: {problem}" for problem in error.problems)
        return
    if file is not None and not file.is_file():
        yield f".weights: {no_weights(str(settings.weights_file))}"
        return
    try:
        architectures.check(settings)
        network = _built(settings, file)
    except ModelError as error:
        yield from (f": {problem}" for problem in error.problems)
        return
    unfit = list(_trained(network, settings, runtime))
    yield from unfit
    if not unfit and settings.pretrained and file is None:
        yield from _fetched(settings)


def _fetched(settings: ModelSettings) -> Iterator[str]:
    """The published weights and the statistics that they expect, as training and planning ask for them; what has been fetched before comes from the cache."""
    try:
        with _impatient():
            architectures.pretrained_statistics(settings)
            architectures.build(settings, channels=_CHANNELS, classes=_CLASSES)
    except ModelError as error:
        yield from (f".weights: {problem}" for problem in error.problems)


@contextmanager
def _impatient() -> Iterator[None]:
    """A server that says nothing is given up; torch's own downloads would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _built(settings: ModelSettings, file: Path | None) -> nn.Module:
    """The network on the device `meta`. A weight file is read and must fit; ImageNet's weights are left aside."""
    chosen = settings.model_copy(update={"weights": "none" if file is None else str(file)}) if hasattr(settings, "weights") else settings
    if file is None:
        try:
            with torch.device("meta"):
                return architectures.build(chosen, channels=_CHANNELS, classes=_CLASSES)
        except (ModelError, RuntimeError, NotImplementedError):
            pass  # some networks compute while they are built, for which `meta` has no numbers
    return architectures.build(chosen, channels=_CHANNELS, classes=_CLASSES).to("meta")


def _trained(network: nn.Module, settings: ModelSettings, runtime: Runtime) -> Iterator[str]:
    """One batch through the network as training runs it. Of a detector the encoder alone: its heads work on boxes, which `meta` has none of."""
    part = network if isinstance(network, SemanticNetwork) else getattr(network, "encoder", None)
    if part is None:
        return
    height, width = settings.input.training_crop or _size(settings)
    batch = max(1, settings.train.batch_size // (runtime.nodes * (runtime.devices if isinstance(runtime.devices, int) and runtime.devices > 0 else 1)))
    try:
        part.train()(torch.zeros((batch, _CHANNELS, height, width), device="meta"))
    except (ValueError, AssertionError, RuntimeError, IndexError, TypeError) as error:
        images = f"{batch} image{'' if batch == 1 else 's'} of {height}×{width}"
        if _BATCH_NORM in str(error):
            yield (
                f": a batch of {images} leaves batch norm one value per channel, which has no variance. "
                "Raise train.batch_size or input.size, or set `norm: group`."
            )
        elif "meta" not in str(error):
            yield f": the network cannot be run on {images} ({reason(error)}). Choose another encoder or input.size."


def _size(settings: ModelSettings) -> tuple[int, int]:
    return (LONGEST, LONGEST) if settings.input.size == "auto" else settings.input.size


def _runtime(runtime: Runtime) -> Iterator[str]:
    accelerator = runtime.accelerator
    if accelerator not in ("auto", "cpu", "gpu", "cuda", "mps"):
        from lightning.pytorch.accelerators import AcceleratorRegistry

        known = ("auto", "gpu", *AcceleratorRegistry.available_accelerators())
        if accelerator not in known:
            yield f"accelerator: there is none called '{accelerator[:80]}'. {hint(accelerator, known)}"
        return
    if runtime.strategy not in ("auto", "ddp"):
        from lightning.pytorch.strategies import StrategyRegistry

        strategies = ("auto", *StrategyRegistry.available_strategies())
        if runtime.strategy not in strategies:
            yield f"strategy: there is none called '{runtime.strategy[:80]}'. {hint(runtime.strategy, strategies)}"
    number, what = _devices(accelerator)
    if number == 0:
        yield f"accelerator is {accelerator}, and torch finds no such device on this machine. Write auto or cpu, or check the driver."
    elif isinstance(runtime.devices, int):
        if runtime.devices == 0 or runtime.devices < -1:
            yield f"devices is {runtime.devices}; write how many are to be used (1 to {number}), -1 for all, or auto."
        elif runtime.devices > number:
            yield f"devices is {runtime.devices}, and this machine has {number} {what}{'' if number == 1 else 's'}. Write at most {number}, or auto."


def _devices(accelerator: str) -> tuple[int, str]:
    """How many there are, and what they are called."""
    cuda, mps = torch.cuda.device_count(), int(torch.backends.mps.is_available())
    if accelerator == "cuda" or (accelerator in ("auto", "gpu") and cuda):
        return cuda, "GPU"
    if accelerator in ("mps", "gpu") or (accelerator == "auto" and mps):
        return mps, "GPU"
    return cores(), "CPU core"


def _folders(*folders: Path) -> Iterator[str]:
    for folder in folders:
        reason = unwritable(folder)
        if reason is not None:
            yield f"{reason}, and the line writes there. Check its permissions and whose it is."
