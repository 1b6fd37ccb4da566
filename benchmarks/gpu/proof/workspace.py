"""The line in a folder of its own: the stage functions, called in their order. No DVC, no logbook, no network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from proof.settings import ROOT
from segline import history, params
from segline.card import ModelCard
from segline.data.download import download
from segline.data.prepare import prepare
from segline.data.sources import root_of
from segline.data.store import PreparedDataset
from segline.evaluation.stage import evaluate_model
from segline.export.stage import export
from segline.layout import Checkout, ModelFolder
from segline.plan import data, plans
from segline.plan.resolve import weights_path
from segline.plan.stage import write_data_plans, write_plans
from segline.training.settings import Runtime
from segline.training.train import train


class Workspace:
    """A folder with a params.yaml, and what the stages make of it."""

    def __init__(self, folder: Path) -> None:
        os.environ.pop("SEGLINE_HOME", None)  # it would put the resume folder elsewhere
        self.checkout = Checkout(folder)

    @property
    def dataset(self) -> PreparedDataset:
        return PreparedDataset(self.checkout.prepared)

    def prepare(self, values: dict[str, Any]) -> None:
        """Up to the plans, for these parameters. What a call before has made of the same data is kept."""
        place = self.checkout
        place.root.mkdir(parents=True, exist_ok=True)
        source = place.root / "src"  # the plans hash the code that the stages run
        if not source.is_symlink():
            source.symlink_to(ROOT / "src")
        before = json.loads(place.params.read_text()) if place.params.is_file() else {}
        place.params.write_text(json.dumps(values, indent=1))  # JSON is YAML 1.2
        settings = params.read(place.params)
        if before.get("data") != values["data"] or not (place.prepared / "dataset.json").is_file():
            write_data_plans(settings, place)
            asked = data.read(place.data_plan.download)
            root = root_of(asked.settings, place.raw, place.main, place.root)
            download(asked.settings, root=root, seed=asked.seed, target=place.raw)
            prepare(data.read(place.data_plan.prepare).settings, raw=place.raw, root=root, target=place.prepared)
        write_plans(settings, place)

    def train(self, model: str, runtime: Runtime, *, into: str | None = None, told: Callable[[ModelFolder], Callable[[], None]] | None = None) -> ModelFolder:
        """Train by the plan; the result is `models/<into>`, or the model's own folder."""
        plan = plans.read(plans.TrainPlan, self.checkout.plan(model).train)
        weights = plan.settings.weights_file
        folder = self.checkout.model(into or model)
        train(
            plan,
            dataset=self.dataset,
            runtime=runtime,
            commit=None,
            resume_root=self.checkout.resume if into is None else self.checkout.resume / into,
            folder=folder,
            weights=None if weights is None else weights_path(weights, self.checkout.root),
            follow=told or (lambda _folder: lambda: None),
        )
        return folder

    def evaluate(self, model: str, accelerator: str) -> dict[str, float]:
        """Figures on the split that is scored."""
        plan = plans.read(plans.EvaluatePlan, self.checkout.plan(model).evaluate)
        return evaluate_model(plan, self.checkout.model(model), self.dataset, accelerator=accelerator, progress=False)

    def export(self, model: str) -> dict[str, Any]:
        """What parity.json says. Raises ExportError when the exported model is not the trained one."""
        folder = self.checkout.model(model)
        export(plans.read(plans.ExportPlan, self.checkout.plan(model).export), folder, self.dataset, progress=False)
        proof: dict[str, Any] = json.loads(folder.parity.read_text())
        return proof

    def summary(self, model: str) -> dict[str, Any]:
        """How the training went: precision, device, epochs, best."""
        return ModelCard.read(self.checkout.model(model).card).training

    def rows(self, model: str) -> list[dict[str, float]]:
        """One per epoch."""
        return history.read(self.checkout.model(model).history)
