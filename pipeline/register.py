"""register: the exported model as `candidate` in the registry, with a receipt. By hand: `python pipeline/register.py <model>`.

In the copy that DVC makes for an experiment the alias stays with the model of the workspace.
"""

import here  # isort: skip

from segline import params, registry, tracking
from segline.errors import told_in_sentences
from segline.files import write_json
from segline.layout import Checkout
from segline.registry import copies


def main(name: str) -> None:
    checkout = Checkout(here.ROOT)
    settings = params.read(checkout.params)
    params.select(settings, name)
    folder = checkout.model(name)
    experiment = copies.experiment_of(checkout)
    store = tracking.store_uri(checkout, settings.tracking.uri)
    receipt = registry.register(store=store, folder=folder, experiment=experiment)
    write_json(folder.receipt, receipt.to_dict())
    if experiment is None:
        print(f"{receipt.name} version {receipt.version} is candidate (models:/{receipt.name}@{registry.CANDIDATE}).")
    else:
        copies.mark(checkout.plan(name).register, experiment)
        print(f"{receipt.name} version {receipt.version} is of '{experiment}': `dvc exp apply {experiment}` and `dvc repro` make it candidate.")


if __name__ == "__main__":
    with told_in_sentences():
        main(here.model_name())
