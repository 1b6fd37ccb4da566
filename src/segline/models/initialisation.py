"""How the convolutions begin of the networks that are written here and come without pre-trained weights."""

from __future__ import annotations

from torch import nn


def initialise(network: nn.Module) -> None:
    """He's initialisation (2015) of all convolutions: without it, deep ReLU networks that have no normalisation do not learn."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
