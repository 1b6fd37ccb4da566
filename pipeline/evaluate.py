"""evaluate: figures and pictures of a trained model on the test split. By hand: `python pipeline/evaluate.py <model>`."""

import here  # isort: skip

from segline import params, tracking
from segline.data.store import PreparedDataset
from segline.errors import told_in_sentences
from segline.evaluation.stage import evaluate_model
from segline.layout import Checkout
from segline.plan import plans


def main(name: str) -> None:
    checkout = Checkout(here.ROOT)
    settings = params.read(checkout.params)
    params.select(settings, name)
    plan = plans.read(plans.EvaluatePlan, checkout.plan(name).evaluate)
    folder = checkout.model(name)
    dataset = PreparedDataset(checkout.prepared)
    evaluate_model(plan, folder, dataset, accelerator=settings.runtime.accelerator)
    pages = tracking.DataPages(checkout.check, dataset.info.split_hashes["train"])
    tracking.record(store=tracking.store_uri(checkout, settings.tracking.uri), folder=folder, data=pages)


if __name__ == "__main__":
    with told_in_sentences():
        main(here.model_name())
