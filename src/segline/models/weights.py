"""Starting weights of encoders: ImageNet's, none, or a file; and the mistakes one can make with them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from segline.errors import ModelError

IMAGENET = "imagenet"
NONE = "none"


def unknown(kind: str, name: str, known: Iterable[str]) -> ModelError:
    """The error for a name that no registry has: the nearest right ones, or all."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known are {', '.join(choices)}."
    return ModelError(f"There is no {kind} '{name}'. {hint}")


def unreachable(encoder: str, error: Exception) -> ModelError:
    """The error when pre-trained weights cannot be had."""
    return ModelError(
        f"The ImageNet weights of '{encoder}' could not be loaded ({type(error).__name__}: {error}). "
        "Check the network, or set `weights: none` or the path of a weight file."
    )


def read_file(file: str) -> dict[str, Any]:
    """A state dict saved with `torch.save`; nothing else is unpickled. Raises ModelError."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise ModelError(f"`weights: {file}` is neither imagenet nor none, and no such file exists. Give the path of a state-dict file.")
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is not its own
        raise ModelError(f"{path} is no state-dict file ({type(error).__name__}). Save one with torch.save(encoder.state_dict(), file).") from None
    state = values.get("state_dict", values) if isinstance(values, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ModelError(f"{path} holds no state dict (names to tensors). Save one with torch.save(encoder.state_dict(), file).")
    return state


def load_encoder(encoder: nn.Module, file: str) -> None:
    """Load a file's weights into an encoder. Keys of a classification head are left aside; anything else must fit."""
    state = {k: v for k, v in read_file(file).items() if not k.startswith(("fc.", "classifier.", "head.", "last_linear."))}
    own = encoder.state_dict()
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    wrong = [k for k, v in state.items() if k in own and own[k].shape != v.shape]
    if missing or wrong or not set(state) <= set(own):
        surplus = [k for k in state if k not in own]
        raise ModelError(
            f"{file} does not fit the encoder: {len(missing)} weights missing, {len(wrong)} of another shape, {len(surplus)} unknown"
            f" (first: {(missing + wrong + surplus)[0]}). Choose the encoder that the file was made for."
        )
    encoder.load_state_dict(state, strict=False)
