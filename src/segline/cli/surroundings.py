"""Where `segline` was called: the checkout around, its parameters, and the tracking store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from segline import environment
from segline.errors import ParametersError, RegistryError
from segline.layout import Checkout, find_checkout

if TYPE_CHECKING:
    from segline.params import Params


def checkout() -> Checkout:
    """The checkout around. Raises ParametersError when there is none."""
    return find_checkout(Path.cwd())


def checkout_if_any() -> Checkout | None:
    try:
        return checkout()
    except ParametersError:
        return None


def settings(found: Checkout) -> Params:
    """Its params.yaml. Raises ParametersError with all mistakes."""
    from segline import params

    return params.read(found.params)


def registered_name(name: str) -> str:
    """The registered name of a model of params.yaml; any other name is taken as it is, so outside a checkout registered names are given in full."""
    found = checkout_if_any()
    if found is None:
        return name
    there = settings(found)
    return f"{there.data_name()}-{name}" if name in there.models else name


def tracking_store() -> str:
    """The address of the tracking store: `MLFLOW_TRACKING_URI`, or that of the checkout around. Raises RegistryError where there is neither."""
    from segline.tracking.address import store_uri

    found = checkout_if_any()
    if environment.tracking_uri() is not None:
        return store_uri(found or Checkout(Path.cwd()), None)
    if found is None:
        raise RegistryError(
            f"{Path.cwd()} is not inside a Segline checkout, so there is no registry to ask. Change into the checkout, or set MLFLOW_TRACKING_URI."
        )
    return store_uri(found, settings(found).tracking.uri)
