"""The verbs of `segline`."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from segline.cli import (
    check,
    compare,
    convert,
    datasets,
    evaluate,
    init,
    leaderboard,
    models,
    parameters,
    predict,
    profile,
    promote,
    recipes,
    status,
    store,
    suspects,
)
from segline.cli import next as next_images

_SUMMARY = "Promote, serve and use the models of a Segline checkout."

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=_SUMMARY)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"segline {metadata.version('segline')}")
        raise typer.Exit


@app.callback(help=_SUMMARY)
def segline(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")] = False) -> None:
    """What all verbs share."""


# In the order of `segline --help`.
app.command()(init.init)
app.command()(check.check)
app.command()(datasets.datasets)
app.command()(promote.promote)
app.command()(promote.rollback)
app.command()(models.models)
app.command()(status.status)
app.command()(status.sync)
app.command()(store.store)
app.command()(predict.predict)
app.command()(evaluate.evaluate)
app.command()(compare.compare)
app.command()(leaderboard.leaderboard)
app.command()(profile.profile)
app.command()(suspects.suspects)
app.command("next")(next_images.next_images)
app.command()(convert.convert)
app.command()(parameters.parameters)
app.command()(recipes.recipes)
