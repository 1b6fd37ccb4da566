"""Images in `images/<split>/`, index masks of the same names in `masks/<split>/` (255 = ignored), and `classes.txt`, whose n-th line from 0 on names class n.

Objects are not told apart here; overlapping ones show as the mask of classes has them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from segline.data.convert.base import Part, copy
from segline.data.images import png
from segline.data.store import Truth
from segline_runtime.specification import ClassInfo


class Masks:
    """See the module's docstring."""

    needs: tuple[Truth, ...] = ("index",)

    def write(self, folder: Path, parts: Sequence[Part], classes: Sequence[ClassInfo], truths: Sequence[Truth]) -> Counter[str]:  # noqa: ARG002
        for part in parts:
            masks = folder / "masks" / part.name
            masks.mkdir(parents=True)
            for file, sample in part:
                copy(file, folder / "images" / part.name)
                assert sample.mask is not None
                (masks / f"{file.stem}.png").write_bytes(png(sample.mask))
        (folder / "classes.txt").write_text("".join(f"{one.name}\n" for one in classes), encoding="utf-8")
        return Counter()


WRITER = Masks()
