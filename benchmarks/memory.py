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
from segline.profiling.kept import Kept

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
    blocks = checkpointing.install(network, lambda: _empty(network)) if recomputed else []
    return count(network.to("meta"), torch.empty(BATCH, 3, SIZE, SIZE, device="meta"), blocks)


def count(network: nn.Module, images: Tensor, blocks: list[nn.Module]) -> int:
    """Bytes of the distinct storages that a forward pass leaves behind, the inputs of recomputed `blocks` among them."""
    kept = Kept([images, *network.parameters(), *network.buffers()])
    for block in blocks:
        block.register_forward_pre_hook(lambda _block, inputs: kept.take(inputs))
    with kept:
        outputs = network(images)
    assert outputs, "the graph is alive"
    return kept.total


def _empty(network: nn.Module) -> None:
    training = [module for module in network.modules() if module.training]
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, 3, 64, 64))
    for module in training:
        module.training = True


if __name__ == "__main__":
    main()
