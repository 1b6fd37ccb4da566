"""params: is `params.yaml` right as a whole? Writes a constant, so that the stages behind it rerun for their own parameters alone."""

import here  # isort: skip

from segline import conveyor
from segline.errors import told_in_sentences
from segline.files import whole
from segline.layout import Checkout

NAMED_IN_DVC_YAML = ("seed", "data.root", "data.image_size", "models", "evaluate", "export")


def main() -> None:
    checkout = Checkout(here.ROOT)
    outputs = (checkout.raw, checkout.prepared, checkout.models)
    conveyor.check(checkout.params, named=NAMED_IN_DVC_YAML, outputs=outputs, main=checkout.main)
    with whole(checkout.params_valid) as file:
        file.write_text("params.yaml is valid\n")


if __name__ == "__main__":
    with told_in_sentences():
        main()
