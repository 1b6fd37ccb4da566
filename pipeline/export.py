"""export: the trained model as one ONNX file, and the proof that it is the same model. By hand: `python pipeline/export.py <model>`."""

import here  # isort: skip

from segline import params, tracking
from segline.data.store import PreparedDataset
from segline.errors import told_in_sentences
from segline.export.stage import export
from segline.layout import Checkout
from segline.plan import plans


def main(name: str) -> None:
    checkout = Checkout(here.ROOT)
    settings = params.read(checkout.params)
    params.select(settings, name)
    plan = plans.read(plans.ExportPlan, checkout.plan(name).export)
    folder = checkout.model(name)
    export(plan, folder, PreparedDataset(checkout.prepared))
    tracking.record(store=tracking.store_uri(checkout, settings.tracking.uri), folder=folder)


if __name__ == "__main__":
    with told_in_sentences():
        main(here.model_name())
