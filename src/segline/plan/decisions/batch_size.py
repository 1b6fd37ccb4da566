"""`train.batch_size: auto`: how many images a step sees."""

from __future__ import annotations

from dataclasses import dataclass

from segline.models.settings import ModelSettings

_SMALL = 224 * 224
"""Pixels of an input up to which many small gradients would be noise; of larger ones half as many images hold as much, and give more steps."""

_USABLE, _TAKEN_GIB = 0.75, 0.75
"""Share of the memory that a training may fill with what it keeps for the backward pass, and what weights, optimiser and libraries take before that."""

_GIB = 2**30

_RECOMPUTED = 0.5
"""Share of what a training keeps, where its blocks compute again what they need."""

_BEYOND_RESNET18 = {
    "resnet18": 0, "mobilenet_v3": 0, "mit_b0": 0, "tu-hrnet_w18": 0, "resnet34": 200, "mit_b1": 600, "mobilenet_v2": 1_100, "efficientnet-b0": 1_300,
    "resnet50": 1_400, "mit_b2": 1_700, "resnet101": 2_200, "vgg": 2_300, "densenet121": 2_300, "se_resnext50": 2_400,
}  # fmt: skip
"""How many more bytes encoders keep for each pixel of the network's input, by how their names begin; one that was not measured counts as large."""

_UNMEASURED = 4_200


@dataclass(frozen=True)
class Batch:
    images: int
    reason: str


def kept_bytes_per_pixel(settings: ModelSettings) -> float:
    """What a training keeps for the backward pass for each pixel of the network's input, in fp32."""
    encoder = getattr(settings, "encoder", None)
    more = 0
    if isinstance(encoder, str):
        more = next((one for word, one in _BEYOND_RESNET18.items() if encoder.startswith(word)), _UNMEASURED)
    return (settings.kept_bytes + more) * (_RECOMPUTED if settings.train.checkpointing else 1.0)


def batch_size(pixels: int, images: int, *, most: int, kept: float, memory_gb: float) -> Batch:
    """pixels: of an image as it is trained on; images: that are trained on; most: of small inputs; kept: see `kept_bytes_per_pixel`."""
    wanted = most if pixels <= _SMALL else max(1, most // 2)
    reason = f"{wanted} of inputs of {pixels / 1e6:.2g} megapixels"
    if images < wanted:
        wanted, reason = max(1, images), f"there are {images} images to train on"
    each = kept * pixels / _GIB
    room = max(0.0, _USABLE * memory_gb - _TAKEN_GIB)
    fits = 1
    while 2 * fits * each <= room:
        fits *= 2
    said = f"of {memory_gb:.3g} GiB of memory, an image takes about {_gib(each)} in training"
    if fits < wanted:
        return Batch(fits, f"{said}, and {fits} {'fits' if fits == 1 else 'fit'} well")
    return Batch(wanted, f"{reason}; {said}, so they fit")


def _gib(value: float) -> str:
    return f"{value:.1f}" if value >= 0.95 else f"{value:.1g}"
