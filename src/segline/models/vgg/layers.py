"""VGG-16 (Simonyan 2015), of which FCN, SegNet, DeconvNet and the first DeepLab are made: torchvision's layers, its ImageNet weights or a file's."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn
from torchvision.models.vgg import VGG16_BN_Weights, VGG16_Weights, make_layers

from segline.errors import ModelError
from segline.models import encoders
from segline.models.imagenet import IMAGENET_STATISTICS, Statistics
from segline.models.initialisation import initialise
from segline.models.vgg.settings import VggSettings
from segline_runtime.errors import reason

_STAGES = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
"""Channels of each convolution, as multiples of the first one's; a pooling ends each stage."""

_WINDOW = 7  # side of the feature map that the classifier was trained on: 224 / 32


@dataclass(frozen=True)
class Dense:
    """How the classifier's two hidden layers become convolutions: fc6 of `kernel` × `kernel`, padded so that the map keeps its size, and fc7 of 1×1."""

    channels: int
    kernel: int = _WINDOW
    dilation: int = 1


class Vgg16(nn.Module):
    """Five stages of 3×3 convolutions, with the names of torchvision's state dict, and on request fc6 and fc7."""

    segments: ClassVar = ("stage",)
    """Methods that are recomputed in the backward pass where that is asked for (see `segline.models.checkpointing`)."""

    def __init__(self, *, channels: int, width: int, norm: bool, dense: Dense | None) -> None:
        super().__init__()
        layers: list[int | str] = []
        for stage in _STAGES:
            layers += [*(width * times for times in stage), "M"]
        self.features = make_layers(layers, batch_norm=norm)
        self.features[0] = nn.Conv2d(channels, width, 3, padding=1)
        deepest = width * _STAGES[-1][-1]
        if dense is not None:
            padding = dense.dilation * (dense.kernel // 2)
            self.fc6 = nn.Conv2d(deepest, dense.channels, dense.kernel, padding=padding, dilation=dense.dilation)
            self.fc7 = nn.Conv2d(dense.channels, dense.channels, 1)
        pools = [i for i, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]
        self._spans = list(zip([0, *(end + 1 for end in pools[:-1])], pools, strict=True))
        initialise(self)

    def layers(self, stage: int) -> list[nn.Module]:
        """The convolutions of stage 0…4, each with what follows it, without the stage's pooling."""
        start, end = self._spans[stage]
        return list(self.features[start:end])

    def stage(self, number: int, values: Tensor) -> Tensor:
        """`(B, c, h, w)` → `(B, c', h, w)` by `layers`."""
        for layer in self.layers(number):
            values = layer(values)
        return values


def encoder(*, channels: int, width: int, norm: bool, weights: str, dense: Dense | None = None) -> Vgg16:
    """VGG-16 for images of `channels`; `weights`: imagenet, none or a file. Raises ModelError.

    norm: with batch norm. fc6 and fc7 take what a classifier's hidden layers hold, where the weights come with a classifier.
    """
    if weights == encoders.NONE:
        return Vgg16(channels=channels, width=width, norm=norm, dense=dense)
    vgg = Vgg16(channels=3, width=width, norm=norm, dense=dense)
    if weights == encoders.IMAGENET:
        state = _imagenet(norm)
        vgg.features.load_state_dict({name.removeprefix("features."): value for name, value in state.items() if name.startswith("features.")})
    else:
        encoders.load_encoder(nn.ModuleDict({"features": vgg.features}), weights)
        state = encoders.read_file(weights)
    if dense is not None and "classifier.0.weight" in state:
        _load_dense(vgg, state, weights)
    encoders.adapt_channels(vgg.features, channels)
    return vgg


def statistics(settings: VggSettings) -> Statistics | None:
    """Mean and standard deviation that pre-trained weights expect."""
    return None if settings.weights == encoders.NONE else IMAGENET_STATISTICS


def channels_of_stages(width: int) -> list[int]:
    """At the end of each of the five stages."""
    return [width * stage[-1] for stage in _STAGES]


def mirrored(width: int) -> list[list[tuple[int, int]]]:
    """The stages of a decoder, deepest first: inputs and outputs of each convolution. The last one leaves as many channels as the next pooling had."""
    stages = []
    for number in (4, 3, 2, 1, 0):
        outputs = _STAGES[max(number - 1, 0)][-1]
        sides = [*(width * times for times in _STAGES[number]), width * outputs]
        stages.append(list(pairwise(sides)))
    return stages


def _imagenet(norm: bool) -> dict[str, Tensor]:
    kind = VGG16_BN_Weights.IMAGENET1K_V1 if norm else VGG16_Weights.IMAGENET1K_V1
    try:
        state: dict[str, Tensor] = kind.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # no answer; an answer of other content
        raise encoders.unreachable("vgg16_bn" if norm else "vgg16", error) from None
    return state


def _load_dense(vgg: Vgg16, state: dict[str, Tensor], weights: str) -> None:
    """A classifier's hidden layer is a convolution as large as its feature map (Long 2015); a smaller one takes evenly spread weights of it (Chen 2015)."""
    fc6 = vgg.fc6
    try:
        first, second = state["classifier.0.weight"], state["classifier.3.weight"]
        windows = first.reshape(first.shape[0], fc6.in_channels, _WINDOW, _WINDOW)
        channels, pixels = first.shape[0] // fc6.out_channels, (_WINDOW - 1) // (fc6.kernel_size[0] - 1)
        values = {
            "fc6.weight": windows[::channels, :, ::pixels, ::pixels],
            "fc6.bias": state["classifier.0.bias"][::channels],
            "fc7.weight": second[::channels, ::channels, None, None],
            "fc7.bias": state["classifier.3.bias"][::channels],
        }
        vgg.load_state_dict(vgg.state_dict() | values)
    except (KeyError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"The classifier in {weights} does not fit fc6 and fc7 ({reason(error)}). Give the weights of a VGG-16, or a file without a classifier."
        ) from None
