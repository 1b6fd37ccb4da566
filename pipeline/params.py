"""params: is `params.yaml` right as a whole? Writes what `download` and `prepare` depend on, so that they rerun for their own settings and code alone."""

import here  # isort: skip

from segline import conveyor
from segline.errors import told_in_sentences
from segline.layout import Checkout
from segline.plan.stage import write_data_plans


def main() -> None:
    checkout = Checkout(here.ROOT)
    write_data_plans(conveyor.check(checkout), checkout)


if __name__ == "__main__":
    with told_in_sentences():
        main()
