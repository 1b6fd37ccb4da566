"""What a training step keeps for its backward pass: plain, with in-place activated batch norm, with checkpointing, with both.

Bytes of the distinct tensors that autograd saves, and of those that recomputed blocks keep as their inputs; weights, the image and buffers are not counted.
On torch's meta device, where shapes are real and values are not, so that it takes no memory and no time. Writes memory.json.

    python benchmarks/memory.py
"""

from __future__ import annotations

from typing import Any

import results
import torch
from torch import Tensor, nn

from segline.models import catalog, checkpointing

SIZE, BATCH, CLASSES = 512, 4, 12

NETWORKS = {
    "U-Net-ResNet-34": {"arch": "unet", "encoder": "resnet34"},
    "U-Net-VGG-13-BN": {"arch": "unet", "encoder": "vgg13_bn"},
    "U-Net-ResNet-50": {"arch": "unet", "encoder": "resnet50"},
    "DeepLabV3+-ResNet-50": {"arch": "deeplabv3plus", "encoder": "resnet50"},
}

GOALS = {("U-Net-ResNet-34", "inplace_abn"): 0.75, ("U-Net-VGG-13-BN", "inplace_abn"): 0.65, ("U-Net-ResNet-34", "inplace_abn, checkpointing"): 0.40}
"""Largest share of plain."""


def main() -> None:
    rows: dict[str, Any] = {}
    for name, entry in NETWORKS.items():
        plain = kept_bytes(entry, norm="batch", recomputed=False)
        row: dict[str, Any] = {"plain_mib": round(plain / 2**20, 1)}
        for word, norm, recomputed in (
            ("inplace_abn", "inplace_abn", False),
            ("checkpointing", "batch", True),
            ("inplace_abn, checkpointing", "inplace_abn", True),
        ):
            share = kept_bytes(entry, norm=norm, recomputed=recomputed) / plain
            row[word] = round(share, 3)
            goal = GOALS.get((name, word))
            if goal is not None:
                row[f"{word}, goal"] = goal
                assert share <= goal, f"{name} with {word} keeps {share:.3f} of plain, and {goal} are allowed"
        rows[name] = row
    results.write(results.beside(__file__), {"size": [SIZE, SIZE], "batch": BATCH, "share_of_plain": rows})


def kept_bytes(entry: dict[str, Any], *, norm: str, recomputed: bool) -> int:
    """Of one forward pass of a network in training."""
    settings = catalog.settings(entry["arch"]).model_validate(entry | {"norm": norm})
    network = catalog.build(settings, channels=3, classes=CLASSES).train()
    given: list[Tensor] = []
    if recomputed:
        for block in checkpointing.install(network, lambda: _empty(network)):
            block.register_forward_pre_hook(lambda _block, inputs: given.extend(_tensors(inputs)))
    return count(network.to("meta"), torch.empty(BATCH, 3, SIZE, SIZE, device="meta"), given)


def count(network: nn.Module, images: Tensor, given: list[Tensor]) -> int:
    """Bytes of the distinct storages that a forward pass leaves behind; `given`: filled meanwhile with what recomputed blocks keep."""
    saved: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        saved.append(value)
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        outputs = network(images)
    own = {_storage(value) for value in (images, *network.parameters(), *network.buffers())}
    kept = {_storage(value): value.untyped_storage().nbytes() for value in (*saved, *given)}
    assert outputs, "the graph is alive"
    return sum(size for storage, size in kept.items() if storage not in own)


def _storage(value: Tensor) -> int:
    return value.untyped_storage()._cdata


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in value for tensor in _tensors(part)] if isinstance(value, list | tuple) else []


def _empty(network: nn.Module) -> None:
    training = [module for module in network.modules() if module.training]
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, 3, 64, 64))
    for module in training:
        module.training = True


if __name__ == "__main__":
    main()
