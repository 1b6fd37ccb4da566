"""What a public data set is: the archives that it comes in, where they are published, and how their content is read.

An entry is data, one block of `segline.data.public.catalog`. Sizes and checksums are those that its publisher, or a well-known library that fetches the same
file, has published; what nobody published is left out, and then the archive's own checks (CRC of zip and gzip) and its length are all there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GB = 10**9


@dataclass(frozen=True)
class Archive:
    """One file of a data set, as it is published."""

    name: str  # of the file, in a mirror as well
    addresses: tuple[str, ...] = ()  # asked in this order; none where somebody has to log in
    size: int | None = None  # bytes
    checksum: str | None = None  # `sha256:…` or `md5:…`
    only: str = ""  # what is unpacked: members whose path begins so; the rest is none of the data set
    unpacked_at_most: int = 0  # bytes of all members; default: what `most_unpacked` says
    files_at_most: int = 500_000  # members

    @property
    def most_unpacked(self) -> int:
        """Bytes beyond which unpacking stops. Images hardly shrink; label maps and lists do, to a twentieth."""
        return self.unpacked_at_most or 20 * (self.size or GB) + GB


@dataclass(frozen=True)
class PublicSet:
    """One public data set."""

    title: str
    about: str  # one sentence: what is to be seen, how many images, which truth
    page: str  # where its publisher tells of it
    licence: str  # what may be done with it
    citation: str
    format: str  # a word of segline.data.formats.catalog
    archives: tuple[Archive, ...]
    holds: tuple[str, ...]  # by which the folder that the format reads is known: what lies in it
    keys: Mapping[str, Any] = field(default_factory=dict)  # of the section `data`, that differ from the format's defaults; params.yaml overrides them
    login: str = ""  # what to do where an archive has no address: where to sign up, what to fetch
    note: str = ""  # what else to know of it

    @property
    def version(self) -> str:
        """Changes with anything that is fetched or unpacked otherwise; identifies the files in plans and receipts."""
        from segline.provenance import digest  # which starts processes, and is not needed to know the names

        said = [(archive.name, archive.addresses[:1], archive.size, archive.checksum, archive.only) for archive in self.archives]
        return digest(said)[:12]

    @property
    def size(self) -> int | None:
        """Bytes of the archives, where all are known."""
        sizes = [archive.size for archive in self.archives]
        return sum(size or 0 for size in sizes) if sizes and None not in sizes else None
