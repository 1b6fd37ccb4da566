"""The common half of all counts: which images were counted, and the rows that belong to each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from segline.metrics.ragged import Ragged


@dataclass(frozen=True, eq=False)
class PerImage:
    """Images by id, with `tables` of rows: see `segline.metrics.base.Counts`. A kind of counts says which tables it has."""

    kind: ClassVar[str]
    empty: ClassVar[Mapping[str, Mapping[str, NDArray[Any]]]]
    """Table → column → an array of its type without rows."""
    on_request: ClassVar[Mapping[str, Mapping[str, NDArray[Any]]]] = {}
    """As `empty`, of the tables that are there only where somebody asked for them (see `segline.metrics.details`)."""

    ids: NDArray[np.int64]  # (N,)
    images: tuple[str, ...]
    classes: tuple[str, ...]
    tables: Mapping[str, Ragged] = field(repr=False)
    hashes: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(cls, images: Mapping[int, tuple[str, Mapping[str, Mapping[str, NDArray[Any]]]]], classes: Sequence[str]) -> Self:
        """From the records of single images: id → (name, table → column → rows). A table on request is there when every image has it."""
        ids = sorted(images)
        asked = {table: columns for table, columns in cls.on_request.items() if ids and all(table in images[i][1] for i in ids)}
        tables = {table: Ragged.of([images[i][1][table] for i in ids], columns) for table, columns in {**cls.empty, **asked}.items()}
        return cls(np.array(ids, dtype=np.int64), tuple(images[i][0] for i in ids), tuple(classes), tables)

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Self:
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            ids=self.ids[chosen],
            images=tuple(self.images[i] for i in chosen),
            tables={name: table.select(chosen) for name, table in self.tables.items()},
            hashes=tuple(self.hashes[i] for i in chosen) if self.hashes else (),
        )

    @classmethod
    def merge(cls, parts: Sequence[Self]) -> Self:
        assert len({part.classes for part in parts}) == 1, "counts of different classes cannot be merged"
        joined = replace(
            parts[0],
            ids=np.concatenate([part.ids for part in parts]),
            images=tuple(name for part in parts for name in part.images),
            tables={name: Ragged.join([part.tables[name] for part in parts]) for name in parts[0].tables if all(name in part.tables for part in parts)},
            hashes=tuple(value for part in parts for value in part.hashes) if all(len(part.hashes) == len(part) for part in parts) else (),
        )
        # Samplers of several processes pad with images that another one has: each id counts once.
        _, first = np.unique(joined.ids, return_index=True)
        return joined.select(first)

    def hashed(self, by_name: Mapping[str, str]) -> Self:
        return replace(self, hashes=tuple(by_name[name] for name in self.images))

    def per_class(self, table: str, column: str) -> NDArray[np.float64]:
        """Sums of a column over the rows of each image and class `(N, K)`, of a table with the column `label`. Exact: float64 holds such sums."""
        part = self.tables[table]
        sums = np.zeros((len(self), len(self.classes)))
        np.add.at(sums, (part.image, part.columns["label"]), part.columns[column])
        return sums

    def arrays(self) -> dict[str, NDArray[Any]]:
        words = {"images": self.images, "classes": self.classes, "hashes": self.hashes}
        arrays: dict[str, NDArray[Any]] = {"ids": self.ids, **{name: np.array(value, dtype=np.str_) for name, value in words.items()}}
        for name, table in self.tables.items():
            arrays[f"{name}.offsets"] = table.offsets
            arrays |= {f"{name}.{column}": values for column, values in table.columns.items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        columns_of = {**cls.empty, **{name: columns for name, columns in cls.on_request.items() if f"{name}.offsets" in arrays}}
        tables = {name: Ragged(arrays[f"{name}.offsets"], {column: arrays[f"{name}.{column}"] for column in columns}) for name, columns in columns_of.items()}
        images, classes, hashes = (tuple(arrays[name].tolist()) for name in ("images", "classes", "hashes"))
        return cls(arrays["ids"], images, classes, tables, hashes)
