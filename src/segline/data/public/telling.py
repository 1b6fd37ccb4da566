"""What the catalogue says of a public data set, for people: on the command line, and as the README of its folder below data/."""

from __future__ import annotations

import textwrap
from typing import Any

from segline.data.public.base import PublicSet

UNKNOWN = "unknown"
_WIDTH = 150


def size(entry: PublicSet) -> str:
    """Of all that is fetched."""
    return UNKNOWN if entry.size is None else bytes_shown(entry.size)


def bytes_shown(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{max(1, round(number / 1e6))} MB"


def needs_login(entry: PublicSet) -> bool:
    return bool(entry.login)


def as_json(name: str, entry: PublicSet) -> dict[str, Any]:
    """All of an entry, as plain values."""
    archives = []
    for archive in entry.archives:
        archives.append({"name": archive.name, "addresses": list(archive.addresses), "size": archive.size, "checksum": archive.checksum})
    return {
        "name": name,
        "title": entry.title,
        "about": entry.about,
        "page": entry.page,
        "licence": entry.licence,
        "citation": entry.citation,
        "format": entry.format,
        "keys": dict(entry.keys),
        "size": entry.size,
        "archives": archives,
        "login": entry.login,
        "note": entry.note,
        "version": entry.version,
    }


def what_to_do(name: str, entry: PublicSet) -> list[str]:
    """Sentences, a paragraph each. Places count from the checkout."""
    place = f"data/{name}/fetched"
    told = [f"`data: {{source: {name}}}` in params.yaml, then `dvc repro`."]
    if not entry.login:
        told.append(f"The line fetches it into {place}, verifies it, and unpacks it there, once; a fetch that was interrupted goes on where it stopped.")
    elif entry.archives:
        names = " and ".join(archive.name for archive in entry.archives)
        told.append(f"{entry.login} Put {names} into {place}/archives, or name the folder that has them: `mirror: <folder>`. The line unpacks them.")
    else:
        told.append(f"{entry.login} Put them, or a link to the folder around them, in the place of {place}/files, or name that folder: `mirror: <folder>`.")
    told.append(
        f"Who has the files already puts a link to their folder in the place of {place}/files, or names it: `mirror: <folder>`. "
        "`mirror: https://…` fetches the archives, by their names, from there."
    )
    return told


def readme(name: str, entry: PublicSet) -> str:
    """`data/<name>/README.md`: DVC watches that folder, so it has to be there."""
    blocks = [f"# {entry.title}", entry.about, *what_to_do(name, entry)]
    blocks += [f"Licence: {entry.licence}. Format: `{entry.format}`. Page: <{entry.page}>.", f"To cite: {entry.citation}"]
    if entry.note:
        blocks.append(entry.note)
    blocks.append("`segline datasets --out data` writes this page from the catalogue, `src/segline/data/public/catalog.py`.")
    return "\n\n".join(textwrap.fill(block, _WIDTH, break_long_words=False, break_on_hyphens=False) for block in blocks) + "\n"
