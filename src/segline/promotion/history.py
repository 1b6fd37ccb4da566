"""Who held an alias before, and the way back.

MLflow forgets who held an alias. Each move is therefore written to the version that received the alias, in a tag `segline.<alias>.<number>` that
holds JSON: event, replaced, at, by, figures, forced, reason.
"""

from __future__ import annotations

import getpass
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from segline import registry
from segline.errors import RegistryError
from segline.registry import Version

Target = Literal["staging", "production"]


def rollback(*, store: str, name: str, alias: Target, reason: str | None = None) -> tuple[Version, Version]:
    """Give the alias back to the version that held it before; done again, to the one before that. Returns (who loses it, who has it again).

    Raises RegistryError when nobody holds the alias or nobody held it before.
    """
    there = registry.require(store=store, name=name)
    current = next((version for version in there if alias in version.aliases), None)
    if current is None:
        raise RegistryError(f"No version of '{name}' holds '{alias}', so there is nothing to roll back; `segline promote {name} --to {alias}` sets it.")
    by_number = {version.number: version for version in there}
    before = [number for number in _settled(_holders(there, alias), current.number)[:-1] if number in by_number and number != current.number]
    if not before:
        raise RegistryError(
            f"{name} version {current.number} is the first that is known to hold '{alias}'; there is none to go back to. "
            f"`segline models {name}` shows all versions, `segline promote {name} --to {alias} --version N` takes one of them."
        )
    previous = by_number[before[-1]]
    move(store, previous, alias, "rollback", current, {"reason": reason})
    return current, previous


@dataclass(frozen=True)
class Event:
    """One recorded move of an alias to a version."""

    order: int
    event: Literal["promote", "rollback"]
    to: int
    replaced: int | None
    record: Mapping[str, Any]


def history(versions: list[Version], alias: str) -> list[Event]:
    """What the tags tell of an alias, oldest first."""
    events = []
    for version in versions:
        for key, value in version.tags.items():
            if match := re.fullmatch(rf"segline\.{alias}\.(\d+)", key):
                try:
                    record = json.loads(value)
                    events.append(Event(int(match[1]), record["event"], version.number, record["replaced"], record))
                except (ValueError, KeyError, TypeError):
                    raise RegistryError(
                        f"The tag {key} of {version.name} version {version.number} is no record of a promotion any more; delete it in the registry."
                    ) from None
    return sorted(events, key=lambda event: event.order)


def _holders(versions: list[Version], alias: str) -> list[int]:
    """The versions that one rollback after another would give the alias to, the latest last."""
    stack: list[int] = []
    for event in history(versions, alias):
        stack = _settled(stack, event.replaced)
        if event.event == "promote":
            stack.append(event.to)
        else:
            stack = _settled(stack[:-1], event.to)
    return stack


def _settled(stack: list[int], holder: int | None) -> list[int]:
    """The stack with `holder` on top: aliases are also moved by hand, and a move may be cut off after its record."""
    if holder is None:
        return stack
    if holder in stack:
        return stack[: len(stack) - stack[::-1].index(holder)]
    return [*stack, holder]


def move(store: str, version: Version, alias: str, event: str, replaced: Version | None, record: Mapping[str, Any]) -> None:
    """Give a version an alias, and write down who was replaced, when, by whom, and `record`."""
    there = registry.versions(store=store, name=version.name)
    order = 1 + max((e.order for e in history(there, alias)), default=0)
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"event": event, "replaced": None if replaced is None else replaced.number, "at": moment, "by": _user(), **record}
    registry.move(store=store, version=version, alias=alias, tags={f"segline.{alias}.{order:04d}": json.dumps(content)})


def _user() -> str:
    """Who does it; in a container, an account may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
