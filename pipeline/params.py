"""params: is `params.yaml` right as a whole, and can what it names be had? Writes what `download` and `prepare` depend on, so that they rerun for their own
settings and code alone."""

import here  # isort: skip

from segline import conveyor
from segline.errors import told_in_sentences
from segline.layout import Checkout
from segline.plan.stage import write_data_plans


def main() -> None:
    checkout = Checkout(here.ROOT)
    settings = conveyor.check(checkout)
    from segline import trial  # heavy: a mistake of the file is told at once

    trial.check(settings, checkout)
    write_data_plans(settings, checkout)


if __name__ == "__main__":
    with told_in_sentences():
        main()
