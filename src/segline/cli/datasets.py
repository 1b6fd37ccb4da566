"""`segline datasets`: the public data sets that `data.source` can name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segline.errors import DataError

if TYPE_CHECKING:
    from segline.data.public.base import PublicSet


def datasets(
    name: Annotated[str | None, typer.Argument(help="One of them: its licence, citation and size, and what to do.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with addresses and checksums.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the README of each below this folder, the data/ of a checkout.")] = None,
) -> None:
    """List the public data sets that `data.source` can name, or tell of one."""
    from segline.data.public import catalog, telling

    chosen = catalog.PUBLIC if name is None else {name: catalog.get(name)}
    if out is not None:
        if as_json:
            raise DataError("--out writes pages and --json prints; give one of the two.")
        _write(chosen, out)
    elif as_json:
        found = [telling.as_json(word, entry) for word, entry in chosen.items()]
        print(json.dumps(found if name is None else found[0], indent=2, ensure_ascii=False))
    elif name is None:
        _list(chosen)
    else:
        _tell(name, chosen[name])


def _list(chosen: dict[str, PublicSet]) -> None:
    from rich.table import Table

    from segline.cli.console import console
    from segline.data.public import telling

    table = Table("name", "what", "size", "format", "licence", "login")
    for word, entry in chosen.items():
        table.add_row(word, entry.about, telling.size(entry), entry.format, entry.licence, "yes" if telling.needs_login(entry) else "")
    console().print(table)
    print("`segline datasets <name>` tells more; `data: {source: <name>}` in params.yaml takes it.")


def _tell(name: str, entry: PublicSet) -> None:
    from segline.data.public import telling

    print(f"{name}: {entry.title}\n{entry.about}\n")
    for archive in entry.archives:
        known = "size unknown" if archive.size is None else telling.bytes_shown(archive.size)
        verified = f"{archive.checksum.partition(':')[0]} published" if archive.checksum else "no checksum published"
        print(f"  {archive.name} ({known}, {verified}) {archive.addresses[0] if archive.addresses else ''}".rstrip())
    print(f"\nLicence:  {entry.licence}\nPage:     {entry.page}\nTo cite:  {entry.citation}\nFormat:   {entry.format}")
    for key, value in entry.keys.items():
        print(f"Read by:  {key}: {json.dumps(value)}")
    print(f"Here:     {_here(name, entry)}\n")
    for paragraph in telling.what_to_do(name, entry):
        print(paragraph)
    if entry.note:
        print(entry.note)


def _here(name: str, entry: PublicSet) -> str:
    """Whether this checkout has it."""
    from segline.data.public.fetch import receipt_of
    from segline.errors import ParametersError
    from segline.layout import find_checkout

    try:
        place = find_checkout(Path.cwd()).public(name)
    except ParametersError:
        return "not known outside of a checkout"
    if not place.files.is_dir():
        return "not fetched yet" if not entry.login else "not there yet"
    receipt = receipt_of(place)
    if receipt is None:
        return f"{place.files}, put there by hand"
    return f"{place.files}, " + ("fetched" if receipt.entry == entry.version else "of an earlier version of the catalogue; `dvc repro` fetches it anew")


def _write(chosen: dict[str, PublicSet], out: Path) -> None:
    from segline.data.public import telling
    from segline.files import unwritable, whole

    reason = unwritable(out)
    if reason is not None:
        raise DataError(f"{reason}; give --out a folder of your own.")
    for word, entry in chosen.items():
        with whole(out / word / "README.md") as file:
            file.write_text(telling.readme(word, entry), encoding="utf-8")
    print(f"{len(chosen)} pages are written below {out}.")
