"""The store's address: where it is said, and how it is shown to people, without the secrets that it may hold."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

from segline import environment
from segline.errors import TrackingError
from segline.layout import Checkout

SQLITE = "sqlite:///"

_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)
_SHORTEST_SECRET = 3  # a shorter one stands in too many words to be taken out of a sentence


def store_uri(checkout: Checkout, configured: str | None) -> str:
    """The tracking store of a checkout: `MLFLOW_TRACKING_URI`, else `configured` (`tracking.uri`), else SQLite in the main checkout.

    A relative SQLite path counts from the main checkout: MLflow would bind it to the working directory, which differs in DVC's temporary copies.
    Raises TrackingError for a file store (`./mlruns`), which MLflow no longer takes.
    """
    store = environment.tracking_uri() or configured or checkout.default_store
    if "://" not in store or store.startswith("file:"):
        if store in ("databricks", "databricks-uc"):
            return store
        raise TrackingError(
            f"The tracking store '{shown(store)}' is a folder, which MLflow no longer takes. Use sqlite:///mlflow.db or the address of an MLflow server "
            "in MLFLOW_TRACKING_URI or tracking.uri."
        )
    if store.startswith(SQLITE):
        return f"{SQLITE}{checkout.main / store.removeprefix(SQLITE)}"
    return store


def database(store: str) -> Path | None:
    """The file of an SQLite store; None for any other."""
    return Path(store.removeprefix(SQLITE).split("?")[0]) if store.startswith(SQLITE) else None


def shown(store: str) -> str:
    """The store's address without user name, password and query, for people and files."""
    scheme, mark, rest = store.partition("://")
    if scheme in ("sqlite", "file"):
        return store.partition("?")[0]
    if not mark:
        return store.rpartition("@")[2]
    authority, path = _split(rest)
    if "@" in path:
        return f"{scheme}://…"  # a password with / ? or # as it is, or a token with @: nobody can tell where it ends
    return f"{scheme}://{authority.rpartition('@')[2]}{re.split('[?#]', path)[0]}"


def redacted(text: str, store: str) -> str:
    """A sentence of MLflow or its libraries without the secrets of the store's address, nor those of other addresses in it."""
    text = text.replace(store, shown(store))
    for secret in sorted(_secrets(store), key=len, reverse=True):
        for spelling in (secret, unquote(secret), quote(secret, safe="")):
            if len(spelling) >= _SHORTEST_SECRET:
                text = text.replace(spelling, "***")
    return _ADDRESS.sub(lambda match: shown(match[0]), text)


def _secrets(store: str) -> set[str]:
    """What must not be told: what stands before the last @, the password in it, its form in a header, and what follows ? or #."""
    scheme, mark, rest = store.partition("://")
    if scheme in ("sqlite", "file"):
        return set()
    authority, path = _split(rest if mark else store)
    before = (rest if "@" in path else authority).rpartition("@")[0]
    header = base64.b64encode(unquote(before).encode()).decode()
    query, _, fragment = path.partition("?")[2].partition("#")
    return {before, before.partition(":")[2], header, fragment, *(value for _, value in parse_qsl(query))} - {""}


def _split(rest: str) -> tuple[str, str]:
    """What follows `://`: user, password, host and port; then path, query and fragment."""
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    return authority, rest[len(authority) :]
