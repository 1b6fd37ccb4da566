"""Part 2: images per second and peak memory of the line's training, against the scripts of `proof.plain`, in the same run on generated images.

A measurement is a network at a size, run by `segline` (the line's own module, loader and Lightning) or `plain`, in a precision:

    default  what each does where nothing is said: `precision: auto` of the line, fp32 as torch computes it of the scripts
    fp32     products in full; tf32: shortened to 10 bits of the mantissa where the GPU can; bf16: mixed

fed by its `loader`, or with a few batches from `memory`; `compiled` by torch.compile, or not. The line's loader reads images that were decoded once, as in all
epochs but the first; the scripts decode theirs each time.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from proof import plain
from proof.clock import Clock, ClockCallback, InMemory, Steps, forget_memory, peak_memory
from proof.findings import Findings, Result
from proof.settings import Settings
from proof.workspace import Workspace
from segline.data.store import Sample
from segline.models import catalog as architectures
from segline.plan import plans
from segline.plan.plans import TrainPlan
from segline.tasks import catalog as tasks
from segline.training import hardware, loaders
from segline.training.augment import Augmentation
from segline.training.decoded import kept
from segline.training.module import SegmentationModule
from segline.training.train import specification_of

TORCHVISIONS_PROPOSALS = {
    "train_before_nms": 2000,
    "train_after_nms": 2000,
    "test_before_nms": 1000,
    "test_after_nms": 1000,
    "rpn_batch": 256,
    "box_batch": 512,
}
"""Its defaults; the line's are smaller."""

_IN_MEMORY = 4  # batches

_EPOCH = 4096
"""Images of an epoch: the generated ones again and again, since ends of epochs are rare in a training."""


@dataclass(frozen=True)
class Case:
    """A network at a size."""

    name: str
    arch: str
    size: tuple[int, int]  # of the network's input
    image: tuple[int, int]  # of the files
    batch: int
    entry: dict[str, Any]  # of `models:`
    plain: str  # encoder of the plain script, empty where there is none


@dataclass(frozen=True)
class Variant:
    by: str
    precision: str = "default"
    fed: str = "memory"
    compiled: bool = False

    @property
    def name(self) -> str:
        return "-".join([self.by, self.precision, self.fed, *(["compiled"] if self.compiled else [])])


_HEADLINE = (Variant("plain", fed="loader"), Variant("segline", fed="loader"), Variant("segline"), Variant("plain"))
_PRECISIONS = (Variant("segline", "tf32"), Variant("segline", "fp32"), Variant("segline", "bf16"), Variant("plain", "bf16"))
_COMPILED = (Variant("segline", compiled=True), Variant("plain", compiled=True))


def cases(tiny: bool) -> list[Case]:
    def unet(encoder: str, size: tuple[int, int], batch: int, name: str) -> Case:
        entry = {"arch": "unet", "encoder": encoder, "input": {"size": list(size)}, "loss": {"cross_entropy": 1.0, "dice": 1.0}}
        return Case(name, "unet", size, size, batch, entry, encoder)

    def maskrcnn(encoder: str, size: tuple[int, int], image: tuple[int, int], batch: int, name: str, plain: str, **more: Any) -> Case:
        return Case(name, "maskrcnn", size, image, batch, {"arch": "maskrcnn", "encoder": encoder, "input": {"size": list(size)}, **more}, plain)

    if tiny:
        few = {"train_before_nms": 50, "train_after_nms": 20, "rpn_batch": 16, "box_batch": 8}
        return [
            unet("resnet18", (64, 64), 2, "unet-tiny"),
            maskrcnn("resnet50", (64, 96), (64, 96), 1, "maskrcnn-tiny", "resnet50", proposals=few, fpn_channels=32),
        ]
    small = {"train_before_nms": 500, "train_after_nms": 100, "test_before_nms": 300, "test_after_nms": 50, "rpn_batch": 64, "box_batch": 32}
    anchors = {"sizes": [20, 32, 48, 64, 96], "ratios": [1.0]}
    photo = (480, 800)
    return [
        unet("resnet18", (512, 512), 16, "unet-r18-512"),
        maskrcnn("resnet50", (800, 1333), photo, 2, "maskrcnn-r50-800", "resnet50"),
        unet("resnet34", (512, 512), 16, "unet-r34-512"),
        maskrcnn("resnet50", (800, 1333), photo, 2, "maskrcnn-r50-800-as-torchvision", "resnet50", proposals=TORCHVISIONS_PROPOSALS),
        unet("resnet18", (96, 128), 8, "unet-shipped"),
        maskrcnn("resnet18", (96, 128), (96, 128), 4, "maskrcnn-shipped", "", anchors=anchors, proposals=small),
    ]


def run(settings: Settings, findings: Findings) -> None:
    """The headline comparisons of all cases first, then where the time goes, then precisions and compilation."""
    chosen = cases(settings.tiny)
    steps = Steps(1, 2, 4.0) if settings.tiny else Steps(20, 100, 6.0)  # the warm-up is longer than what loader processes have ready when it begins
    compiling = Steps(2, 2, 4.0) if settings.tiny else Steps(8, 40, 5.0)
    needs = 2.0 if settings.tiny else 12.0
    places: dict[str, Workspace] = {}

    def measured(case: Case, variant: Variant, how: Steps, needs: float) -> None:
        if variant.by == "plain" and not case.plain:
            return
        name = f"{case.name}-{variant.name}"
        findings.step(name, lambda: measure(settings, place_of(settings, case, places), case, variant, how), needs=needs)

    for case in chosen:
        for variant in _HEADLINE:
            measured(case, variant, steps, needs)
    for case in chosen[:2]:
        findings.step(f"{case.name}-profile", lambda case=case: profiled(settings, place_of(settings, case, places), case), needs=needs)  # type: ignore[misc]
    for case in chosen[:1] if settings.tiny else chosen:
        for variant in _PRECISIONS:
            measured(case, variant, steps, needs)
    for case in chosen[:1] if settings.tiny else chosen[:3]:
        for variant in _COMPILED:
            measured(case, variant, compiling, needs if settings.tiny else 75.0)


def place_of(settings: Settings, case: Case, places: dict[str, Workspace]) -> Workspace:
    """The case's images and plan, made when they are first needed."""
    if case.name not in places:
        place = Workspace(settings.scratch / "fast" / case.name)
        images = {"train": 4, "val": 1, "test": 1} if settings.tiny else {"train": 128, "val": 1, "test": 1}
        entry = case.entry | {"augment": [{"HorizontalFlip": {"p": 0.5}}], "train": {"epochs": 1, "batch_size": case.batch}}
        place.prepare({"seed": 0, "data": {"source": "shapes", "size": list(case.image), **images}, "models": {"model": entry}})
        places[case.name] = place
    return places[case.name]


def measure(settings: Settings, place: Workspace, case: Case, variant: Variant, steps: Steps) -> Result:
    """Images per second and peak memory of one variant."""
    plan = plans.read(TrainPlan, place.checkout.plan("model").train)
    forget_memory(settings.device)
    clock = Clock(steps, settings.device)
    with _products(variant.precision):
        if variant.by == "segline":
            precision = _segline(settings, place, plan, variant, steps, ClockCallback(clock))
        elif case.arch == "unet":
            precision = _plain_unet(settings, place, case, plan, variant, steps, ClockCallback(clock))
        else:
            precision = _plain_detector(settings, place, case, plan, variant, steps, clock)
    result = {
        "case": case.name,
        "arch": case.arch,
        "by": variant.by,
        "asked": variant.precision,
        "precision": precision,
        "fed": variant.fed,
        "compiled": variant.compiled,
        "batch": case.batch,
        "size": f"{case.size[0]}×{case.size[1]}",
        "images_per_second": round(clock.timed * case.batch / clock.seconds, 2),
        "milliseconds_per_step": round(1000 * clock.seconds / clock.timed, 2),
        "processor_ms_per_image": round(1000 * clock.processor_seconds / clock.timed / case.batch, 2),
        "steps": clock.timed,
        "peak_mib": peak_memory(settings.device),
        "workers": _workers(settings) if variant.fed == "loader" else 0,
    }
    forget_memory(settings.device)
    return result


def profiled(settings: Settings, place: Workspace, case: Case) -> Result:
    """Where the line's time goes: the table of torch's profiler, and the share of the time in which the GPU computes."""
    plan = plans.read(TrainPlan, place.checkout.plan("model").train)
    steps = Steps(1, 2, 30.0) if settings.tiny else Steps(8, 10, 30.0)
    cuda = settings.device == "cuda"
    clock = Clock(steps, settings.device)
    profiler = profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])])
    _segline(settings, place, plan, Variant("segline"), steps, ClockCallback(clock, profiler, steps.warmup))
    table = profiler.key_averages().table(sort_by="self_device_time_total" if cuda else "self_cpu_time_total", row_limit=25, max_name_column_width=80)
    file = settings.out / f"profile-{case.name}.txt"
    file.write_text(table + "\n")
    busy = _busy_us(profiler) if cuda else None
    return {
        "case": case.name,
        "table": file.name,
        "steps": clock.timed,
        "gpu_busy": None if busy is None else round(busy / 1e6 / clock.seconds, 3),
        "longest": [_row(row, cuda) for row in _longest(profiler, cuda)],
    }


def _longest(profiler: Any, cuda: bool) -> list[Any]:
    own = "self_device_time_total" if cuda else "self_cpu_time_total"
    return sorted((row for row in profiler.key_averages() if not row.is_user_annotation), key=lambda row: -getattr(row, own))[:10]


def _row(row: Any, cuda: bool) -> dict[str, Any]:
    return {"name": row.key[:120], "ms": round((row.self_device_time_total if cuda else row.self_cpu_time_total) / 1000, 3), "calls": row.count}


def _busy_us(profiler: Any) -> float:
    """Microseconds in which at least one kernel or copy ran: the union of their intervals."""
    kernels = [event for event in profiler.events() if event.device_type == torch.autograd.DeviceType.CUDA and not event.is_user_annotation]
    spans = sorted((event.time_range.start, event.time_range.end) for event in kernels)
    busy, until = 0.0, float("-inf")
    for start, end in spans:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy


@contextmanager
def _products(precision: str) -> Iterator[None]:
    """How fp32 products are computed on a GPU; `default` leaves torch's own settings."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    if precision in ("fp32", "tf32"):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def _segline(settings: Settings, place: Workspace, plan: TrainPlan, variant: Variant, steps: Steps, callback: ClockCallback) -> str:
    """The line's training steps, built as `segline.training.train` builds them; returns the precision."""
    task, learning = tasks.get(plan.task), tasks.learning(plan.task)
    lightning.seed_everything(plan.seed, verbose=False)
    network = architectures.build(plan.settings, channels=plan.image.channels, classes=len(plan.classes))
    specification = specification_of(plan)
    criterion = learning.criterion(plan.settings, network, plan.class_weights)
    if plan.settings.train.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if variant.compiled:
        _compile(network if plan.task == "semantic" else network.get_submodule("network.backbone"), settings)
    augmentation = Augmentation(plan.settings.augment, geometry=plan.geometry, truth=task.truths[0], image=plan.image)
    split = place.dataset.split("train", task.truths)
    with kept(split, place.checkout.root, "auto") as images:
        for _ in images:
            pass  # as after the first epoch
        loader = _loader(settings, plan, images, augmentation, variant, steps)
        asked = {"default": "auto", "tf32": "fp32"}.get(variant.precision, variant.precision)
        precision = hardware.precision(asked, settings.device)
        module = SegmentationModule(network, criterion, task=task, learning=learning, specification=specification, settings=plan.settings.train)
        _fit(settings, module, loader, steps, callback, hardware.LIGHTNING_PRECISION[precision])
    return precision


def _loader(settings: Settings, plan: TrainPlan, images: Sequence[Sample], augmentation: Augmentation, variant: Variant, steps: Steps) -> Any:
    loader = loaders.training_loader(
        _Long(images),
        learning=tasks.learning(plan.task),
        augmentation=augmentation,
        batch_size=plan.settings.train.batch_size,
        seed=plan.seed,
        first_epoch=0,
        rank=0,
        world=1,
        workers=_workers(settings) if variant.fed == "loader" else 0,
        pin=settings.device == "cuda",
    )
    return _remembered(loader, steps, settings) if variant.fed == "memory" else loader


def _plain_unet(settings: Settings, place: Workspace, case: Case, plan: TrainPlan, variant: Variant, steps: Steps, callback: ClockCallback) -> str:
    module = plain.PlainUnet(case.plain, len(plan.classes))
    if variant.compiled:
        _compile(module.model, settings)
    workers = _workers(settings) if variant.fed == "loader" else 0
    loader: Any = plain.semantic_loader(_Long(place.dataset.split("train", ["index"])), case.size, case.batch, workers, pin=settings.device == "cuda")
    if variant.fed == "memory":
        loader = _remembered(loader, steps, settings)
    _fit(settings, module, loader, steps, callback, "bf16-mixed" if variant.precision == "bf16" else "32-true")
    return "bf16" if variant.precision == "bf16" else "fp32"


def _plain_detector(settings: Settings, place: Workspace, case: Case, plan: TrainPlan, variant: Variant, steps: Steps, clock: Clock) -> str:
    few = {"rpn_post_nms_top_n_train": 20, "box_batch_size_per_image": 8} if settings.tiny else {}
    network = plain.detector(len(plan.classes), case.size, **few)
    if variant.compiled:
        _compile(network.get_submodule("backbone"), settings)
    loop = plain.DetectionLoop(network, settings.device, autocast=variant.precision == "bf16")
    workers = _workers(settings) if variant.fed == "loader" else 0
    loader: Any = plain.instance_loader(_Long(place.dataset.split("train", ["instances"])), case.batch, workers)
    if variant.fed == "memory":
        loader = InMemory(_first(loader), steps.most, pin=False)
    while True:
        for images, targets in loader:
            loop.step(images, targets)
            if clock.step():
                return "bf16" if variant.precision == "bf16" else "fp32"


def _fit(settings: Settings, module: Any, loader: Any, steps: Steps, callback: ClockCallback, precision: str) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated")  # Lightning's own call of torch
    warnings.filterwarnings("ignore", ".*have no `val_dataloader`.*")  # training steps alone are timed
    trainer = lightning.Trainer(
        accelerator=settings.accelerator,
        devices=1,
        precision=precision,  # type: ignore[arg-type]
        max_steps=steps.most,
        max_epochs=-1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
        callbacks=[callback],
    )
    trainer.fit(module, loader)


def _compile(module: nn.Module, settings: Settings) -> None:
    # Tried without a C++ compiler, the graph is still captured and differentiated ahead of time.
    module.compile(backend="aot_eager" if settings.tiny else "inductor")


def _remembered(loader: Any, steps: Steps, settings: Settings) -> InMemory:
    return InMemory(_first(loader), steps.most, pin=settings.device == "cuda")


class _Long(Sequence[Sample]):
    """The same images again and again."""

    def __init__(self, images: Sequence[Sample]) -> None:
        self._images = images

    def __len__(self) -> int:
        return _EPOCH

    def __getitem__(self, index: Any) -> Any:
        return self._images[index % len(self._images)]


def _first(loader: Any) -> list[Any]:
    batches = []
    for batch in loader:
        batches.append(batch)
        if len(batches) == _IN_MEMORY:
            break
    return batches


def _workers(settings: Settings) -> int:
    return hardware.workers("auto", settings.device, 1)
