"""register: the exported model as `candidate` in the registry, with a receipt. By hand: `python pipeline/register.py <model>`."""

import here  # isort: skip

from segline import params, registry, tracking
from segline.errors import told_in_sentences
from segline.files import write_json
from segline.layout import Checkout


def main(name: str) -> None:
    checkout = Checkout(here.ROOT)
    settings = params.read(checkout.params)
    params.select(settings, name)
    folder = checkout.model(name)
    receipt = registry.register(store=tracking.store_uri(checkout, settings.tracking.uri), folder=folder)
    write_json(folder.receipt, receipt.to_dict())
    print(f"{receipt.name} version {receipt.version} is candidate (models:/{receipt.name}@{registry.CANDIDATE}).")


if __name__ == "__main__":
    with told_in_sentences():
        main(here.model_name())
