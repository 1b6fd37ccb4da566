"""The steps in which every network is built that is a decoder behind a classification network (`EncoderSettings`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from segline.losses.criterion import MAIN
from segline.models import encoders, norm, pooling
from segline.models.encoder_settings import EncoderSettings
from segline.models.imagenet import Statistics
from segline.models.semantic import SemanticNetwork

AUXILIARY = "aux"


def build(
    architecture: Callable[..., nn.Module],
    settings: EncoderSettings,
    *,
    channels: int,
    classes: int,
    stride: int | None = None,
    auxiliary: float = 0.0,
    channel_dropout: float = 0.0,
    **more: Any,
) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for an unknown encoder or weights that cannot be had.

    architecture: of segmentation_models_pytorch, or with its arguments and its parts `encoder` and `decoder`, and where there is an auxiliary head
        `segmentation_head`; `more` are arguments too.
    stride: sides of the input must be multiples of it; the settings' own if not given. auxiliary: share of an auxiliary head in the loss.
    channel_dropout: of whole channels of what the decoder gives, for a decoder that has none of its own.
    """
    built = encoders.smp_network(architecture, encoder=settings.encoder, weights=settings.weights, channels=channels, classes=classes, **more)
    encoder, decoder = built.encoder, built.decoder
    assert isinstance(encoder, nn.Module) and isinstance(decoder, nn.Module)
    pooling.prepare(decoder)
    if channel_dropout:
        built.decoder = nn.Sequential(decoder, nn.Dropout2d(channel_dropout))
    network = WithAuxiliary(built, classes) if auxiliary else built
    norm.exchange(network, settings.norm, encoder=encoder)
    shares = {AUXILIARY: auxiliary} if auxiliary else {}
    return SemanticNetwork(network, stride=stride or settings.stride, encoder=encoder, output_weights=shares)


def check(settings: EncoderSettings) -> None:
    """Raises ModelError for an encoder or weights that there are not; asks no server."""
    encoders.check_smp(settings.encoder, settings.weights)


def statistics(settings: EncoderSettings) -> Statistics | None:
    """Mean and standard deviation that the encoder's weights expect."""
    return encoders.smp_statistics(settings.encoder, settings.weights)


class WithAuxiliary(nn.Module):
    """A network with a second head, for training alone: it reads the encoder's last stage but one (PSPNet, Zhao 2017)."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network = network
        encoder: Any = network.encoder
        channels = encoder.out_channels[-2]
        inner = max(1, channels // 4)
        self.auxiliary_head = nn.Sequential(
            nn.Conv2d(channels, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
            nn.Conv2d(inner, classes, 1),
        )

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        """Images `(B, C, H, W)` → logits; in training a mapping of both heads' logits, each of its own resolution."""
        parts: Any = self.network
        features: list[Tensor] = parts.encoder(images)
        auxiliary = self.auxiliary_head(features[-2]) if self.training else None
        logits: Tensor = parts.segmentation_head(parts.decoder(features))
        return logits if auxiliary is None else {MAIN: logits, AUXILIARY: auxiliary}
