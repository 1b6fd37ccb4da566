"""Sliding window: a classifier looks at a patch and labels the pixel in its centre (Farabet 2013; Pinheiro, Collobert 2014).

The classifier is Farabet's at one scale: 7×7 convolution, pooling, 7×7, pooling, 7×7, and a perceptron with one hidden layer on what is left of the patch,
a single position. Run at each pixel it would compute neighbouring patches' overlap again and again. So it is run on the whole image at once: poolings of
stride 1, and behind each one kernels with holes twice as wide. The weights and the results are the same.

Trained on all patches of an image at once, which is training on patches drawn without replacement, and no sampling (Long 2015, section 3.4).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from segline.models.initialisation import initialise
from segline.models.norm import exchange
from segline.models.patch.settings import Settings
from segline.models.semantic import SemanticNetwork


class PatchClassifier(nn.Module):
    """A convolutional classifier: as it is trained to be, of patches; and run over images."""

    def __init__(self, *, channels: int, classes: int, kernel: int, widths: list[int], hidden: int, dropout: float, norm: bool) -> None:
        super().__init__()
        self.features = nn.ModuleList()
        for inputs, outputs in zip([channels, *widths[:-1]], widths, strict=True):
            layers = [nn.Conv2d(inputs, outputs, kernel), *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU(inplace=True)]
            self.features.append(nn.Sequential(*layers))
        self.classifier = nn.Sequential(nn.Conv2d(widths[-1], hidden, 1), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Conv2d(hidden, classes, 1))
        side = 1
        for i in range(len(widths)):
            side = side * (2 if i else 1) + kernel - 1
        self.side = side
        """Of a patch, in pixels: what shrinks to one position."""
        initialise(self)

    def classify(self, patches: Tensor) -> Tensor:
        """Patches `(B, C, side, side)` → scores `(B, K, 1, 1)`."""
        values = patches
        for i, layers in enumerate(self.features):
            values = layers(functional.max_pool2d(values, 2) if i else values)
        scores: Tensor = self.classifier(values)
        return scores

    def forward(self, images: Tensor) -> Tensor:
        """Images `(B, C, H, W)` → scores of the patch around each pixel `(B, K, H, W)`; beyond the image's border all is zero.

        The centre of a patch of even side is the pixel at the top left of its middle.
        """
        before = (self.side - 1) // 2
        after = self.side - 1 - before
        values = functional.pad(images, (before, after, before, after))
        for i, layers in enumerate(self.features):
            holes = 2**i
            convolution, *others = layers.children()
            assert isinstance(convolution, nn.Conv2d)
            if i:
                values = functional.max_pool2d(values, 2, stride=1, dilation=holes // 2)
            values = functional.conv2d(values, convolution.weight, convolution.bias, dilation=holes)
            for layer in others:
                values = layer(values)
        scores: Tensor = self.classifier(values)
        return scores


def build(settings: Settings, *, channels: int, classes: int) -> SemanticNetwork:
    """Images `(B, channels, H, W)` → logits `(B, classes, H, W)`."""
    network = PatchClassifier(
        channels=channels,
        classes=classes,
        kernel=settings.kernel,
        widths=settings.widths,
        hidden=settings.hidden,
        dropout=settings.dropout,
        norm=settings.norm != "none",
    )
    built = SemanticNetwork(network, stride=settings.stride)
    exchange(built, settings.norm)
    return built
