"""DeepLab-LargeFOV (Chen, Papandreou, Kokkinos, Murphy, Yuille 2015).

VGG-16 whose last two poolings no longer shrink: stride 8. What follows them sees as far as before because its kernels have holes ("à trous"): the last three
convolutions of rate 2, fc6 with 3 × 3 weights of rate 12 in place of 7 × 7. fc6 and fc7 have 1024 channels, taken evenly from the classifier's 4096.
Poolings are 3 × 3, as in the authors' network. The scores are upsampled bilinearly; the paper's CRF, which sharpens them, is no part of the network.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from segline.models.deeplabv1.settings import Settings
from segline.models.norm import exchange
from segline.models.semantic import SemanticNetwork
from segline.models.vgg import layers
from segline.models.vgg.layers import Dense, Vgg16, statistics

__all__ = ["build", "statistics"]

_POOLING = (2, 2, 2, 1, 1)  # stride of each stage's

_DENSE = 16  # channels of fc6 and fc7, per channel of the first stage: 1024 for 64


class DeepLabV1(nn.Module):
    """Images `(B, C, H, W)`, H and W multiples of 8 → logits `(B, K, H / 8, W / 8)`."""

    def __init__(self, encoder: Vgg16, *, classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        for layer in encoder.layers(4):
            if isinstance(layer, nn.Conv2d):
                layer.dilation, layer.padding = (2, 2), (2, 2)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Conv2d(_DENSE * width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        values = images
        for stage, stride in enumerate(_POOLING):
            values = functional.max_pool2d(self.encoder.stage(stage, values), 3, stride=stride, padding=1)
        for dense in (self.encoder.fc6, self.encoder.fc7):
            values = self.dropout(functional.relu(dense(values)))
        logits: Tensor = self.score(values)
        return logits


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`. Raises ModelError for weights that cannot be had."""
    width = settings.width
    dense = Dense(_DENSE * width, kernel=3, dilation=settings.rate)
    encoder = layers.encoder(channels=channels, width=width, norm=settings.norm != "none", weights=settings.weights, dense=dense)
    network = DeepLabV1(encoder, classes=classes, width=width, dropout=settings.dropout)
    built = SemanticNetwork(network, stride=settings.stride, encoder=encoder)
    exchange(built, settings.norm)
    return built
