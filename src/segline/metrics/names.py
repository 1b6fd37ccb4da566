"""The key-safe form of class names, for metric keys such as `iou/<class>`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from segline_runtime.specification import ClassInfo


def class_keys(classes: Sequence[ClassInfo]) -> tuple[str, ...]:
    """One key per class, in the given order: safe in MLflow metric names, DVC keys, CSV cells and file names, and different for each class.

    Every run of characters that are no letters, digits or '-' becomes one '_' ("screen;silver screen" → "screen_silver_screen").
    Where two classes would get the same key, the later one carries its id as well.
    """
    keys: list[str] = []
    for info in classes:
        key = re.sub(r"[^\w-]+|_+", "_", info.name).strip("_") or f"class_{info.id}"
        while key in keys:
            key = f"{key}_{info.id}"
        keys.append(key)
    return tuple(keys)
