"""Pre-trained encoders: ImageNet weights, none, or a file; the statistics that they expect; and the mistakes one can make with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from segline.choices import hint
from segline.errors import ModelError
from segline.layout import expanded
from segline.models.imagenet import IMAGENET_STATISTICS, Statistics
from segline.sentences import no_weights
from segline_runtime.errors import reason

IMAGENET = "imagenet"
NONE = "none"

_TIMM = "tu-"
_MOST_TOLD = 200
_HEADS = ("fc.", "classifier.", "head.", "last_linear.", "conv_head.", "bn2.", "incre_modules.", "downsamp_modules.", "final_layer.")


def unknown(kind: str, name: str, known: Iterable[str]) -> ModelError:
    """The error for a name that no library has: the nearest right ones, or all, or where there are too many to read, how they are listed."""
    names = sorted(set(known))
    near = hint(name, names)
    if len(names) > _MOST_TOLD and near.startswith("Known"):
        near = 'timm lists its networks: `python -c "import timm; print(timm.list_models())"`.'
    return ModelError(f"There is no {kind} '{name[:80]}'. {near}")


def unreachable(encoder: str, error: Exception) -> ModelError:
    """The error when pre-trained weights cannot be had."""
    return ModelError(
        f"The ImageNet weights of '{encoder}' could not be loaded ({type(error).__name__}: {error}). "
        "Check the network, or set `weights: none` or the path of a weight file."
    )


def smp_network(architecture: Callable[..., nn.Module], *, encoder: str, weights: str, channels: int, classes: int, **more: Any) -> nn.Module:
    """A network of segmentation_models_pytorch with its encoder's weights. `encoder`: one of its own, or `tu-<name>` of timm. Raises ModelError."""
    check_smp(encoder, weights)
    imagenet = IMAGENET if weights == IMAGENET else None
    try:
        network = architecture(encoder_name=encoder, encoder_weights=imagenet, in_channels=channels, classes=classes, **more)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AssertionError, AttributeError, IndexError) as error:
        if imagenet and isinstance(error, OSError | RuntimeError | KeyError):
            raise unreachable(encoder, error) from None
        if encoder.startswith(_TIMM):  # timm has a thousand networks, and each says in its own way that it is no encoder
            raise ModelError(
                f"The timm network '{encoder}' cannot be used as an encoder ({reason(error)}). "
                "Choose one that gives feature maps at several strides and takes any size, such as tu-resnet18 or tu-convnext_tiny."
            ) from None
        if isinstance(error, ValueError):
            given = "".join(f", {name.removeprefix('encoder_')} {value}" for name, value in more.items() if name.endswith("output_stride"))
            raise ModelError(
                f"The encoder '{encoder}' cannot be built so (images of {channels} channels{given}: {reason(error)}). Choose another encoder."
            ) from None
        raise
    if weights not in (IMAGENET, NONE):
        part = network.encoder
        assert isinstance(part, nn.Module)
        load_encoder(part, weights)
    return network


def check_smp(encoder: str, weights: str) -> None:
    """Raises ModelError for an encoder that there is not, or whose ImageNet weights nobody offers. Asks no server."""
    import segmentation_models_pytorch as smp

    if encoder.startswith(_TIMM):
        import timm

        name = encoder.removeprefix(_TIMM)
        if ":" in name or "/" in name:
            raise ModelError(
                f"The encoder '{encoder}' is an address. Name one of timm's own networks, such as tu-resnet18, and give its weights as a file (`weights:`)."
            )
        if not timm.is_model(name):
            raise unknown("encoder", encoder, (f"{_TIMM}{known}" for known in timm.list_models()))
        offered = timm.models.is_model_pretrained(name)
    else:
        if encoder not in smp.encoders.encoders:
            raise unknown("encoder", encoder, smp.encoders.encoders)
        offered = IMAGENET in smp.encoders.encoders[encoder].get("pretrained_settings", {})
    if weights == IMAGENET and not offered:
        raise ModelError(f"The encoder '{encoder}' has no ImageNet weights; set `weights: none` or the path of a weight file, or choose another encoder.")


def smp_statistics(encoder: str, weights: str) -> Statistics | None:
    """What an encoder's ImageNet weights expect, by the records of timm and segmentation_models_pytorch; a file's are taken for ImageNet's common ones.

    None without pre-trained weights. Values that a network takes in 0…255 are scaled to 0…1.
    """
    if weights == NONE:
        return None
    if weights != IMAGENET:
        return IMAGENET_STATISTICS
    import segmentation_models_pytorch as smp

    if encoder.startswith(_TIMM):
        import timm

        config = timm.get_pretrained_cfg(encoder.removeprefix(_TIMM))
        return (tuple(config.mean), tuple(config.std)) if config is not None else IMAGENET_STATISTICS
    try:
        recorded = smp.encoders.get_preprocessing_params(encoder, pretrained=IMAGENET)  # it stands beside the weights, on the same hub
    except OSError as error:
        raise unreachable(encoder, error) from None
    scale = recorded["input_range"][1] if recorded.get("input_range") else 1
    mean, std = (tuple(float(value) / scale for value in recorded[name]) for name in ("mean", "std"))
    return mean, std


def read_file(file: str) -> dict[str, Tensor]:
    """A state dict saved with `torch.save`; nothing else is unpickled. Raises ModelError."""
    path = expanded(file)
    if not path.is_file():
        raise ModelError(f"weights: {no_weights(file)}")
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is not its own
        raise ModelError(f"{path} is no state-dict file ({type(error).__name__}). Save one with torch.save(encoder.state_dict(), file).") from None
    state = values.get("state_dict", values) if isinstance(values, dict) else None
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise ModelError(f"{path} holds no state dict (names to tensors). Save one with torch.save(encoder.state_dict(), file).")
    return state


def load_encoder(encoder: nn.Module, file: str) -> None:
    """Load a file's weights into an encoder. Keys of a classification head are left aside; anything else must fit, but for the number of input channels.

    timm's networks stand one level deeper in segmentation_models_pytorch, under `model.`.
    """
    own = encoder.state_dict()
    deeper = bool(own) and all(name.startswith("model.") for name in own)
    state = {}
    for name, value in read_file(file).items():
        placed = f"model.{name}" if deeper and not name.startswith("model.") else name
        if placed in own or not name.removeprefix("model.").startswith(_HEADS):
            state[placed] = _for_channels(value, own.get(placed))
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    wrong = [name for name, value in state.items() if name in own and own[name].shape != value.shape]
    surplus = [name for name in state if name not in own]
    if missing or wrong or surplus:
        raise ModelError(
            f"{file} does not fit the encoder: {len(missing)} weights missing, {len(wrong)} of another shape, {len(surplus)} unknown"
            f" (first: {(missing + wrong + surplus)[0]}). Choose the encoder that the file was made for."
        )
    encoder.load_state_dict(state, strict=False)


def _for_channels(value: Tensor, wanted: Tensor | None) -> Tensor:
    """The first convolution's weights of RGB, for images of another number of channels: the colours in turn, scaled so that responses stay as large."""
    if wanted is None or value.dim() != 4 or value.shape[1] != 3 or value.shape == wanted.shape or value.shape[0] != wanted.shape[0]:
        return value
    channels = wanted.shape[1]
    return torch.stack([value[:, i % 3] for i in range(channels)], dim=1) * (3 / channels)


def adapt_channels(encoder: nn.Module, channels: int) -> None:
    """Let an encoder for RGB take images of `channels`: its first convolution is widened or narrowed, its weights spread over the channels."""
    first = next(module for module in encoder.modules() if isinstance(module, nn.Conv2d))
    assert first.groups == 1
    wanted = first.weight.new_empty((first.out_channels, channels, *first.kernel_size))
    first.weight = nn.Parameter(_for_channels(first.weight.data, wanted))
    first.in_channels = channels
