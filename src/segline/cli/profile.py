"""`segline profile`: where a model's time, arithmetic and memory go, module by module. The one verb that runs a network in torch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from segline.choices import hint
from segline.cli.console import console, counted
from segline.cli.surroundings import checkout_if_any
from segline.errors import ModelError, ParametersError

if TYPE_CHECKING:
    from segline.layout import Checkout
    from segline.plan.plans import TrainPlan
    from segline.profiling.profile import LayerCost, Profile


def profile(
    model: Annotated[str, typer.Argument(help="A model of params.yaml (`dvc repro plan` has seen it), or the folder of a trained one.")],
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images in the step.")] = 2,
    size: Annotated[str | None, typer.Option("--size", help="HEIGHTxWIDTH that the network sees; default: as it is trained.")] = None,
    sort: Annotated[str, typer.Option("--sort", help="time, multiply-adds, parameters, kept, or order: as in the network.")] = "time",
    depth: Annotated[int | None, typer.Option("--depth", min=1, help="Sum up what lies deeper: `encoder.layer1` has the depth 2.")] = None,
    top: Annotated[int, typer.Option("--top", min=0, help="Rows that are shown; 0: all.")] = 20,
    gpu: Annotated[bool, typer.Option("--gpu", help="On the GPU; default: on the CPU.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Time, multiply-adds, parameters, output and bytes kept for the backward pass of each module, in a training step on made-up images."""
    words = ("order", "time", "multiply-adds", "parameters", "kept")
    if sort not in words:
        raise ParametersError(f"--sort is '{sort[:80]}'. {hint(sort, words)}")
    plan = _plan(model, checkout_if_any())
    seen = _size(size, plan)
    try:
        import torch
    except ImportError as error:
        raise ModelError(
            f"`segline profile` runs the network in torch, which cannot be imported here ({error}). Install Segline whole: `make setup`."
        ) from None
    from segline.profiling.profile import SORTED_BY, summed
    from segline.profiling.profile import profile as profiled

    if gpu and not torch.cuda.is_available():
        raise ModelError("torch sees no GPU on this machine; leave --gpu out.")
    found = profiled(plan, images=batch, size=seen, device=torch.device("cuda" if gpu else "cpu"))
    layers = list(found.layers) if depth is None else summed(found.layers, depth)
    if sort in SORTED_BY:
        layers.sort(key=lambda layer: -getattr(layer, SORTED_BY[sort]))
    if as_json:
        from dataclasses import asdict

        print(json.dumps({**found.to_json(), "layers": [asdict(layer) for layer in layers]}, indent=2))
        return
    _show(found, layers, top or len(layers))


def _plan(model: str, here: Checkout | None) -> TrainPlan:
    """What params.yaml says of a model now, else what a trained one was trained by."""
    from segline.card import ModelCard
    from segline.layout import ModelFolder, expanded
    from segline.plan import plans

    path = expanded(model)
    if here is not None and here.plan(model).train.is_file() and not ModelFolder(path).card.is_file():
        plan = plans.read_train(here.plan(model).train)
    elif path.is_dir() or (here is not None and "/" not in model and here.model(model).card.is_file()):
        folder = ModelFolder(path.resolve()) if here is None or path.is_dir() else here.model(model)
        card = ModelCard.read(folder.card)
        try:
            plan = plans.ComposePlan.from_json(card.plan) if card.members else plans.TrainPlan.from_json(card.plan)
        except (KeyError, TypeError, ValueError):
            raise ModelError(
                f"{folder.card} does not hold a plan that this Segline can train by; run `dvc repro train@{folder.name}` to make it anew."
            ) from None
    else:
        raise ModelError(_unknown(model, here))
    if isinstance(plan, plans.ComposePlan):
        names = ", ".join(member.name for member in plan.members)
        raise ModelError(f"'{plan.model}' is made of other models and is not trained itself; profile what it is made of: {names}.")
    return plan


def _unknown(model: str, here: Checkout | None) -> str:
    if here is None:
        return f"There is no model folder '{model[:80]}', and no checkout around; change into one, or give the folder of a trained model."
    there = sorted(path.name for path in here.plans.iterdir() if path.is_dir()) if here.plans.is_dir() else []
    if not there:
        return f"There is no model '{model[:80]}', nor any plan yet; run `dvc repro plan` first."
    return f"There is no model '{model[:80]}'. {hint(model, there)} A new entry of params.yaml is seen after `dvc repro plan`."


def _size(given: str | None, plan: TrainPlan) -> tuple[int, int]:
    """Height and width that the network sees: as it is given, or as it is trained."""
    if given is not None:
        sides = given.lower().replace("×", "x").split("x")
        if len(sides) != 2 or not all(side.strip().isdecimal() and 0 < int(side) <= 8192 for side in sides):
            raise ParametersError(f"--size is '{given[:80]}'; it is written HEIGHTxWIDTH in pixels, each at most 8192, such as 512x768.")
        return int(sides[0]), int(sides[1])
    size = plan.settings.input.training_crop or plan.geometry.size
    if size is None:
        raise ParametersError(f"'{plan.model}' is trained on whole images of any size; say by --size HEIGHTxWIDTH how large one is.")
    return size


def _show(found: Profile, layers: list[LayerCost], top: int) -> None:
    from rich.table import Table
    from rich.text import Text

    height, width = found.size
    images = counted(found.images, "image")
    print(f"{found.model}: a training step of {images} of {height}×{width} on {found.device}, {found.precision}" + (", checkpointing" * found.checkpointing))
    print(
        f"forward {found.forward_ms:.1f} ms, backward {found.backward_ms:.1f} ms; {found.parameters / 1e6:.2f} M parameters, "
        f"{found.multiply_adds / 1e9:.2f} G multiply-adds forward; {_mebibytes(found.kept_bytes)} kept for the backward pass"
    )
    if found.batch_size != found.images:
        print(f"train.batch_size is {found.batch_size}: --batch {found.batch_size} measures a whole step of the training.")
    table = Table("module", "kind", "output", "calls", "time", "", "multiply-adds", "parameters", "kept", "")
    totals = (sum(layer.milliseconds for layer in layers) or 1, found.kept_bytes or 1)
    for layer in layers[:top]:
        table.add_row(
            Text(layer.name),
            layer.kind,
            "" if layer.shape is None else "×".join(map(str, layer.shape)),
            str(layer.calls or ""),
            f"{layer.milliseconds:.2f} ms",
            _share(layer.milliseconds / totals[0]),
            f"{layer.multiply_adds / 1e6:,.1f} M" if layer.multiply_adds else "",
            f"{layer.parameters:,}" if layer.parameters else "",
            _mebibytes(layer.kept_bytes) if layer.kept_bytes else "",
            _share(layer.kept_bytes / totals[1]) if layer.kept_bytes else "",
        )
    console().print(table)
    if len(layers) > top:
        print(f"… and {len(layers) - top} more; --top 0 shows all, --depth 2 sums them up.")


def _share(part: float) -> str:
    return f"{100 * part:.0f} %"


def _mebibytes(number: float) -> str:
    return f"{number / 2**20:,.1f} MiB" if number < 2**30 else f"{number / 2**30:,.2f} GiB"
