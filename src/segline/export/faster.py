"""A graph whose parts are exchanged for equal ones that ONNX Runtime computes in less time or less memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoderBlock
from torch import Tensor, nn
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.ops.poolers import MultiScaleRoIAlign

from segline.export.pooling import GatheredRoIAlign
from segline.export.strips import DecideByStrips, ResizeByChannels
from segline.export.subpixel import SubpixelBlock, SubpixelMasks
from segline.models import inplace_abn
from segline.tasks.graph import EvalGraph, Resize
from segline.tasks.semantic.learning import Decide


def faster(graph: EvalGraph, example: Tensor) -> EvalGraph:
    """A copy of `graph` that gives the same numbers up to rounding; `graph` itself stays as it is.

    example: images that the graph takes; what its parts are given for them says which can be exchanged.
    """
    made = copy.deepcopy(graph)
    made.network.eval()
    inplace_abn.unfold(made.network)
    given = _given(made, example)
    for parent in list(made.modules()):
        for name, child in parent.named_children():
            exchange = _exchange(child)
            if exchange is not None and child in given:
                setattr(parent, name, exchange(child, given[child]))
    return made


def _given(graph: EvalGraph, example: Tensor) -> dict[nn.Module, tuple[Any, ...]]:
    """What each part that may be exchanged is called with."""
    given: dict[nn.Module, tuple[Any, ...]] = {}

    def note(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        given[module] = (*arguments, *named.values())

    hooks = [module.register_forward_pre_hook(note, with_kwargs=True) for module in graph.modules() if _exchange(module)]
    if hooks:
        with torch.no_grad():
            graph(example)
    for hook in hooks:
        hook.remove()
    return given


def _exchange(part: nn.Module) -> Callable[..., nn.Module] | None:
    """For a part of one of the types, or of one made of it, such as a pool that learns in a way of its own."""
    return next((EXCHANGES[kind] for kind in type(part).__mro__ if kind in EXCHANGES), None)


def _decoder_block(block: UnetDecoderBlock, given: tuple[Any, ...]) -> nn.Module:
    below, height, width, *_ = given
    doubled = (height, width) == (2 * below.shape[2], 2 * below.shape[3])
    plain = isinstance(block.attention1.attention, nn.Identity) and block.interpolation_mode == "nearest"
    return SubpixelBlock(block, below.shape[1]) if doubled and plain else block


def _masks(head: MaskRCNNPredictor, _given: tuple[Any, ...]) -> nn.Module:
    return SubpixelMasks(head)


def _pool(pool: MultiScaleRoIAlign, _given: tuple[Any, ...]) -> nn.Module:
    return GatheredRoIAlign(pool)


def _resize(_resize: Resize, _given: tuple[Any, ...]) -> nn.Module:
    return ResizeByChannels()


def _decide(_decide: Decide, _given: tuple[Any, ...]) -> nn.Module:
    return DecideByStrips()


EXCHANGES: dict[type[nn.Module], Callable[..., nn.Module]] = {
    UnetDecoderBlock: _decoder_block,
    MaskRCNNPredictor: _masks,
    MultiScaleRoIAlign: _pool,
    Resize: _resize,
    Decide: _decide,
}
"""Parts of the libraries' networks, and of graphs → what takes their place, from the part and what it was given."""
