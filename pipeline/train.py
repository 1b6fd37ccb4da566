"""train: fit one model by its plan on the prepared data, or make it of models that were. By hand: `python pipeline/train.py <model>`."""

import here  # isort: skip

from segline import environment, params, provenance, tracking
from segline.composition.compose import compose
from segline.data.store import PreparedDataset
from segline.errors import told_in_sentences
from segline.layout import Checkout
from segline.plan import again, plans
from segline.plan.resolve import weights_path
from segline.training.train import train
from segline.trial import require_writable


def main(name: str) -> None:
    checkout = Checkout(here.ROOT)
    settings = params.read(checkout.params)
    params.select(settings, name)
    require_writable(checkout.model(name).path, checkout.resume)
    plan = plans.read_train(checkout.plan(name).train)
    dataset, commit = PreparedDataset(checkout.prepared), provenance.commit(checkout.root)
    folder, store = checkout.model(name), tracking.store_uri(checkout, settings.tracking.uri)
    if isinstance(plan, plans.ComposePlan):
        compose(plan, dataset=dataset, models=checkout.models, folder=folder, accelerator=settings.runtime.accelerator, commit=commit)
        tracking.record(store=store, folder=folder)
    else:
        weights = plan.settings.weights_file
        with tracking.following(store) as follow:
            train(
                plan,
                dataset=dataset,
                runtime=settings.runtime,
                commit=commit,
                resume_root=checkout.resume,
                folder=folder,
                weights=None if weights is None else weights_path(weights, checkout.root, checkout.main),
                follow=follow,
                maps=checkout.truth_maps,
            )
    if environment.process_rank() == 0:
        again.tell(folder, [checkout.model(other) for other, entry in settings.models.items() if name in entry.members], checkout.weights)


if __name__ == "__main__":
    with told_in_sentences():
        main(here.model_name())
