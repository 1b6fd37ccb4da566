"""How long this process may still wait for a store that fails: one budget per store, shared by all that happens in the process."""

from __future__ import annotations

from dataclasses import dataclass

BUDGET_S = 30.0
"""What a failing store may cost a process in all."""

_spent: dict[str, float] = {}


@dataclass(frozen=True)
class Patience:
    """Seconds that may still be spent on one store. Only waiting that ended in failure counts: a server that answers uses up nothing."""

    store: str
    budget_s: float

    @property
    def left(self) -> float:
        return max(0.0, self.budget_s - _spent.get(self.store, 0.0))

    def spend(self, seconds: float) -> None:
        _spent[self.store] = _spent.get(self.store, 0.0) + seconds


def patience(store: str, budget_s: float = BUDGET_S) -> Patience:
    """What is left of `budget_s` for a store in this process."""
    return Patience(store, budget_s)
