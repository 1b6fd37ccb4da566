"""train: fit one model of params.yaml on the prepared data. By hand: `python pipeline/train.py <model>`."""

import here  # isort: skip

from segline import params, provenance, tracking
from segline.data.store import PreparedDataset
from segline.errors import told_in_sentences
from segline.layout import Checkout
from segline.training.train import train


def main(name: str) -> None:
    checkout = Checkout(here.ROOT)
    settings = params.read(checkout.params)
    model = params.select(settings, name)
    store = tracking.store_uri(checkout, settings.runtime.tracking_uri)
    with tracking.following(store) as follow:
        train(
            name=name,
            model=model.model_dump(mode="json"),
            seed=settings.seed,
            image_size=settings.data.image_size,
            dataset=PreparedDataset(checkout.prepared),
            runtime=settings.runtime.model_dump(mode="json"),
            code=provenance.code_digest(checkout.root / "pipeline" / "train.py", checkout.root / "src"),
            commit=provenance.commit(checkout.root),
            resume_root=checkout.resume,
            folder=checkout.model(name),
            follow=follow,
        )


if __name__ == "__main__":
    with told_in_sentences():
        main(here.model_name())
