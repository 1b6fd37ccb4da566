"""train: fit one model by its plan on the prepared data. By hand: `python pipeline/train.py <model>`."""

import here  # isort: skip

from segline import params, provenance, tracking
from segline.data.store import PreparedDataset
from segline.errors import told_in_sentences
from segline.layout import Checkout
from segline.plan import plans
from segline.plan.resolve import weights_path
from segline.training.train import train
from segline.trial import require_writable


def main(name: str) -> None:
    checkout = Checkout(here.ROOT)
    settings = params.read(checkout.params)
    params.select(settings, name)
    require_writable(checkout.model(name).path, checkout.resume)
    plan = plans.read(plans.TrainPlan, checkout.plan(name).train)
    weights = plan.settings.weights_file
    store = tracking.store_uri(checkout, settings.tracking.uri)
    with tracking.following(store) as follow:
        train(
            plan,
            dataset=PreparedDataset(checkout.prepared),
            runtime=settings.runtime,
            commit=provenance.commit(checkout.root),
            resume_root=checkout.resume,
            folder=checkout.model(name),
            weights=None if weights is None else weights_path(weights, checkout.root, checkout.main),
            follow=follow,
            maps=checkout.truth_maps,
        )


if __name__ == "__main__":
    with told_in_sentences():
        main(here.model_name())
