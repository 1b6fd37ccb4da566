"""The criterion: what a semantic training minimises, built once from the loss settings and the data's class weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from segline.losses.base import LossSettings, MappedLoss

MAIN = "logits"
"""Name of a network's output that predicts; the others (auxiliary heads, deep supervision) only train."""


class Criterion(nn.Module):
    """The weighted sum of losses over a network's named outputs."""

    def __init__(
        self,
        terms: Mapping[str, LossSettings],
        *,
        class_weights: Mapping[str, Sequence[float]] | None = None,
        output_weights: Mapping[str, float] | None = None,
    ) -> None:
        """terms: losses by their words. class_weights: by loss, one number per class. output_weights: by output of the network, `logits` and auxiliary ones."""
        super().__init__()
        self.terms = {name: term for name, term in terms.items() if term.weight}
        self.output_weights = dict(output_weights or {MAIN: 1.0})
        for name in self.terms:
            values = (class_weights or {}).get(name)
            self.register_buffer(f"class_weights_{name}", None if values is None else torch.tensor(values, dtype=torch.float32), persistent=False)

    def forward(self, outputs: Mapping[str, Tensor], truth: Tensor, truth_maps: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Outputs `(B, K, H, W)` by name, class ids `(B, H, W)` → each loss of the main output under its own name, unweighted; for an auxiliary output
        `<output>`, its weighted sum; and `loss`, what is minimised. Auxiliary outputs that are not there, as outside training, add nothing.

        truth_maps: what the losses' `wanted_map` name, by those names, for the whole batch.
        """
        parts: dict[str, Tensor] = {}
        maps = {name: values.float() for name, values in (truth_maps or {}).items()}
        total = outputs[MAIN].new_zeros((), dtype=torch.float32)
        for output, share in self.output_weights.items():
            if output not in outputs:
                continue
            # Contiguous: each loss would make such a copy of its own where the network computes in channels_last.
            logits = outputs[output].to(torch.float32, memory_format=torch.contiguous_format)
            with torch.autocast(logits.device.type, enabled=False):  # or it would compute sums of products in bf16 again
                losses = {name: self._computed(name, logits, truth, maps) for name in self.terms}
            summed = torch.stack([self.terms[name].weight * value for name, value in losses.items()]).sum()
            parts |= losses if output == MAIN else {output: summed}
            total = total + share * summed
        return {**parts, "loss": total}

    def _computed(self, name: str, logits: Tensor, truth: Tensor, truth_maps: Mapping[str, Tensor]) -> Tensor:
        """One loss `name`, unweighted."""
        term, class_weights = self.terms[name], self.get_buffer(f"class_weights_{name}")
        if isinstance(term, MappedLoss) and term.wanted_map is not None:
            return term.compute(logits, truth, class_weights, truth_maps[term.wanted_map.name])
        return term.compute(logits, truth, class_weights)
